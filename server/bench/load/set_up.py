"""What a call's set-up and its end cost: one after the other, on a server with nothing else to do.

    idle idle idle idle │ call call call │ idle │ call call call │ idle │ …

    placed ─ rings ─ answered ─ first sound ─ quiet ─ hung up ─ quiet
    ├──────────── to first sound ────────┤          │
    ├──────────── set up ───────────────────────────┤├─── end ──────┤

Nobody speaks: the phone sends no packet, and the model says no more than its greeting. So all that
the server does is set-up and end, but for what it does when there is no call at all. That is
measured in many short windows, before the calls and between them: their median is taken off, so
that one burst of something else shifts nothing.
"""

import asyncio
from dataclasses import dataclass

from server.bench.load.contestants import Contestant
from server.bench.load.loaded_call import LoadedCall
from server.bench.load.set_up_cost import SetUpCost, SetUpOptions, set_up_stage
from server.bench.load.spent import Meter, Spent
from server.bench.load.stage import LoadStage
from server.bench.statistics import summarise

SOUNDS_WITHIN_SECS = 20.0


async def measure_set_up(
    contestant: Contestant, options: SetUpOptions, *, pin: bool = True
) -> SetUpCost:
    """Have so many quiet calls on one server. Raises: StageError, NotAwake."""
    async with set_up_stage(contestant, options, at_once=1, pin=pin) as stage:
        return await _SettingUp(stage, options).run()


@dataclass(frozen=True, slots=True)
class _Call:
    """What the server spent until its first sound, until it talked, and for its end."""

    first_sound: Spent
    setup: Spent
    end: Spent


class _SettingUp:
    def __init__(self, stage: LoadStage, options: SetUpOptions) -> None:
        self._stage = stage
        self._options = options
        self._calls: list[_Call] = []
        self._idle_ms_per_sec: list[float] = []
        self._went_wrong: list[str] = []

    async def run(self) -> SetUpCost:
        options = self._options
        for _ in range(options.warm_up):
            await self._one_call()
        self._calls.clear()
        for _ in range(options.windows_before):
            await self._idle()
        for number in range(1, options.calls + 1):
            await self._one_call()
            if number % options.calls_a_window == 0:
                await self._idle()
        idle = summarise(self._idle_ms_per_sec)
        share = idle.p50 if idle else 0.0
        return SetUpCost(
            self._stage.contestant,
            options.calls,
            0,
            summarise([call.first_sound.ms_above(share) for call in self._calls]),
            summarise([call.setup.ms_above(share) for call in self._calls]),
            summarise([call.end.ms_above(share) for call in self._calls]),
            self._idle_ms_per_sec,
            options.awake,
            self._went_wrong,
        )

    async def _idle(self) -> None:
        """A window without a call, behind the quiet of the last one."""
        meter = Meter.of(self._stage.pid)
        await asyncio.sleep(self._options.window_secs)
        self._idle_ms_per_sec.append(meter.spent().ms_per_sec)

    async def _one_call(self) -> None:
        meter = Meter.of(self._stage.pid)
        call = await self._stage.place(quiet=True)
        if not await sounds(call):
            self._went_wrong.append(f"call {call.number}: {'; '.join(call.problems) or 'silent'}")
            await self._stage.hang_up([call])
            return
        first_sound = meter.spent()
        await asyncio.sleep(self._options.quiet_secs)
        setup, meter = meter.spent(), Meter.of(self._stage.pid)
        await self._stage.hang_up([call])
        await asyncio.sleep(self._options.quiet_secs)
        self._calls.append(_Call(first_sound, setup, meter.spent()))
        self._went_wrong += [f"call {call.number}: {one}" for one in call.problems]


async def sounds(call: LoadedCall) -> bool:
    """Whether something is heard at the phone; False when nothing is within a while."""
    try:
        async with asyncio.timeout(SOUNDS_WITHIN_SECS):
            await call.sounds.wait()
    except TimeoutError:
        return False
    return True
