"""PendingDials: calls of this process that wait for Twilio's answer to a dial."""

import asyncio


class PendingDials:
    """Lets `place` wait until Twilio has answered."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[None]] = {}

    def begin(self, call_id: str) -> None:
        """The call is about to be dialled."""
        self._answers[call_id] = asyncio.get_running_loop().create_future()

    def answered(self, call_id: str) -> None:
        """Twilio has answered, or never will: wake the waiter."""
        answer = self._answers.pop(call_id, None)
        if answer is not None and not answer.done():
            answer.set_result(None)

    async def until_answered(self, call_id: str, timeout: float) -> None:
        """Wait for the answer, at most `timeout` seconds; not at all when nothing is dialled."""
        answer = self._answers.get(call_id)
        if answer is not None:
            await asyncio.wait([answer], timeout=timeout)
