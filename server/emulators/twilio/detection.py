"""Answering machine detection: who picked up, told by the call or by a callback of its own.

Source: https://www.twilio.com/docs/voice/answering-machine-detection
"""

import asyncio

from server.emulators.twilio.record import CallRecord
from server.emulators.twilio.waiting import Changes

DETECTION_SECS = 0.2
# An answering machine's greeting and its beep.
UTTERANCES_TO_BEEP = 2


async def detect(
    record: CallRecord, changes: Changes, *, is_machine: bool, waits_for_beep: bool
) -> str:
    """Listen to who picked up; Twilio's word for it, `AnsweredBy`."""
    await asyncio.sleep(DETECTION_SECS)
    if not is_machine:
        return "human"
    if not waits_for_beep:
        return "machine_start"
    await changes.until(lambda: len(record.all("caller.said")) >= UTTERANCES_TO_BEEP)
    return "machine_end_beep"
