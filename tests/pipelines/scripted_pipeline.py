"""A call's pipeline that does what a test says: it gets ready, fails and ends at its word."""

import asyncio

from agent.record.models import Call, CallStatus, Direction, EndReason
from pipelines.call.run_call import CallSummary
from pipelines.phone.phone_line import PhoneLine


class ScriptedPipeline:
    """What `RunningCall` promises; `log` is shared with the other parts of a scene."""

    def __init__(self, log: list[str], *, is_prepared: bool = True) -> None:
        self.line = PhoneLine(asyncio.get_running_loop().time)
        self.over: asyncio.Future[CallSummary] = asyncio.get_running_loop().create_future()
        self.tokens: dict[tuple[str, str], int] = {}
        self.is_quiet = True
        self.may_end = asyncio.Event()
        self.may_end.set()
        self._ready = asyncio.Event()
        self._log = log
        if is_prepared:
            self._ready.set()

    @property
    def is_prepared(self) -> bool:
        return self._ready.is_set()

    @property
    def is_over(self) -> bool:
        return self.over.done()

    @property
    def has_no_model(self) -> bool:
        if not self.over.done() or self.over.exception() is not None:
            return False
        return self.over.result().reason is EndReason.NO_MODEL

    async def prepared(self) -> None:
        await self._ready.wait()

    async def ended(self) -> CallSummary:
        return await asyncio.shield(self.over)

    async def end(self) -> None:
        if not self.over.done():
            self.over.set_result(CallSummary(None))
        await self.may_end.wait()
        self._log.append("pipeline ended")
        await self.line.close()

    def gets_ready(self) -> None:
        self._ready.set()

    def fails(self, reason: EndReason = EndReason.NO_MODEL) -> None:
        self.over.set_result(CallSummary(reason, error="refused"))


def a_call(call_id: str = "1") -> Call:
    """A call's record, as far as a registry looks at it."""
    return Call(
        id=call_id,
        direction=Direction.OUTBOUND,
        status=CallStatus.IN_PROGRESS,
        phone_number="+1",
        our_number="+2",
        pipeline="p",
    )
