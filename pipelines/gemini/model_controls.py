"""ModelControls: what may be changed about the model while a call goes on.

`change` takes effect with the next connection, which is opened beside the one that serves and takes
over between two turns. `hint` is told at once, and interrupts nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.call_memory import CallMemory


class UnknownTool(LookupError):
    """The pipeline has no tool of that name; the message lists those that there are."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be different; None stays as it is. `tools` are names, of those of the pipeline."""

    system_prompt: str | None = None
    voice: str | None = None
    tools: Sequence[str] | None = None


class Controlled(Protocol):
    """The model's step of a call."""

    def memory(self) -> CallMemory:
        """What another instance has to know to go on with the call."""
        ...

    def is_quiet(self) -> bool:
        """Whether neither side speaks, and nothing is owed."""
        ...

    def change(self, change: Change) -> None:
        """Go on with another prompt, voice or tools. Raises: UnknownTool."""
        ...

    def hint(self, text: str) -> None:
        """Tell the model something for itself alone."""
        ...


class ModelControls:
    """Reaches the model's step of one call; a pipeline has one."""

    def __init__(self) -> None:
        self._model: Controlled | None = None

    def attach(self, model: Controlled) -> None:
        """This is the step."""
        self._model = model

    def change(self, change: Change) -> None:
        """Go on with another prompt, voice or tools. Raises: UnknownTool."""
        if self._model is not None:
            self._model.change(change)

    def is_quiet(self) -> bool:
        """Whether neither side speaks, and nothing is owed."""
        return self._model is None or self._model.is_quiet()

    def memory(self) -> CallMemory:
        """What another instance has to know to go on with the call."""
        return CallMemory() if self._model is None else self._model.memory()

    def hint(self, text: str) -> None:
        """Tell the model something for itself alone."""
        if self._model is not None:
            self._model.hint(text)
