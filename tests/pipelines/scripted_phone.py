"""A telephone on a running call, without a network: Twilio's stream, played by hand.

It plays what it is sent in real time of the loop's clock, echoes marks when playback is there, and
honours `clear`, as Twilio documents them.
"""

import asyncio
import base64
import json
from collections import deque
from typing import Any

from pipelines.call.run_call import RunningCall


class Phone:
    """Implements `MediaStream`, and speaks into the line."""

    def __init__(self, running: RunningCall, stream_sid: str = "MZ1") -> None:
        self.stream_sid = stream_sid
        self.line = running.line
        self.closed = False
        self.sent: list[tuple[float, str]] = []
        # Every byte that was played, with silence where there was nothing to play.
        self.heard = bytearray()
        self.gaps = 0
        self._queue: deque[bytes | str] = deque()
        self._ticking: asyncio.Task[None] | None = None
        self._voice = bytearray()

    async def send(self, *texts: str) -> None:
        for text in texts:
            await self._take(json.loads(text))

    async def _take(self, message: dict[str, Any]) -> None:
        self.sent.append((asyncio.get_running_loop().time(), message["event"]))
        if message["event"] == "media":
            self._queue.append(base64.b64decode(message["media"]["payload"]))
        elif message["event"] == "mark":
            self._queue.append(message["mark"]["name"])
        else:
            marks = [item for item in self._queue if isinstance(item, str)]
            self._queue.clear()
            for name in marks:
                await self._echo(name)

    async def close(self) -> None:
        self.closed = True

    async def pick_up(self) -> None:
        await self.line.bind(self)
        self._ticking = asyncio.create_task(self._tick())

    def speak(self, mulaw: bytes) -> None:
        """Say this from now on."""
        self._voice += mulaw

    def put_down(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        self.line.unbind(self)

    def events(self, *kinds: str) -> list[str]:
        return [kind for _, kind in self.sent if kind in kinds]

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += 0.02
            await asyncio.sleep(due - loop.time())
            await self._play(160)
            said = bytes(self._voice[:160]).ljust(160, b"\xff")
            del self._voice[:160]
            payload = base64.b64encode(said).decode()
            await self.line.receive(json.dumps({"event": "media", "media": {"payload": payload}}))

    async def _play(self, count: int) -> None:
        while self._queue and isinstance(self._queue[0], str):
            await self._echo(str(self._queue.popleft()))
        played = b""
        while self._queue and len(played) < count:
            item = self._queue.popleft()
            if isinstance(item, str):
                await self._echo(item)
                continue
            need = count - len(played)
            played += item[:need]
            if len(item) > need:
                self._queue.appendleft(item[need:])
        self.heard += played.ljust(count, b"\xff")

    async def _echo(self, name: str) -> None:
        await self.line.receive(json.dumps({"event": "mark", "mark": {"name": name}}))
