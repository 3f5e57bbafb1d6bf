"""One server with its calls: places them, lets them talk, and measures while they do.

ramp up        everybody talks                               hang up
|/////////|----|============ measured ============|--------|\\\\\\\\|
          settles                                  what is on its way arrives
"""

import asyncio
import gc
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import monotonic, process_time

import httpx

from server.bench.cores import Cores, staying_on
from server.bench.load.contestants import Contestant, Running, running
from server.bench.load.gc_probe import collect, full_collections, write_probe
from server.bench.load.gemini import LoadGemini
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.loop_lag_of import lag_buckets, p99_ms
from server.bench.load.markers import MOST_CALLS
from server.bench.load.measured import Cost, Load, Window, judge
from server.bench.load.pacer import Pacer
from server.bench.load.priority import is_ahead
from server.bench.load.processes import busy_secs, cpu_secs, resident_mb
from server.bench.load.twilio import LoadTwilio
from server.bench.statistics import summarise
from server.bench.systems import OUR_NUMBER
from server.emulators.twilio import Answer
from server.emulators.twilio.errors import RestError
from server.emulators.twilio.person import Person

RING_SECS = 0.5
SETTLES_SECS = 1.0
ARRIVES_WITHIN_SECS = 2.0
TALKS_WITHIN_SECS = 20.0
ENDS_WITHIN_SECS = 30.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a load is put on: seconds measured, calls placed a second.

    `warm_up`: a call comes first that is not counted, so that what a server loads once is no cost
    of the others. `settings` are ours beside those that a load needs.
    """

    secs: float = 20.0
    calls_per_sec: float = 8.0
    warm_up: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


class LoadStage:
    """What `on_stage` gives: a server that takes calls."""

    def __init__(
        self,
        contestant: Contestant,
        options: LoadOptions,
        server: Running,
        vendors: "_Vendors",
        cores: Cores | None,
        folder: Path,
    ) -> None:
        self.contestant = contestant
        self.pid = server.pid
        self.idle_mb = 0.0
        # Those that are on the phone, oldest first.
        self.calls: list[LoadedCall] = []
        self._options = options
        self._server = server
        self._vendors = vendors
        self._cores = cores
        self._folder = folder
        self._placed = 0
        self._told: set[str] = set()

    @property
    def full_collections(self) -> int:
        """Of the server's garbage, if it is probed."""
        return full_collections(self._folder)

    async def collect(self) -> bool:
        """Have the server collect its garbage, if it is probed; whether it did."""
        return await collect(self.pid, self._folder)

    async def place(self, *, quiet: bool = False) -> LoadedCall:
        """Place one more call; what goes wrong is a problem of its own.

        `quiet`: its phone sends no packet.

        Raises: StageError when the server has died.
        """
        self._server.check()
        busy = {call.index for call in self.calls}
        number = next(n for n in count(self._placed) if n % MOST_CALLS not in busy)
        self._placed = number + 1
        call = self._vendors.expect(number, quiet=quiet)
        self.calls.append(call)
        try:
            await self._server.dial(call.number)
        except (httpx.HTTPError, RestError) as refused:
            call.problems.append(f"it was not placed: {refused!r}")
        return call

    async def grow(self, calls: int) -> None:
        """Have so many calls talk at once: gently, one after the other."""
        before, began = len(self.calls), monotonic()
        for number in range(before, calls):
            due = began + (number - before) / self._options.calls_per_sec
            await asyncio.sleep(max(0.0, due - monotonic()))
            await self.place()
        await until_talking(self.calls)
        gc.collect()
        await asyncio.sleep(SETTLES_SECS)

    async def measure(self) -> Load:
        """Measure the calls that talk now, for as long as the options say.

        Raises: StageError when the server has died.
        """
        self._server.check()
        pacer, pid = self._vendors.pacer, self.pid
        cores = self._cores.server if self._cores else None
        lag_before = await lag_buckets(self._server.url)
        with _no_gc():
            pacer.forget()
            began = monotonic()
            used, mine, busy = cpu_secs(pid), process_time(), busy_secs(cores or ())
            await asyncio.sleep(self._options.secs)
            self._server.check()
            used, mine = cpu_secs(pid) - used, process_time() - mine
            busy = busy_secs(cores or ()) - busy
            window = Window(began, monotonic(), tuple(pacer.stalls))
            late_ms, held_mb = tuple(pacer.late_ms), resident_mb(pid)
            await asyncio.sleep(ARRIVES_WITHIN_SECS)
        lag_after = await lag_buckets(self._server.url)
        secs = window.ended - window.began
        cost = Cost(
            secs=secs,
            cpu_secs=used,
            idle_mb=self.idle_mb,
            resident_mb=held_mb,
            others_share=None if is_ahead() or not cores else max(0.0, busy - used) / secs,
            loop_lag_ms=p99_ms(lag_before, lag_after),
            generator_share=mine / secs,
            late_ms=summarise(late_ms),
        )
        return judge(self.contestant, self.calls, window, cost, self._problems())

    async def hang_up(self, calls: Sequence[LoadedCall] | None = None) -> None:
        """End calls, all by default, and wait until both vendors are done with them."""
        ending = list(self.calls if calls is None else calls)
        await self._vendors.hang_up(ending)
        self.calls = [call for call in self.calls if call not in ending]

    def _problems(self) -> list[str]:
        """What went wrong so far and was not told yet."""
        problems = [f"call {call.index}: {one}" for call in self.calls for one in call.problems]
        problems += self._vendors.gemini.problems
        new = [one for one in problems if one not in self._told]
        self._told.update(new)
        return new


