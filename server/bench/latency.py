"""Places the same calls on each system, one system after the other, and measures from outside.

load generator (this process)             a process of its own, on a core of its own
TwilioEmulator  ── webhooks, media ──▶    the server that is measured
GeminiLiveEmulator ◀── Live API ──────
"""

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from pipelines.rates import PACKET_MS
from server.bench.conversation import CALLER, SCRIPT, rehearse
from server.bench.figures import Figure, figures_of
from server.bench.load.pacer import Pacer
from server.bench.machine import Cores, shared_out, staying_on
from server.bench.statistics import Summary, summarise
from server.bench.systems import Running, System, running
from server.bench.texts import OUR_NUMBER
from server.emulators.gemini_live import GeminiLiveEmulator, Session
from server.emulators.gemini_live.session_log import SessionLog
from server.emulators.twilio import Answer, TwilioEmulator
from server.emulators.twilio.errors import RestError
from server.emulators.twilio.record import CallRecord

# What a conversation takes beside ringing, session set-up and thinking, with room to spare.
CONVERSATION_WITHIN_SECS = 40.0
LEAVES_WITHIN_SECS = 5.0
LAG_EVERY_MS = 5
# Which systems are measured when none is named.
USUAL = (System.WARM, System.COLD, System.PLAIN)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure. `warm_up` calls of each system come first and are not counted."""

    calls: int = 20
    at_once: int = 1
    warm_up: int = 1
    ring_secs: float = 3.0
    setup_secs: float = 2.0
    thinking_secs: float = 0.5
    pin: bool = True
    systems: tuple[System, ...] = USUAL


@dataclass(frozen=True, slots=True)
class SystemResult:
    """What one system came to. `problems` are the calls that did not go as they should."""

    figures: dict[Figure, Summary]
    problems: list[str]
    lag_ms: Summary | None


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A whole run. `cores` is None when nobody was kept to a core."""

    options: BenchOptions
    cores: Cores | None
    systems: dict[System, SystemResult] = field(default_factory=dict)

    def share_of_plain(self, system: System, figure: Figure) -> float | None:
        """A system's p50 as a share of the plain bot's; None when they cannot be compared."""
        if not {system, System.PLAIN} <= self.systems.keys():
            return None
        mine, plain = (self.systems[one].figures.get(figure) for one in (system, System.PLAIN))
        return mine.p50 / plain.p50 if mine and plain and plain.p50 else None


Tell = Callable[[System, int], None]


async def run_latency(
    options: BenchOptions, tell: Tell = lambda _system, _done: None
) -> BenchResult:
    """Measure every system of the options; `tell(system, calls_done)` hears of each call's end.

    Raises: StageError when a server does not start.
    """
    cores = shared_out() if options.pin else None
    result = BenchResult(options, cores)
    rehearse()
    with staying_on(cores.load if cores else None):
        for system in options.systems:
            result.systems[system] = await _measure(system, options, cores, tell)
    return result


async def _measure(
    system: System, options: BenchOptions, cores: Cores | None, tell: Tell
) -> SystemResult:
    lived: list[_Lived] = []
    async with AsyncExitStack() as stack:
        gemini = GeminiLiveEmulator(
            SCRIPT, setup_secs=options.setup_secs, thinking_secs=options.thinking_secs
        )
        await stack.enter_async_context(gemini)
        twilio = await stack.enter_async_context(TwilioEmulator(numbers=[OUR_NUMBER]))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-bench-")))
        starting = running(system, gemini, twilio, folder, at_once=options.at_once)
        with staying_on(cores.server if cores else None):
            server = await stack.enter_async_context(starting)
        stage = _Stage(server, gemini, twilio, options)
        for number in range(options.warm_up):
            await stage.call(-1 - number)
        free = asyncio.Semaphore(options.at_once)

        async def one(index: int) -> None:
            async with free:
                lived.append(await stage.call(index))
            tell(system, len(lived))

        pacer = Pacer()
        for ms in range(0, PACKET_MS, LAG_EVERY_MS):
            pacer.add(lambda: None, ms)
        with pacer:
            await asyncio.gather(*map(one, range(options.calls)))
    return _judge(lived, pacer.late_ms)


@dataclass(frozen=True, slots=True)
class _Lived:
    """A call that is over: what went wrong, and what both vendors noticed of it."""

    number: str
    problems: list[str]
    noticed: tuple[CallRecord, SessionLog] | None = None


@dataclass(frozen=True, slots=True)
class _Stage:
    server: Running
    gemini: GeminiLiveEmulator
    twilio: TwilioEmulator
    options: BenchOptions

    async def call(self, index: int) -> _Lived:
        """One call, from dialling until both vendors are done with it."""
        number = f"+1555{index % 10_000_000:07d}"
        options = self.options
        ring_secs = options.ring_secs if self.server.system.rings else 0.0
        self.twilio.people[number] = Answer(CALLER, ring_secs)
        try:
            await self.server.dial(number)
        except (httpx.HTTPError, RestError) as refused:
            return _Lived(number, [f"it was not placed: {refused!r}"])
        call = await self.twilio.call_placed(to=number)
        waits_secs = ring_secs + options.setup_secs + 3 * options.thinking_secs
        within = waits_secs + CONVERSATION_WITHIN_SECS
        problems = []
        try:
            async with asyncio.timeout(within):
                await call.settled()
        except TimeoutError:
            problems.append(f"it was not over after {within:g} s")
            call.hang_up()
            await call.settled()
        session = self._session_of(number)
        if session is None:
            return _Lived(number, problems or ["it never reached the model"])
        with suppress(TimeoutError):
            await session.until(lambda one: not one.is_open, LEAVES_WITHIN_SECS)
        return _Lived(number, problems, (call.record, session.log))

    def _session_of(self, number: str) -> Session | None:
        """The session that heard the call: its instruction names the number."""
        return next(
            (
                session
                for session in reversed(self.gemini.sessions)
                if session.log.audio and number in json.dumps(session.setup)
            ),
            None,
        )


def _judge(lived: list[_Lived], lags: list[float]) -> SystemResult:
    values: defaultdict[Figure, list[float]] = defaultdict(list)
    problems = []
    for one in lived:
        wrong = list(one.problems)
        if one.noticed is not None:
            figures = figures_of(*one.noticed)
            wrong += figures.missing
            for figure, measured in figures.values.items():
                values[figure] += measured
        if wrong:
            problems.append(f"the call to {one.number}: {'; '.join(wrong)}")
    summaries = {figure: summarise(values[figure]) for figure in Figure}
    found = {figure: summary for figure, summary in summaries.items() if summary is not None}
    return SystemResult(found, problems, summarise(lags))
