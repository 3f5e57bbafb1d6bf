"""Handles by which a client goes on with a conversation on another connection."""

from typing import Protocol
from uuid import uuid4

from server.emulators.gemini_live.conversation import Conversation


class UnknownHandle(LookupError):
    """Nobody was given this handle."""


class Resumable(Protocol):
    """A session, as its handles know it."""

    conversation: Conversation

    @property
    def is_open(self) -> bool:
        """Whether its connection lives."""
        ...


class Resumption:
    """Conversations as they were when their handles were given out."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Conversation, Resumable]] = {}

    def keep(self, session: Resumable) -> str:
        """A new handle for the session as it is now."""
        handle = uuid4().hex
        self._kept[handle] = session.conversation.copy(), session
        return handle

    def find(self, handle: str) -> tuple[Conversation, Resumable]:
        """The conversation to go on with, and the session it was left in.

        Raises: UnknownHandle.
        """
        if handle not in self._kept:
            raise UnknownHandle(handle)
        conversation, session = self._kept[handle]
        return conversation.copy(), session

    def forget(self, handle: str) -> None:
        """As if it had never been given out."""
        self._kept.pop(handle, None)
