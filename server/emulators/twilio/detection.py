"""Answering machine detection: who picked up, told by the call or by a callback of its own.

Source: https://www.twilio.com/docs/voice/answering-machine-detection
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.emulators.twilio.order import Detection

if TYPE_CHECKING:
    from server.emulators.twilio.call import EmulatedCall

DETECTION_SECS = 0.2
# An answering machine's greeting and its beep.
UTTERANCES_TO_BEEP = 2


async def detect(call: EmulatedCall, detection: Detection, *, is_machine: bool) -> None:
    """Set the call's `answered_by`, and tell the callback when there is one."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.sleep(DETECTION_SECS)
    if not is_machine:
        call.answered_by = "human"
    elif detection.waits_for_beep:
        await call.changes.until(lambda: len(call.record.all("caller.said")) >= UTTERANCES_TO_BEEP)
        call.answered_by = "machine_end_beep"
    else:
        call.answered_by = "machine_start"
    call.record.note("answered_by", who=call.answered_by)
    if detection.is_async and detection.callback_url:
        took_ms = round((loop.time() - started) * 1_000)
        form = call.form() | {"MachineDetectionDuration": str(took_ms)}
        call.callbacks.send("amd", detection.callback_url, detection.callback_method, form)
