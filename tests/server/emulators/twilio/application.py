"""A tiny application at the other end of the telephone: TwiML, callbacks, and a stream."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from starlette.websockets import WebSocketDisconnect

from server.emulators.twilio.listening import listening
from server.emulators.twilio.waiting import Changes


@dataclass
class Seen:
    """One request of Twilio's."""

    method: str
    url: str
    path: str
    form: dict[str, str]
    signature: str


@dataclass
class Socket:
    """One stream as the application sees it."""

    websocket: WebSocket
    url: str
    signature: str
    changes: Changes
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def stream_sid(self) -> str:
        return str(self.all("start")[0]["streamSid"])

    def all(self, event: str) -> list[dict[str, Any]]:
        return [message for message in self.received if message["event"] == event]

    async def until(self, event: str, count: int = 1) -> dict[str, Any]:
        await self.changes.until(lambda: len(self.all(event)) >= count)
        return self.all(event)[count - 1]

    async def send(self, event: str, **content: Any) -> None:
        message = {"event": event, "streamSid": self.stream_sid, **content}
        await self.websocket.send_text(json.dumps(message))

    async def play(self, mulaw: bytes) -> None:
        await self.send("media", media={"payload": base64.b64encode(mulaw).decode()})

    async def mark(self, name: str) -> None:
        await self.send("mark", mark={"name": name})


Stream = Callable[[Socket], Awaitable[None]]


async def listens(socket: Socket) -> None:
    """A stream that says nothing until it is cancelled."""
    await asyncio.Event().wait()


class Application:
    """Answers each path with what `answers` has for it; runs `stream` on each WebSocket."""

    def __init__(self) -> None:
        self.answers: dict[str, str | Callable[[Seen], Response]] = {}
        self.stream: Stream = listens
        self.requests: list[Seen] = []
        self.sockets: list[Socket] = []
        self.changes = Changes()
        self.port = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/stream"

    def stream_twiml(self, after: str = "", inside: str = "", attributes: str = "") -> str:
        return (
            f'<Response><Connect><Stream url="{self.stream_url}" {attributes}>{inside}'
            f"</Stream></Connect>{after}</Response>"
        )

    def seen(self, path: str) -> list[Seen]:
        return [request for request in self.requests if request.path == path]

    async def socket(self, number: int = 1) -> Socket:
        await self.changes.until(lambda: len(self.sockets) >= number)
        socket = self.sockets[number - 1]
        await socket.until("start")
        return socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Application"]:
        app = FastAPI()
        app.add_api_route("/{path:path}", self._http, methods=["GET", "POST"])
        app.add_api_websocket_route("/stream", self._websocket)
        async with listening(app) as self.port:
            yield self

    async def _http(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        signature = request.headers.get("x-twilio-signature", "")
        seen = Seen(request.method, str(request.url), request.url.path, form, signature)
        self.requests.append(seen)
        self.changes.happened()
        answer = self.answers.get(seen.path, "")
        if callable(answer):
            return answer(seen)
        return Response(answer, media_type="text/xml", status_code=200 if answer else 204)

    async def _websocket(self, websocket: WebSocket) -> None:
        await websocket.accept()
        socket = Socket(
            websocket,
            str(websocket.url),
            websocket.headers.get("x-twilio-signature", ""),
            self.changes,
        )
        self.sockets.append(socket)
        talking = asyncio.create_task(self._talk(socket))
        try:
            while True:
                socket.received.append(json.loads(await websocket.receive_text()))
                self.changes.happened()
        except (WebSocketDisconnect, RuntimeError):
            talking.cancel()
            await asyncio.wait({talking})

    async def _talk(self, socket: Socket) -> None:
        await socket.until("start")
        await self.stream(socket)
        await socket.websocket.close()
