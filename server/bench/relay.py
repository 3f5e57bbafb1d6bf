"""What the relay adds: calls on one instance, and the same calls passed on by it to another one.

    direct    Twilio ═▶ B
    relayed   Twilio ═▶ B (passes on) ═▶ A       in the same run, on the same two processes

Both times the streams come to B. The second time, A dials, and prepares the calls.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from rich.table import Table

from server.bench.cores import staying_on
from server.bench.load.measured import Load
from server.bench.load.processes import cpu_secs
from server.bench.load.stage import LoadOptions, LoadStage, until_talking
from server.bench.statistics import Summary
from server.bench.systems import Running, System, running
from server.demo.valkey import valkey

IDLE_SECS = 3.0


@dataclass(frozen=True, slots=True)
class RelayResult:
    """Two loads of as many calls. Shares are of one core, beyond what an idle instance takes."""

    direct: Load
    relayed: Load
    relay_share: float
    owner_share: float

    @property
    def problems(self) -> list[str]:
        """What did not go as it should."""
        damaged = [
            f"{name}, {way}: {found.lost} marked packets lost, {found.strange} strange, "
            f"{found.missing_ms:.0f} ms of sound missing"
            for name, load in (("direct", self.direct), ("relayed", self.relayed))
            for way, found in (("to the model", load.up), ("to the phone", load.down))
            if not found.is_whole
        ]
        return [*self.direct.problems, *self.relayed.problems, *damaged]

    @property
    def cpu_ratio(self) -> float:
        """CPU that passing a call on takes, as a share of what carrying it takes."""
        return self.relay_share / self.owner_share if self.owner_share > 0 else 0.0


async def measure_relay(
    calls: int, options: LoadOptions, tell: Callable[[str], None]
) -> RelayResult:
    """Measure `calls` at once, first direct, then relayed.

    Raises: StageError when a server does not start; NoValkey.
    """
    async with _two_instances(calls, options) as (stage, arrived, dialled):
        idle = await _shares(arrived, dialled, doing=lambda: asyncio.sleep(IDLE_SECS))
        tell(f"{calls} calls, direct")
        direct, _ = await _measure(stage, arrived, calls, arrived, dialled)
        tell(f"{calls} calls, relayed")
        relayed, busy = await _measure(stage, dialled, calls, arrived, dialled)
        return RelayResult(direct, relayed, busy[0] - idle[0], busy[1] - idle[1])


async def _measure(
    stage: LoadStage, dials: Running, calls: int, *servers: Running
) -> tuple[Load, list[float]]:
    """A load of calls that `dials` places, and the shares of a core of all `servers`."""
    stage.server = dials
    await until_talking([await stage.place()])
    await stage.grow(calls)
    loads: list[Load] = []

    async def measure() -> None:
        loads.append(await stage.measure())

    shares = await _shares(*servers, doing=measure)
    await stage.hang_up()
    return loads[0], shares


@asynccontextmanager
async def _two_instances(
    calls: int, options: LoadOptions
) -> AsyncIterator[tuple[LoadStage, Running, Running]]:
    """Both vendors, the instance that streams come to, and another one that dials."""
    cores = options.cores
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-relay-")))
        stage = LoadStage(options, folder)
        await stack.enter_async_context(stage.gemini.serving())
        await stack.enter_async_context(stage.twilio)
        settings = {
            "REDIS_URL": await stack.enter_async_context(valkey(folder)),
            "STREAM_TOKEN_SECRET": "shared by both",
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'bench.db'}",
        }
        servers: list[Running] = []
        for name in ("arrived", "dialled"):
            own = folder / name
            own.mkdir()
            # Twilio is told to open streams where the first one is.
            reached = {"BASE_URL": servers[0].url} if servers else {}
            starting = running(
                System.OURS,
                stage.gemini,
                stage.twilio,
                own,
                at_once=calls,
                settings={**settings, **reached, **options.settings},
            )
            with staying_on(cores.server if cores else None):
                servers.append(await stack.enter_async_context(starting))
        stage.pacer.start()
        stack.callback(stage.pacer.stop)
        yield stage, servers[0], servers[1]


async def _shares(*servers: Running, doing: Callable[[], Coroutine[Any, Any, None]]) -> list[float]:
    """The share of a core that each server takes while something is done."""
    began, used = monotonic(), [cpu_secs(server.pid) for server in servers]
    await doing()
    secs = monotonic() - began
    return [(cpu_secs(one.pid) - before) / secs for one, before in zip(servers, used, strict=True)]


def as_json(result: RelayResult) -> dict[str, Any]:
    """Latencies in ms, each `[p50, p99]`."""
    told: dict[str, Any] = {"calls": result.direct.calls, "problems": result.problems}
    for way, direct, relayed in _ways(result):
        told[way] = {"direct": _pair(direct), "relayed": _pair(relayed)}
    return told | {
        "relay_core_share": result.relay_share,
        "owner_core_share": result.owner_share,
        "cpu_ratio": result.cpu_ratio,
    }


def print_relay(result: RelayResult, console: Console) -> None:
    """Print both loads, and what the relay adds to them."""
    table = Table(title=f"{result.direct.calls} calls at once, ms at p50 / p99")
    for column in ("", "direct", "relayed", "added"):
        table.add_column(column)
    for way, direct, relayed in _ways(result):
        if direct is not None and relayed is not None:
            added = f"{relayed.p50 - direct.p50:+.2f} / {relayed.p99 - direct.p99:+.2f}"
            table.add_row(
                way, *(f"{one.p50:.2f} / {one.p99:.2f}" for one in (direct, relayed)), added
            )
    console.print(table)
    ms = [1000 * share / result.relayed.calls for share in (result.relay_share, result.owner_share)]
    console.print(
        f"CPU a second and call: {ms[0]:.2f} ms to pass it on, {ms[1]:.2f} ms to carry it: "
        f"{result.cpu_ratio:.0%}"
    )
    for problem in result.problems:
        console.print(problem, markup=False)


def _ways(result: RelayResult) -> list[tuple[str, Summary | None, Summary | None]]:
    direct, relayed = result.direct, result.relayed
    return [
        ("packet to model", direct.up.ms, relayed.up.ms),
        ("chunk to phone", direct.first_chunk_ms, relayed.first_chunk_ms),
    ]


def _pair(summary: Summary | None) -> list[float] | None:
    return None if summary is None else [summary.p50, summary.p99]
