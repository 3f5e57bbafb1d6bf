"""Servers with their calls: places them, lets them talk, and measures while they do.

ramp up        everybody talks                               hang up
|/////////|----|============ measured ============|--------|\\\\\\\\|
          settles                                  what is on its way arrives
"""

import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, process_time

import httpx

from server.bench.load.gemini import LoadGemini
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import MOST_CALLS
from server.bench.load.measured import Cost, Load, Window, judge
from server.bench.load.pacer import Pacer
from server.bench.load.processes import busy_secs, cpu_secs, resident_mb
from server.bench.load.twilio import LoadTwilio
from server.bench.machine import Cores, is_ahead, staying_on
from server.bench.statistics import summarise
from server.bench.systems import Running, System, running
from server.bench.texts import OUR_NUMBER
from server.emulators.twilio import Answer
from server.emulators.twilio.errors import RestError
from server.emulators.twilio.person import Person

CALLS_PER_SEC = 8.0
RING_SECS = 0.5
SETTLES_SECS = 1.0
ARRIVES_WITHIN_SECS = 2.0
TALKS_WITHIN_SECS = 20.0
ENDS_WITHIN_SECS = 30.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a load is put on a server: the seconds measured, and who runs on which core.

    `warm_up`: one call comes first that is not counted, so that what a server loads once is no
    cost of the others. `settings` are environment variables for ours, which runs in so many
    `workers`. Without `cores`, server and load generator share them all.
    """

    secs: float = 20.0
    warm_up: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    cores: Cores | None = None
    workers: int = 1


class LoadStage:
    """Both vendors, and servers between them, of which `server` takes the calls.

    What is entered in `until_end` is left when the stage ends.
    """

    def __init__(self, options: LoadOptions, folder: Path, until_end: AsyncExitStack) -> None:
        # Those that are on the phone, oldest first.
        self.calls: list[LoadedCall] = []
        self.idle_mb = 0.0
        self.folder = folder
        self.server: Running
        self.pacer = Pacer()
        self._by_index: dict[int, LoadedCall] = {}
        self._by_number: dict[str, LoadedCall] = {}
        self.gemini = LoadGemini(self.pacer, self._by_index)
        self.twilio = LoadTwilio(self.pacer, self._by_number, OUR_NUMBER)
        self._options = options
        self.until_end = until_end
        self._placed = 0
        self._told: set[str] = set()

    async def start(
        self, system: System, *, at_once: int, settings: Mapping[str, str] | None = None
    ) -> Running:
        """Start a server for `at_once` calls at the most; it takes the calls from now on.

        `settings` are those that the options do not have.

        Raises: StageError when it does not start.
        """
        options = self._options
        starting = running(
            system,
            self.gemini,
            self.twilio,
            Path(tempfile.mkdtemp(dir=self.folder)),
            at_once=at_once,
            settings={**(settings or {}), **options.settings},
            workers=options.workers,
        )
        with staying_on(options.cores.server if options.cores else None):
            self.server = await self.until_end.enter_async_context(starting)
        return self.server

    @property
    def cpu_secs(self) -> float:
        """CPU time that the server has taken so far: user and system, all threads."""
        return cpu_secs(self.server.pid)

    @property
    def resident_mb(self) -> float:
        """The server's resident memory in MB (10^6 bytes)."""
        return resident_mb(self.server.pid)

    async def place(self, *, quiet: bool = False) -> LoadedCall:
        """Place one more call; what goes wrong is a problem of its own.

        `quiet`: its phone sends no packet.

        Raises: StageError when the server has died.
        """
        self.server.check()
        busy = {call.index for call in self.calls}
        number = next(n for n in count(self._placed) if n % MOST_CALLS not in busy)
        self._placed = number + 1
        call = LoadedCall(number % MOST_CALLS, f"+1555{number:07d}", quiet)
        self._by_index[call.index] = self._by_number[call.number] = call
        self.twilio.people[call.number] = Answer(Person(), RING_SECS)
        self.calls.append(call)
        try:
            await self.server.dial(call.number)
        except (httpx.HTTPError, RestError) as refused:
            call.problems.append(f"it was not placed: {refused!r}")
        return call

    async def place_many(self, calls: int, *, quiet: bool = False) -> list[LoadedCall]:
        """Place several calls, eight a second. Raises: StageError when the server has died."""
        began, placed = monotonic(), []
        for number in range(calls):
            await asyncio.sleep(max(0.0, began + number / CALLS_PER_SEC - monotonic()))
            placed.append(await self.place(quiet=quiet))
        return placed

    async def grow(self, calls: int) -> None:
        """Place calls until so many talk at once. Raises: StageError when the server has died."""
        await self.place_many(calls - len(self.calls))
        await until(self.calls, lambda call: call.talks)
        gc.collect()
        await asyncio.sleep(SETTLES_SECS)

    async def measure(self) -> Load:
        """Measure the calls that talk now, for as long as the options say.

        Raises: StageError when the server has died.
        """
        self.server.check()
        cores = self._options.cores.server if self._options.cores else ()
        with _no_gc():
            self.pacer.forget()
            began = monotonic()
            used, mine, busy = self.cpu_secs, process_time(), busy_secs(cores)
            await asyncio.sleep(self._options.secs)
            self.server.check()
            used, mine = self.cpu_secs - used, process_time() - mine
            busy = busy_secs(cores) - busy
            window = Window(began, monotonic(), tuple(self.pacer.stalls))
            late_ms, held_mb = tuple(self.pacer.late_ms), self.resident_mb
            await asyncio.sleep(ARRIVES_WITHIN_SECS)
        secs = window.ended - window.began
        cost = Cost(
            secs=secs,
            cpu_secs=used,
            idle_mb=self.idle_mb,
            resident_mb=held_mb,
            others_share=None if is_ahead() or not cores else max(0.0, busy - used) / secs,
            generator_share=mine / secs,
            late_ms=summarise(late_ms),
        )
        return judge(self.server.system, self.calls, window, cost, self.new_problems())

    async def hang_up(self, calls: Sequence[LoadedCall] | None = None) -> None:
        """End calls, all by default, and wait until both vendors are done with them."""
        hung_up = list(self.calls if calls is None else calls)
        numbers = {call.number for call in hung_up}
        ending = [call for call in self.twilio.calls if call.order.to in numbers]
        for call in ending:
            call.hang_up()
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(ENDS_WITHIN_SECS):
                for call in ending:
                    await call.settled()
        except TimeoutError:
            for loaded in hung_up:
                loaded.problems.append(f"Twilio was not done after {ENDS_WITHIN_SECS:g} s")
        for number in numbers:
            del self._by_number[number], self.twilio.people[number]
        self.twilio.forget(ending)
        self.calls = [call for call in self.calls if call not in hung_up]

    def new_problems(self) -> list[str]:
        """What went wrong with calls on the phone, and at Gemini, since this was last asked."""
        problems = [f"call {call.index}: {one}" for call in self.calls for one in call.problems]
        problems += self.gemini.problems
        new = [one for one in problems if one not in self._told]
        self._told.update(new)
        return new


