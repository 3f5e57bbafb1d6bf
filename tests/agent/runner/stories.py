"""Stories of calls, one of every kind; their histories are kept in `histories/` and replayed.

`make histories` records them anew: for a new story, or when running calls may break.
"""

import asyncio
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.lifecycle.events import (
    ConversationEnded,
    StreamEnded,
    StreamStarted,
    Terminate,
    TwilioStatus,
    TwimlFetched,
)
from agent.ports import CallLifecycle, DialRefused, DialUncertain
from agent.record.call_log import CallLog, open_engine
from agent.record.models import Call, CallStatus, Direction
from agent.runner.temporal_runner import TemporalRunner
from server.demo.temporal_server import TemporalServer, running_temporal
from server.migrations import upgrade
from tests.agent.runner.conftest import over_temporal
from tests.agent.runner.scripted import CALM, SECS, Ends, Phone, ScriptedMedia, answer, placed

HISTORIES = Path(__file__).parent / "histories"
Story = Callable[[CallLifecycle, Phone], Awaitable[Call]]


def _call() -> Call:
    return Call(
        direction=Direction.OUTBOUND,
        status=CallStatus.INITIATED,
        phone_number="+15550100",
        our_number="+15550199",
        pipeline="phone_call",
    )


async def plain_outbound(life: CallLifecycle, phone: Phone) -> Call:
    """It rings, is answered, the agent says goodbye: with every callback that Twilio sends."""
    call = await life.place(_call(), placed(life, max_duration_secs=600))
    phone.calls["CA1"] = "in-progress"
    await life.tell(call.id, TwilioStatus(life.now(), "ringing", "CA1"))
    now = life.now()
    await life.tell_or_assume(call.id, TwilioStatus(now, "in-progress", "CA1"), TwimlFetched(now))
    await life.tell(call.id, StreamStarted(life.now(), "MZ1", "here"))
    await life.tell_until_kept(call.id, ConversationEnded(life.now(), "agent"))
    await life.tell_until_kept(call.id, StreamEnded(life.now(), "MZ1", 60))
    await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA1"))
    return call


async def plain_inbound(life: CallLifecycle, phone: Phone) -> Call:
    """The caller hangs up."""
    phone.calls["CA5"] = "in-progress"
    call = await life.place(_call(), placed(life, inbound=True, twilio_sid="CA5"))
    await answer(life, call)
    phone.calls["CA5"] = "completed"
    await life.tell_until_kept(call.id, StreamEnded(life.now(), "MZ1", 60))
    await life.tell(call.id, TwilioStatus(life.now(), "completed", "CA5"))
    return call


async def busy(life: CallLifecycle, phone: Phone) -> Call:
    """Nobody picks up."""
    call = await life.place(_call(), placed(life))
    await life.tell(call.id, TwilioStatus(life.now(), "busy", "CA1"))
    return call


async def lost_callbacks(life: CallLifecycle, phone: Phone) -> Call:
    """Twilio says nothing; it is asked."""
    call = await life.place(_call(), placed(life))
    phone.calls["CA1"] = "no-answer"
    return call


async def refused(life: CallLifecycle, phone: Phone) -> Call:
    """Twilio does not take the number."""
    phone.dial_answer = DialRefused("The number is not valid.", 21211)
    return await life.place(_call(), placed(life))


async def unclear_dial(life: CallLifecycle, phone: Phone) -> Call:
    """Twilio did not answer, and has the call all the same."""
    phone.dial_answer = DialUncertain()
    phone.calls["CA7"] = "busy"
    return await life.place(_call(), placed(life))


async def terminated(life: CallLifecycle, phone: Phone) -> Call:
    """By the API, in the conversation; the first hang-ups fail."""
    call = await life.place(_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    phone.failures_from_hang_up = 2
    await life.tell(call.id, Terminate(life.now()))
    return call


async def over_the_limit(life: CallLifecycle, phone: Phone) -> Call:
    """It lasts longer than it may."""
    call = await life.place(_call(), placed(life, max_duration_secs=0))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    return call


async def transferred(life: CallLifecycle, phone: Phone) -> Call:
    """A tool hands the caller on."""
    call = await life.place(_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    over = ConversationEnded(life.now(), "agent", transfer_to="+15550111")
    await life.tell_until_kept(call.id, over)
    await life.tell(call.id, TwimlFetched(life.now()))
    phone.calls["CA1"] = "completed"
    await life.tell(call.id, StreamEnded(life.now(), "MZ1", 30))
    return call


async def no_model(life: CallLifecycle, phone: Phone) -> Call:
    """The caller hears an apology."""
    call = await life.place(_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    await answer(life, call)
    await life.tell_until_kept(call.id, ConversationEnded(life.now(), "no_model", error="a reason"))
    await life.tell(call.id, TwimlFetched(life.now()))
    return call


async def broken_streams(life: CallLifecycle, phone: Phone) -> Call:
    """Streams break again and again."""
    call = await life.place(_call(), placed(life))
    phone.calls["CA1"] = "in-progress"
    for number in range(3):
        await answer(life, call, f"MZ{number}")
        await life.tell(call.id, StreamEnded(life.now(), f"MZ{number}", 0.1))
    await life.tell(call.id, TwimlFetched(life.now()))
    return call


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        plain_outbound,
        plain_inbound,
        busy,
        lost_callbacks,
        refused,
        unclear_dial,
        terminated,
        over_the_limit,
        transferred,
        no_model,
        broken_streams,
    )
}


async def history_of(life: TemporalRunner, story: Story, phone: Phone) -> str:
    """Play a story to its end; its history as JSON."""
    call = await story(life, phone)
    assert await life.ended(call.id, SECS) is not None
    client = await life.workflows.client()
    handle = client.get_workflow_handle(call.id)
    await handle.result()
    return (await handle.fetch_history()).to_json()


async def _record(folder: Path, name: str, temporal: TemporalServer) -> None:
    url = f"sqlite+aiosqlite:///{folder / name}.db"
    await upgrade(url)
    engine = open_engine(url)
    phone, media = Phone(), ScriptedMedia()
    async with over_temporal(
        temporal, CallLog(engine), phone, media, Ends(), patience=CALM
    ) as life:
        history = await history_of(life, STORIES[name], phone)
    await engine.dispose()
    # Names of processes and machines.
    anonymous = re.sub(r'"identity": "[^"]*"', '"identity": "somebody"', history)
    await asyncio.to_thread((HISTORIES / f"{name}.json").write_text, anonymous)


def record_all() -> None:
    """Write every history anew."""
    with tempfile.TemporaryDirectory() as folder, running_temporal(Path(folder)) as temporal:
        for name in STORIES:
            asyncio.run(_record(Path(folder), name, temporal))
            sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    record_all()
