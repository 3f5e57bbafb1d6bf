"""Demo of a cluster that is struck: one of three instances is killed, one frozen, one drained.

    calls      1 2 3 … 10    all talk …………………………………………………………………………………… all over ─▶ judged
    instance   A · SIGKILL ╳
               B ·········· SIGSTOP ╳ its calls are taken from it  SIGCONT, silent ·················
               C ································································ SIGTERM, moves ╳

All calls are placed by A, so that the kill strikes each of them.
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from server.demo.cluster import TOLD_EVERY_SECS, Cluster, cluster, streams_lost, told
from server.demo.cluster_calls import GREETING, HOTEL, guest, prompt_for
from server.demo.cluster_report import Heard, Struck, heard
from server.emulators.twilio import EmulatedCall

# So that strikes find calls at all stages of a conversation.
PLACED_EVERY_SECS = 0.5
KILLED_AFTER_SECS = 6.0
FROZEN_AFTER_SECS = 4.0
DRAINED_AFTER_SECS = 4.0
TAKEN_WITHIN_SECS = 25.0
ENDS_WITHIN_SECS = 50.0


async def run_strikes(tell: Callable[[str], None], *, calls: int = 10) -> list[Heard]:
    """Let all calls talk, strike all three instances, and tell what each caller heard.

    Raises: StageError, NoValkey.
    """
    async with cluster(HOTEL, guest, thinking_secs=0.3) as opened:
        tell(f"{len(opened.fleet)} instances are ready behind one load balancer")
        return await _Play(opened, tell).run(calls)


@dataclass
class _Play:
    cluster: Cluster
    tell: Callable[[str], None]
    # By CallSid.
    struck: dict[str, Struck] = field(default_factory=dict)

    async def run(self, count: int) -> list[Heard]:
        ids: dict[EmulatedCall, str] = {}
        for number in range(count):
            prompt = prompt_for(number)
            call, call_id = await self.cluster.place(
                number, greeting=GREETING, system_prompt=prompt
            )
            ids[call] = call_id
            self.struck[call.sid] = Struck()
            await asyncio.sleep(PLACED_EVERY_SECS)
        self.tell(f"{count} calls are placed")
        for call in ids:
            await call.happened("stream.started")
        await asyncio.sleep(KILLED_AFTER_SECS)
        await self._strike(signal.SIGKILL, "killed")
        await asyncio.sleep(FROZEN_AFTER_SECS)
        await self._freeze()
        await asyncio.sleep(DRAINED_AFTER_SECS)
        await self._strike(signal.SIGTERM, "drained")
        give_up = asyncio.get_running_loop().time() + ENDS_WITHIN_SECS
        return [
            heard(
                call,
                await self.cluster.result(call_id, give_up - asyncio.get_running_loop().time()),
                self.cluster.gemini.sessions,
                self.struck[call.sid],
            )
            for call, call_id in ids.items()
        ]

    async def _busiest(self) -> tuple[str, str]:
        """The instance that carries the most calls, and who carries how many."""
        talking = await self.cluster.talking()
        return max(talking, key=lambda name: talking[name]), told(talking)

    async def _strike(self, how: signal.Signals, word: str) -> None:
        """Strike the busiest instance, and notice which calls lost a stream."""
        name, carried = await self._busiest()
        self.tell(f"{carried}: {name} is {word} ({how.name})")
        left = await self.cluster.leave(name, how)
        if not left.in_time:
            self.tell(f"{name}, or a stream of its, is still there after its time")
        for call in left.calls:
            self.struck[call.sid].add(word, left.at)

    async def _freeze(self) -> None:
        """Freeze the busiest instance until all its calls are taken, and wake it."""
        name, carried = await self._busiest()
        (other,) = (each for each in self.cluster.fleet.values() if each.name != name)
        calls = self.cluster.twilio.calls
        before = {call.sid: streams_lost(call) for call in calls}
        process = self.cluster.fleet[name].server.process
        self.tell(f"{carried}: {name} is frozen (SIGSTOP)")
        at = asyncio.get_running_loop().time()
        process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(TAKEN_WITHIN_SECS):
                # Another process tells nobody.
                while await other.talking() < sum(not call.state.is_over for call in calls):  # noqa: ASYNC110
                    await asyncio.sleep(TOLD_EVERY_SECS)
            self.tell(f"{name} wakes (SIGCONT): {other.name} has its calls")
        except TimeoutError:
            self.tell(f"{name} wakes (SIGCONT): {other.name} has not taken all its calls in time")
        finally:
            process.send_signal(signal.SIGCONT)
        for call in calls:
            if streams_lost(call) > before[call.sid] and not call.state.is_over:
                self.struck[call.sid].add("frozen", at)
