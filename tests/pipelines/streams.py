"""A media stream that keeps what is sent over it."""

import json
from typing import Any


class KeptStream:
    """Implements `MediaStream` in memory."""

    def __init__(self, stream_sid: str = "MZ1") -> None:
        self.stream_sid = stream_sid
        self.messages: list[dict[str, Any]] = []
        self.closed = False

    async def send(self, *texts: str) -> None:
        self.messages += map(json.loads, texts)

    async def close(self) -> None:
        self.closed = True

    @property
    def events(self) -> list[str]:
        return [message["event"] for message in self.messages]
