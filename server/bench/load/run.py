"""Places N calls on one server, lets them all talk, and measures while they do.

ramp up        everybody talks                               hang up
|/////////|----|============ measured ============|--------|\\\\\\|
          settles                                  what is on its way arrives
"""

import asyncio
import gc
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time

import httpx

from server.bench.cores import Cores, staying_on
from server.bench.load.contestants import Contestant, Running, running
from server.bench.load.gemini import LoadGemini
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.pacer import Pacer
from server.bench.load.processes import cpu_secs, resident_mb
from server.bench.load.twilio import LoadTwilio
from server.bench.statistics import Summary, summarise
from server.bench.systems import OUR_NUMBER
from server.emulators.twilio import Answer
from server.emulators.twilio.errors import RestError
from server.emulators.twilio.person import Person

RING_SECS = 1.0
SETTLES_SECS = 2.0
ARRIVES_WITHIN_SECS = 2.5
TALKS_WITHIN_SECS = 30.0
ENDS_WITHIN_SECS = 30.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a load is put on: calls placed a second, seconds measured."""

    secs: float = 20.0
    calls_per_sec: float = 8.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one server did under one load. Times in ms, `cpu` in seconds, memory in MB.

    `down_ms` is of the chunks that begin a reply, `down_any_ms` of all that carry a marker.
    """

    contestant: Contestant
    calls: int
    secs: float
    up_ms: Summary | None
    down_ms: Summary | None
    down_any_ms: Summary | None
    gaps: int
    gap_ms: Summary | None
    lost_up: int
    lost_down: int
    missing_up_ms: float
    missing_down_ms: float
    added_ms: float
    mixed_up: int
    cpu_per_call_minute: float
    core_share: float
    idle_mb: float
    mb_per_call: float
    generator_share: float
    generator_late_ms: Summary | None
    problems: list[str]


async def put_load(
    contestant: Contestant, calls: int, options: LoadOptions, cores: Cores | None
) -> Load:
    """One server, so many calls. Raises: StageError when it does not start."""
    loaded = [LoadedCall(index) for index in range(calls)]
    first = LoadedCall(calls)
    everyone = [*loaded, first]
    pacer = Pacer()
    async with AsyncExitStack() as stack:
        by_index = {call.index: call for call in everyone}
        gemini = await stack.enter_async_context(LoadGemini(pacer, by_index))
        by_number = {call.number: call for call in everyone}
        twilio = await stack.enter_async_context(LoadTwilio(pacer, by_number, OUR_NUMBER))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-load-")))
        with staying_on(cores.server if cores else None):
            server = await stack.enter_async_context(
                running(contestant, gemini, twilio, folder, at_once=calls)
            )
        pacer.start()
        stack.callback(pacer.stop)
        # What a server loads for its first call is no cost of all others.
        await _call(twilio, server, first)
        await _until_talking([first])
        await _hang_up(twilio)
        idle_mb = resident_mb(server.pid)
        for number, call in enumerate(loaded):
            await _call(twilio, server, call)
            if number + 1 < calls:
                await asyncio.sleep(1 / options.calls_per_sec)
        await _until_talking(loaded)
        await asyncio.sleep(SETTLES_SECS)
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            pacer.late_ms.clear()
            began, mine, theirs = monotonic(), process_time(), cpu_secs(server.pid)
            await asyncio.sleep(options.secs)
            ended = monotonic()
            theirs, mine = cpu_secs(server.pid) - theirs, process_time() - mine
            late_ms = list(pacer.late_ms)
            resident = resident_mb(server.pid)
            await asyncio.sleep(ARRIVES_WITHIN_SECS)
        finally:
            gc.enable()
            gc.unfreeze()
        problems = [
            f"call {call.index}: {problem}" for call in everyone for problem in call.problems
        ]
        await _hang_up(twilio)
    problems += gemini.problems
    problems += [f"call {one.index}: nobody talked" for one in everyone if not one.talks]
    return _judge(
        contestant, loaded, (began, ended), theirs, mine, late_ms, idle_mb, resident, problems
    )


async def _call(twilio: LoadTwilio, server: Running, call: LoadedCall) -> None:
    twilio.people[call.number] = Answer(Person(), RING_SECS)
    try:
        await server.dial(call.number)
    except (httpx.HTTPError, RestError) as refused:
        call.problems.append(f"it was not placed: {refused!r}")


async def _until_talking(calls: Sequence[LoadedCall]) -> None:
    give_up = monotonic() + TALKS_WITHIN_SECS
    for call in calls:
        while monotonic() < give_up and not (call.talks or call.problems):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _hang_up(twilio: LoadTwilio) -> None:
    for call in twilio.calls:
        if not call.state.is_over:
            call.hang_up()
            await asyncio.sleep(0.02)
    async with asyncio.timeout(ENDS_WITHIN_SECS):
        for call in twilio.calls:
            await call.settled()


def _judge(
    contestant: Contestant,
    calls: Sequence[LoadedCall],
    window: tuple[float, float],
    cpu: float,
    mine: float,
    late_ms: Sequence[float],
    idle_mb: float,
    resident: float,
    problems: list[str],
) -> Load:
    began, ended = window
    secs = ended - began

    def within(at: float) -> bool:
        return began <= at < ended

    up = [one for call in calls for one in call.up.arrivals if within(one.sent.at)]
    down = [one for call in calls for one in call.down.arrivals if within(one.sent.at)]
    gaps = [gap for call in calls for gap in call.playout.gaps if within(gap.at)]
    lost_up, lost_down = (
        sum(
            within(sent.at)
            for call in calls
            for trail in ([call.up] if upwards else [call.down])
            for sent in (*trail.lost, *trail.waiting())
        )
        for upwards in (True, False)
    )
    mixed = sum(
        within(at)
        for call in calls
        for trail in (call.up, call.down)
        for at in (*trail.mixed_up, *trail.garbled, *trail.repeated)
    )
    return Load(
        contestant=contestant,
        calls=len(calls),
        secs=secs,
        up_ms=summarise([one.latency_ms for one in up]),
        down_ms=summarise([one.latency_ms for one in down if one.sent.begins_reply]),
        down_any_ms=summarise([one.latency_ms for one in down]),
        gaps=len(gaps),
        gap_ms=summarise([gap.ms for gap in gaps]),
        lost_up=lost_up,
        lost_down=lost_down,
        missing_up_ms=sum(max(0.0, one.missing_ms) for one in up),
        missing_down_ms=sum(max(0.0, one.missing_ms) for one in down),
        added_ms=sum(max(0.0, -one.missing_ms) for one in (*up, *down)),
        mixed_up=mixed,
        cpu_per_call_minute=cpu / len(calls) / (secs / 60),
        core_share=cpu / secs,
        idle_mb=idle_mb,
        mb_per_call=(resident - idle_mb) / len(calls),
        generator_share=mine / secs,
        generator_late_ms=summarise(late_ms),
        problems=problems,
    )
