"""OwnerSocket: the WebSocket to the instance that has the call, and its way in at once.

Whole messages of the owner are written to Twilio's socket as they come, without a task; those for
which there is no room wait in the queue of `FastClientConnection`.
"""

from collections.abc import Callable

from pipelines.gemini.fast_websocket import FastClientConnection


class OwnerSocket(FastClientConnection):
    """Client WebSocket whose text messages go to `pass_on` while none waits before them."""

    # Writes a message to Twilio; False when it has to wait.
    pass_on: Callable[[bytes], bool] | None = None

    def takes(self, is_text: bool, message: bytes) -> bool:
        """Pass a message on at once; False: it waits."""
        return self.pass_on is not None and is_text and self.pass_on(message)
