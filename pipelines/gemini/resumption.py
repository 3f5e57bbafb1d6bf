"""Resumption: the handle that lets a new session go on where the last one stopped.

https://ai.google.dev/gemini-api/docs/live-session#session-resumption
"""

from google.genai import types


class Resumption:
    """Follows one call's sessions: the newest handle, and when one that must go may be left."""

    def __init__(self) -> None:
        self.handle: str | None = None
        self._going_away = False
        # The model does something that no handle knows of yet.
        self._busy = False

    def opened(self) -> None:
        """A new session is open."""
        self._going_away = self._busy = False

    def refused(self) -> None:
        """The handle is worth nothing: the next session starts from scratch."""
        self.handle = None

    def spoke(self) -> None:
        """The model speaks, until a handle that knows of it has come."""
        self._busy = True

    def take(self, message: types.LiveServerMessage) -> None:
        """Learn from a message: speech, tool calls, handles, and that the session must go."""
        content = message.server_content
        speaks = content is not None and content.model_turn is not None
        if speaks or message.tool_call is not None:
            self._busy = True
        update = message.session_resumption_update
        if update is not None and update.resumable is not None:
            self._busy = not update.resumable
            if update.resumable and update.new_handle:
                self.handle = update.new_handle
        if message.go_away is not None:
            self._going_away = True

    @property
    def is_time_to_go(self) -> bool:
        """The session will be closed by Gemini, and leaving it now loses nothing."""
        return self._going_away and not self._busy
