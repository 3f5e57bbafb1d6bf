"""Demo of a rolling restart: each of three instances is drained and started anew, under calls.

calls      1 2 3 … 30   all talk …………………………………………………………………………… hang up ─▶ judged
instance   A · SIGTERM, moves ╳ D ready
           B ···························· SIGTERM, moves ╳ E ready
           C ······················································ SIGTERM, moves ╳ F ready
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.demo.cluster import NAMES, Cluster, cluster, told
from server.demo.cluster_report import NOT_OVER, longest_silence
from server.emulators.gemini_live import Script
from server.emulators.twilio import EmulatedCall, Handset

SUCCESSORS = dict(zip(NAMES, ("D", "E", "F"), strict=True))
GREETING = "Hello."
# Nothing is recognised: speech of any kind has the same answer, which costs little.
CHAT = Script.parse(
    {"rules": [{"hears": "*", "say": "I see. Do go on, for I have all the time in the world."}]}
)
SAYS = "And so it went."
# Short enough for silences to be those of a move, if they are long.
VAD: dict[str, Any] = {"silence_duration_ms": 300}
PAUSE_SECS = 0.5
ASKS_AGAIN_AFTER_SECS = 4.0
PLACED_EVERY_SECS = 0.2
ALL_TALK_SECS = 4.0
ENDS_WITHIN_SECS = 30.0


@dataclass(frozen=True, slots=True)
class Rolled:
    """One call through the restart, as its caller heard it; `moves`: to other instances."""

    number: int
    moves: int
    silence_secs: float
    outcome: str

    @property
    def dropped(self) -> str | None:
        """Why the call counts as dropped; None when its caller hung up."""
        if self.outcome == "completed (caller)":
            return None
        return self.outcome if self.outcome == NOT_OVER else f"ended {self.outcome}"


@dataclass(frozen=True, slots=True)
class Rolling:
    """The whole restart. `late`: instances that were not gone, with their streams, in time."""

    calls: list[Rolled]
    restarted: int
    late: list[str]


async def run_rolling(tell: Callable[[str], None], *, calls: int = 30) -> Rolling:
    """Restart all three instances, one after the other, while calls talk.

    Raises: StageError, NoValkey.
    """
    over = asyncio.Event()

    async def person(phone: Handset) -> None:
        await _chat(phone, over)

    async with cluster(CHAT, person, thinking_secs=0.1) as opened:
        tell(f"{len(opened.fleet)} instances are ready behind one load balancer")
        ids = await _place(opened, calls)
        await asyncio.sleep(ALL_TALK_SECS)
        late = []
        for name in NAMES:
            carried = told(await opened.talking())
            tell(f"{carried}: {name} is drained (SIGTERM)")
            left = await opened.leave(name, signal.SIGTERM)
            if not left.in_time:
                late.append(name)
            await opened.start(SUCCESSORS[name])
            tell(f"{len(left.calls)} streams have moved; {SUCCESSORS[name]} takes its place")
        await asyncio.sleep(ALL_TALK_SECS)
        over.set()
        rolled = [await _rolled(opened, call, call_id) for call, call_id in ids.items()]
        return Rolling(rolled, len(NAMES), late)


async def _place(opened: Cluster, calls: int) -> dict[EmulatedCall, str]:
    """Place calls one after the other, so that they are spread over the instances."""
    ids = {}
    for number in range(calls):
        call, call_id = await opened.place(number, spread=True, greeting=GREETING, vad_config=VAD)
        ids[call] = call_id
        await asyncio.sleep(PLACED_EVERY_SECS)
    for call in ids:
        await call.happened("stream.started")
    return ids


async def _chat(phone: Handset, over: asyncio.Event) -> None:
    """Says something again and again, and hears the answer, until all is over."""
    await phone.listen_until_silence(PAUSE_SECS)
    while not over.is_set():
        await phone.say(SAYS)
        try:
            async with asyncio.timeout(ASKS_AGAIN_AFTER_SECS):
                await phone.hears_speech()
        except TimeoutError:
            continue
        await phone.listen_until_silence(PAUSE_SECS)
    phone.hang_up()


async def _rolled(opened: Cluster, call: EmulatedCall, call_id: str) -> Rolled:
    result = await opened.result(call_id, ENDS_WITHIN_SECS)
    return Rolled(
        number=int(call.order.to[5:]) + 1,
        moves=len(call.record.all("stream.started")) - 1,
        silence_secs=longest_silence(call),
        outcome=f"{result['status']} ({result['end_reason']})" if result else NOT_OVER,
    )
