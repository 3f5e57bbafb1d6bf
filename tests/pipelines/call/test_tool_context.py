"""The call as its tools see it, over the real end of a call."""

import asyncio

import pytest

from agent.ports import MemoryRecord, TransferRefused
from agent.profile import AgentProfile
from pipelines.call.hangup import HangupController
from pipelines.call.tool_context import ToolContext
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback

ALLOWED = "+15550100199"


async def test_a_transfer_to_a_number_that_may_not_be_called_is_refused_and_the_call_goes_on() -> (
    None
):
    clock = asyncio.get_running_loop().time
    record = MemoryRecord()
    end = HangupController(
        PhoneLine(clock), Playback(clock), CallerSpeech(), AgentProfile(), record
    )
    call = ToolContext("call-1", "+15550100", {}, record, end, may_transfer=ALLOWED.__eq__)
    with pytest.raises(TransferRefused):
        await call.transfer("+19005550100")
    assert record.events == []
    assert not end.over.done()
