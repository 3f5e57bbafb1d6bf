"""Resumption: the handle that lets a new connection go on where the last one stopped.

https://ai.google.dev/gemini-api/docs/live-session#session-resumption
"""

from google.genai import types


class Resumption:
    """Follows one connection: its newest handle, and whether that covers all that was said."""

    def __init__(self, handle: str | None = None) -> None:
        """`handle`: the one that the connection continues, if it does."""
        self.handle = handle
        # The model does something that no handle covers yet; a connection that continues another
        # one says so before its first update.
        self._busy = handle is not None

    @property
    def is_covered(self) -> bool:
        """Whether leaving now loses nothing. A session without handles has nothing to lose."""
        return not self._busy or self.handle is None

    def spoke(self) -> None:
        """The model speaks, until a handle that covers it has come."""
        self._busy = True

    def take(self, message: types.LiveServerMessage) -> bool:
        """Learn from a message; True when a new handle covers what was said so far."""
        content = message.server_content
        speaks = content is not None and content.model_turn is not None
        if speaks or message.tool_call is not None:
            self._busy = True
        update = message.session_resumption_update
        if update is None or update.resumable is None:
            return False
        self._busy = not update.resumable
        if not (update.resumable and update.new_handle):
            return False
        self.handle = update.new_handle
        return True
