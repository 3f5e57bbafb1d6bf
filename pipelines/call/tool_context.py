"""ToolContext: what a tool may read and do in the call it runs in; StepContext: and a step."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.model_instructions import SAY
from agent.ports import Record, TransferRefused
from agent.record.models import EndReason
from pipelines.call.hangup import HangupController


class ToolContext:
    """Implements `agent.ports.LiveCall` for one running pipeline."""

    # The model speaks once more when it has the tool's answer.
    _model_speaks_first = True

    def __init__(
        self,
        call_id: str,
        phone_number: str,
        metadata: Mapping[str, Any],
        record: Record,
        hangup: HangupController,
        *,
        may_transfer: Callable[[str], bool],
    ) -> None:
        self.call_id = call_id
        self.phone_number = phone_number
        self.metadata = metadata
        self._record = record
        self._hangup = hangup
        self._may_transfer = may_transfer

    async def hang_up(self) -> None:
        """End the call once the agent's last words were heard."""
        self._hangup.leave(EndReason.AGENT, speaks_first=self._model_speaks_first)

    async def say(self, text: str) -> None:
        """Have the agent say this to the caller, word for word."""
        await self._hangup.say(SAY.format(text))

    async def transfer(self, phone_number: str) -> None:
        """Once the agent's words were heard, connect the caller to this number (E.164).

        Raises: TransferRefused when calls to it are not allowed.
        """
        if not self._may_transfer(phone_number):
            raise TransferRefused("calls to this number are not allowed")
        self._hangup.leave(
            EndReason.AGENT, transfer_to=phone_number, speaks_first=self._model_speaks_first
        )

    def note(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Add an event to the call's record."""
        self._record.event(kind, detail)


class StepContext(ToolContext):
    """The call as a step has it: the model knows nothing of what the step does."""

    _model_speaks_first = False