@asynccontextmanager
async def on_stage(
    contestant: Contestant,
    options: LoadOptions,
    cores: Cores | None,
    *,
    at_once: int,
    probed: bool = False,
) -> AsyncIterator[LoadStage]:
    """A server that is ready for `at_once` calls at the most.

    `probed`: it counts its garbage collections.

    Raises: StageError when it does not start.
    """
    pacer = Pacer()
    async with AsyncExitStack() as stack:
        vendors = _Vendors(pacer)
        await stack.enter_async_context(vendors.gemini)
        await stack.enter_async_context(vendors.twilio)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-load-")))
        if probed:
            write_probe(folder)
        with staying_on(cores.server if cores else None):
            server = await stack.enter_async_context(
                running(
                    contestant,
                    vendors.gemini,
                    vendors.twilio,
                    folder,
                    at_once=at_once,
                    settings=options.settings,
                )
            )
        pacer.start()
        stack.callback(pacer.stop)
        stage = LoadStage(contestant, options, server, vendors, cores, folder)
        if options.warm_up:
            await stage.place()
            await until_talking(stage.calls)
            await stage.hang_up()
        stage.idle_mb = resident_mb(server.pid)
        yield stage
        await stage.hang_up()


class _Vendors:
    """Both vendors, and the calls that they have in common."""

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self._by_index: dict[int, LoadedCall] = {}
        self._by_number: dict[str, LoadedCall] = {}
        self.gemini = LoadGemini(pacer, self._by_index)
        self.twilio = LoadTwilio(pacer, self._by_number, OUR_NUMBER)

    def expect(self, number: int, *, quiet: bool) -> LoadedCall:
        """The call to the n-th number."""
        call = LoadedCall(number % MOST_CALLS, f"+1555{number:07d}", quiet)
        self._by_index[call.index] = self._by_number[call.number] = call
        self.twilio.people[call.number] = Answer(Person(), RING_SECS)
        return call

    async def hang_up(self, calls: Sequence[LoadedCall]) -> None:
        """Have the people on the phone hang up; wait until Twilio is done with them."""
        numbers = {call.number for call in calls}
        ending = [call for call in self.twilio.calls if call.order.to in numbers]
        for call in ending:
            call.hang_up()
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(ENDS_WITHIN_SECS):
                for call in ending:
                    await call.settled()
        except TimeoutError:
            for loaded in calls:
                loaded.problems.append(f"Twilio was not done after {ENDS_WITHIN_SECS:g} s")
        for number in numbers:
            del self._by_number[number], self.twilio.people[number]
        self.twilio.forget(ending)


async def until_talking(calls: Sequence[LoadedCall]) -> None:
    """Wait until all have heard each other, or something went wrong, or for some seconds."""
    give_up = monotonic() + TALKS_WITHIN_SECS
    for call in calls:
        while monotonic() < give_up and not (call.talks or call.problems):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if not call.talks and not call.problems:
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
