"""What the relay adds: calls on one instance, and the same calls passed on by it to another one.

    direct    Twilio ═▶ B
    relayed   Twilio ═▶ B (passes on) ═▶ A       in the same run, on the same two processes

Both times the streams come to B. The second time, A dials, and prepares the calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from rich.console import Console

from server.bench.load.measured import Load
from server.bench.load.processes import cpu_secs
from server.bench.load.stage import LoadOptions, LoadStage, empty_stage
from server.bench.statistics import Summary
from server.bench.systems import Running, System
from server.bench.tables import print_problems, print_table
from server.demo.valkey import valkey

IDLE_SECS = 3.0

Done = TypeVar("Done")


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
        loads = {"direct": self.direct, "relayed": self.relayed}
        damages = [f"{name}, {one}" for name, load in loads.items() for one in load.damages]
        return [*self.direct.problems, *self.relayed.problems, *damages]

    @property
    def cpu_ratio(self) -> float:
        """CPU that passing a call on takes, as a share of what carrying it takes."""
        return self.relay_share / self.owner_share if self.owner_share > 0 else 0.0

    @property
    def ways(self) -> list[tuple[str, Summary | None, Summary | None]]:
        """Latencies in ms of both directions, direct and relayed."""
        direct, relayed = self.direct, self.relayed
        return [
            ("packet to model", direct.up.ms, relayed.up.ms),
            ("chunk to phone", direct.first_chunk_ms, relayed.first_chunk_ms),
        ]


async def measure_relay(
    calls: int, options: LoadOptions, tell: Callable[[str], None]
) -> RelayResult:
    """Measure `calls` at once, first direct, then relayed.

    Raises: StageError when a server does not start; NoValkey.
    """
    async with empty_stage(options) as stage:
        settings = {
            "REDIS_URL": await stage.until_end.enter_async_context(valkey(stage.folder)),
            "STREAM_TOKEN_SECRET": "shared by both",
            "DATABASE_URL": f"sqlite+aiosqlite:///{stage.folder / 'bench.db'}",
        }
        arrived = await stage.start(System.OURS, at_once=calls, settings=settings)
        # Twilio is told to open streams where the first one is.
        settings["BASE_URL"] = arrived.url
        dialled = await stage.start(System.OURS, at_once=calls, settings=settings)
        servers = arrived, dialled
        _, idle = await _shares(servers, asyncio.sleep(IDLE_SECS))
        tell(f"{calls} calls, direct")
        direct, _ = await _measure(stage, arrived, calls, servers)
        tell(f"{calls} calls, relayed")
        relayed, busy = await _measure(stage, dialled, calls, servers)
        return RelayResult(direct, relayed, busy[0] - idle[0], busy[1] - idle[1])


async def _measure(
    stage: LoadStage, dials: Running, calls: int, servers: Sequence[Running]
) -> tuple[Load, list[float]]:
    """A load of calls that `dials` places, and the shares of a core of all `servers`."""
    stage.server = dials
    await stage.grow(1)
    await stage.grow(calls)
    measured = await _shares(servers, stage.measure())
    await stage.hang_up()
    return measured


async def _shares(servers: Sequence[Running], doing: Awaitable[Done]) -> tuple[Done, list[float]]:
    """What came of something, and the share of a core that each server took meanwhile."""
    began, used = monotonic(), [cpu_secs(server.pid) for server in servers]
    done = await doing
    secs = monotonic() - began
    shares = [(cpu_secs(one.pid) - was) / secs for one, was in zip(servers, used, strict=True)]
    return done, shares


def as_json(result: RelayResult) -> dict[str, Any]:
    """Latencies in ms, each `[p50, p99]`."""
    return {
        "calls": result.direct.calls,
        "problems": result.problems,
        **{
            way: {
                name: one and [one.p50, one.p99]
                for name, one in (("direct", direct), ("relayed", relayed))
            }
            for way, direct, relayed in result.ways
        },
        "relay_core_share": result.relay_share,
        "owner_core_share": result.owner_share,
        "cpu_ratio": result.cpu_ratio,
    }


def print_relay(result: RelayResult, console: Console) -> None:
    """Print both loads, and what the relay adds to them."""
    rows = []
    for way, direct, relayed in result.ways:
        if direct is not None and relayed is not None:
            added = f"{relayed.p50 - direct.p50:+.2f} / {relayed.p99 - direct.p99:+.2f}"
            both = (f"{one.p50:.2f} / {one.p99:.2f}" for one in (direct, relayed))
            rows.append((way, *both, added))
    title = f"{result.direct.calls} calls at once, ms at p50 / p99"
    print_table(console, title, ("", "direct", "relayed", "added"), rows)
    ms = [1000 * share / result.relayed.calls for share in (result.relay_share, result.owner_share)]
    console.print(
        f"CPU a second and call: {ms[0]:.2f} ms to pass it on, {ms[1]:.2f} ms to carry it: "
        f"{result.cpu_ratio:.0%}"
    )
    print_problems(result.problems, console)