@asynccontextmanager
async def empty_stage(options: LoadOptions) -> AsyncIterator[LoadStage]:
    """Both vendors, and no server yet; those that `start` starts end with it."""
    async with AsyncExitStack() as until_end:
        folder = until_end.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-load-"))
        stage = LoadStage(options, Path(folder), until_end)
        await until_end.enter_async_context(stage.gemini.serving())
        await until_end.enter_async_context(stage.twilio)
        until_end.enter_context(stage.pacer)
        yield stage


@asynccontextmanager
async def on_stage(
    system: System, options: LoadOptions, *, at_once: int
) -> AsyncIterator[LoadStage]:
    """A server that is ready for `at_once` calls at the most.

    Raises: StageError when it does not start.
    """
    async with empty_stage(options) as stage:
        await stage.start(system, at_once=at_once)
        if options.warm_up:
            await until([await stage.place()], lambda call: call.talks)
            await stage.hang_up()
        stage.idle_mb = stage.resident_mb
        yield stage
        await stage.hang_up()


async def until(calls: Sequence[LoadedCall], reached: Callable[[LoadedCall], bool]) -> None:
    """Wait until all have reached a state, or something went wrong, or for some seconds."""
    give_up = monotonic() + TALKS_WITHIN_SECS
    for call in calls:
        while monotonic() < give_up and not (reached(call) or call.problems):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if not reached(call) and not call.problems:
            call.problems.append(f"nobody talked within {TALKS_WITHIN_SECS:g} s")


@contextmanager
def _no_gc() -> Iterator[None]:
    """No collection stalls the load generator meanwhile."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
