"""One connection of a client: its messages in, checked and acted on, until it ends."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from server.emulators.gemini_live import server_messages as messages
from server.emulators.gemini_live.behaviour import Behaviour
from server.emulators.gemini_live.client_messages import check_client_message
from server.emulators.gemini_live.conversation import Conversation
from server.emulators.gemini_live.listening import Listening
from server.emulators.gemini_live.model import Model
from server.emulators.gemini_live.proto_json import InvalidMessage
from server.emulators.gemini_live.resumption import Resumption, UnknownHandle
from server.emulators.gemini_live.script import Script
from server.emulators.gemini_live.session_log import Changes, Event, SessionLog
from server.emulators.gemini_live.setup import Setup, content_text
from server.emulators.gemini_live.wire import Wire

INVALID_ARGUMENT = 1007
POLICY = 1008
INTERNAL = 1011
DEFAULT_TIMEOUT_SECS = 10.0
WORDS_PER_PIECE = 3


class Refused(Exception):
    """The client did what the API does not take: the close code and reason to answer with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Session:
    """What one client said and heard is in `log`; `script` may be replaced at any moment."""

    def __init__(
        self,
        websocket: ServerConnection,
        *,
        number: int,
        behaviour: Behaviour,
        choose_script: Callable[[dict[str, Any]], Script],
        resumption: Resumption,
        errors: list[Exception],
        changes: Changes,
        hearing: asyncio.Lock,
        told: "Callable[[Session, Event], None] | None" = None,
    ) -> None:
        self.number = number
        self.id = f"session-{number}"
        self.log = SessionLog(
            changes,
            told=None if told is None else lambda event: told(self, event),
            keeps=lambda: behaviour.keeps_log,
        )
        self.setup: dict[str, Any] = {}
        self.conversation = Conversation()
        self.script = Script()
        # The session that it continues.
        self.resumes: object = None
        self._websocket = websocket
        self._behaviour = behaviour
        self._choose_script = choose_script
        self._resumption = resumption
        self._errors = errors
        self._hearing_lock = hearing
        self._wire = Wire(websocket, self.log)
        self._model: Model | None = None
        self._setup: Setup | None = None
        self._listening: Listening | None = None
        self._pending_text = ""

    @property
    def is_open(self) -> bool:
        """Whether the connection lives."""
        return self.log.closed is None

    @property
    def is_set_up(self) -> bool:
        """Whether setupComplete was sent."""
        return self._model is not None

    async def until(
        self,
        true: Callable[["Session"], bool],
        timeout: float = DEFAULT_TIMEOUT_SECS,
    ) -> None:
        """Return when `true(session)`.

        Raises: TimeoutError after `timeout` seconds.
        """
        await self.log.changes.until(lambda: true(self), timeout)

    async def go_away(self, time_left_secs: float | None = None) -> None:
        """Announce the end of this connection, and end it after the time that is left."""
        left = self._behaviour.go_away_secs if time_left_secs is None else time_left_secs
        await self._wire.go_away(left)

    async def drop(self, code: int | None = INTERNAL, reason: str = "") -> None:
        """Close this connection; a code of None tears it down without a close frame."""
        await self._wire.drop(code, reason)

    def stall(self) -> None:
        """Go silent: the connection stays open, nothing is sent any more."""
        self._wire.stall()

    def freeze(self, secs: float) -> None:
        """Send nothing for a while; what is said meanwhile goes out late."""
        self._wire.freeze(secs)

    async def send_garbage(self, text: str) -> None:
        """Send what is no message."""
        await self._wire.send_text(text)

    async def send(self, message: Any, *, text_frame: bool = False) -> None:
        """Send any JSON value, whether the API knows such a message or not."""
        await self._wire.send_value(message, text_frame=text_frame)

    async def run(self) -> None:
        """Serve the connection to its end."""
        life: asyncio.Task[None] | None = None
        try:
            await self._set_up()
            if self._behaviour.connection_life_secs is not None:
                life = asyncio.create_task(self._live(self._behaviour.connection_life_secs))
            async for raw in self._websocket:
                await self._take(raw)
            self._wire.closed_by_client(ConnectionClosed(self._websocket.protocol.close_rcvd, None))
        except Refused as refused:
            await self._wire.drop(refused.code, refused.reason)
        except InvalidMessage as invalid:
            await self._wire.drop(INVALID_ARGUMENT, str(invalid))
        except ConnectionClosed as closed:
            self._wire.closed_by_client(closed)
        except Exception as problem:
            await self._fail(problem)
        finally:
            self._wire.forget_end()
            if life is not None:
                life.cancel()
            if self._listening is not None:
                self._listening.close()
            if self._model is not None:
                await self._model.close()

    async def _live(self, secs: float) -> None:
        await asyncio.sleep(secs)
        await self.go_away()

    async def _fail(self, problem: Exception) -> None:
        self._errors.append(problem)
        self.log.note("note", "error", repr(problem))
        await self._wire.drop(INTERNAL, "Internal error encountered.")

    async def _set_up(self) -> None:
        kind, fields = await self._next(await self._websocket.recv())
        self.log.note("in", kind, fields)
        if kind != "setup":
            raise Refused(INVALID_ARGUMENT, "setup must be the first message and only the first")
        setup = Setup(fields)
        known = self._behaviour.models
        if known is not None and setup.model not in known:
            raise Refused(
                POLICY,
                f"{setup.model} is not found for API version v1beta, or is not supported for "
                "bidiGenerateContent.",
            )
        self.setup = fields
        self.log.changes.happened()
        if setup.handle is not None:
            self._resume(setup.handle)
        else:
            self.conversation.context.add_text(setup.instruction)
        self.script = self._choose_script(fields)
        await asyncio.sleep(self._behaviour.setup_secs)
        self._wire.tells_consumed = setup.transparent
        self._setup = setup
        self._listening = Listening(
            setup.detection,
            lambda: self.script.ears,
            one_at_a_time=self._hearing_lock,
            started=self._speech_starts,
            ended=lambda: self.log.note("note", "speech_ended"),
            heard=self._heard,
            failed=self._fail,
        )
        await self._wire.send(messages.setup_complete(self.id))
        self._model = Model(
            self._wire,
            self.log,
            setup,
            lambda: self.script,
            self.conversation,
            self._behaviour,
            new_handle=lambda: self._new_handle(),
            failed=self._fail,
        )
        self.log.changes.happened()
        if setup.resumes:
            await self._wire.send_resumption(self._new_handle())

    def _new_handle(self) -> str | None:
        return self._resumption.keep(self) if self._behaviour.resumable else None

    def _resume(self, handle: str) -> None:
        try:
            conversation, before = self._resumption.find(handle)
        except UnknownHandle:
            raise Refused(INVALID_ARGUMENT, "Invalid session resumption handle.") from None
        if not self._behaviour.takes_handles:
            raise Refused(INVALID_ARGUMENT, "Invalid session resumption handle.")
        self.resumes = before
        if before.is_open and self._behaviour.resume_while_open == "refuse":
            raise Refused(INTERNAL, "The session to resume is still connected.")
        self.conversation = conversation

    async def _next(self, raw: str | bytes) -> tuple[str, dict[str, Any]]:
        try:
            parsed = json.loads(raw)
        except ValueError:
            raise InvalidMessage("Invalid JSON payload received. Unexpected token.") from None
        return check_client_message(parsed)

    async def _take(self, raw: str | bytes) -> None:
        kind, fields = await self._next(raw)
        self._wire.consumed += 1
        match kind:
            case "realtimeInput":
                await self._take_realtime(fields)
            case "clientContent":
                self.log.note("in", kind, fields)
                await self._take_content(fields)
            case "toolResponse":
                self.log.note("in", kind, fields)
                await self._take_tool_response(fields)
            case "contextUpdate":
                self.log.note("in", kind, fields)
                self._take_context(fields)
            case _:
                raise Refused(
                    INVALID_ARGUMENT, "setup must be the first message and only the first"
                )

    async def _take_realtime(self, fields: dict[str, Any]) -> None:
        assert self._listening is not None
        for blob in filter(None, [*fields.get("mediaChunks", ()), fields.get("audio")]):
            pcm = await self._listening.take(blob)
            if self._behaviour.keeps_log:
                self.log.audio += pcm
            self.log.note("in", "audio", None, len(pcm))
        if "text" in fields:
            self.log.note("in", "text", fields["text"])
            await self._take_text(fields["text"])
        for name in ("video", "activityStart", "activityEnd", "audioStreamEnd"):
            if name in fields:
                self.log.note("in", name)
        if "activityStart" in fields:
            await self._listening.activity_start()
        if "activityEnd" in fields:
            self._listening.activity_end()
        if fields.get("audioStreamEnd"):
            self._listening.stream_end()

    async def _speech_starts(self) -> None:
        assert self._model is not None
        assert self._setup is not None
        self.log.note("note", "speech_started")
        await self._model.caller_starts(interrupts=self._setup.interrupts)

    async def _heard(self, sentence: str | None, secs: float) -> None:
        assert self._model is not None
        self.conversation.context.add_audio(secs)
        self.log.heard.append(sentence)
        self.log.note("note", "heard", sentence)
        try:
            if sentence is not None:
                self.conversation.history.append(("user", sentence))
                await self._transcribe(sentence)
            steps = self.conversation.heard(self.script, sentence)
            if steps is None:
                self.log.note("note", "no_rule", sentence)
            self._model.answer_speech(steps, understood=sentence is not None)
        except ConnectionClosed:
            return

    async def _transcribe(self, sentence: str) -> None:
        assert self._setup is not None
        if not self._setup.transcribes_input:
            return
        words = sentence.split()
        for start in range(0, len(words), WORDS_PER_PIECE):
            piece = (" " if start else "") + " ".join(words[start : start + WORDS_PER_PIECE])
            await self._wire.send(messages.input_transcription(piece))

    async def _take_text(self, text: str) -> None:
        assert self._model is not None
        # A blank text makes a gemini-3 model answer the content that came before.
        asked = text if text.strip() else self._pending_text
        self._pending_text = ""
        if not asked.strip():
            return
        self.log.texts.append(asked)
        self.conversation.history.append(("user", asked))
        self.conversation.context.add_text(asked)
        await self._model.answer_text(self.conversation.read(self.script, asked))
        self.log.changes.happened()

    async def _take_content(self, fields: dict[str, Any]) -> None:
        assert self._model is not None
        for turn in fields.get("turns", ()):
            text = content_text(turn)
            role = turn.get("role", "user")
            self.conversation.history.append((role, text))
            self.conversation.context.add_text(text)
            if role == "user" and text.strip():
                self._pending_text = text
        if fields.get("turnComplete"):
            if self._model.is_heard:
                await self._model.interrupt()
            if self._behaviour.client_content_speaks:
                await self._take_text("")

    async def _take_tool_response(self, fields: dict[str, Any]) -> None:
        assert self._model is not None
        for response in fields.get("functionResponses", ()):
            self.log.tool_responses.append(response)
            if not await self._model.take_tool_response(response):
                unknown = f"a tool response to {response.get('id')!r}, which nobody asked"
                self._errors.append(LookupError(unknown))
        self.log.changes.happened()

    def _take_context(self, fields: dict[str, Any]) -> None:
        assert self._setup is not None
        if "systemInstruction" in fields:
            self.setup["systemInstruction"] = fields["systemInstruction"]
            self.conversation.context.add_text(self._setup.instruction)
        if "tools" in fields:
            self.setup["tools"] = fields["tools"].get("tools", [])
            self._setup.take_tools(self.setup["tools"])
