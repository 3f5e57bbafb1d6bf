"""What a person on the phone waits for, on a line that is behind its clock."""

import asyncio
from types import SimpleNamespace
from typing import Any

from server.emulators.twilio.handset import Handset
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.waiting import Changes


async def test_silence_is_what_was_listened_to_and_found_silent() -> None:
    """The clock runs on while a busy machine plays nothing: that is no silence of the agent's."""
    line: Any = SimpleNamespace(closed=False, now=10 * RATE, listened=RATE, agent_last_sound=RATE)
    record: Any = None
    changes = Changes()
    phone = Handset(line, record, changes, lambda: None, "en-us")
    waiting = asyncio.create_task(phone.listen_until_silence(0.6))
    await asyncio.sleep(0)
    changes.happened()
    await asyncio.sleep(0)
    assert not waiting.done()
    line.listened = RATE + round(0.6 * RATE)
    changes.happened()
    await waiting
