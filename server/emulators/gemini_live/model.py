"""The scripted model: takes turns, speaks, calls functions, and can be interrupted.

    idle ──respond──▶ thinking ──▶ generating ──▶ idle
                         │             └─ interrupt: interrupted, turnComplete
                         └─ the caller goes on talking: the answer waits for the end of the speech

It believes, as the real one does, that its speech is heard in real time from the moment it is sent.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from itertools import count
from typing import Any

from websockets.exceptions import ConnectionClosed

from server.emulators.gemini_live import server_messages as messages
from server.emulators.gemini_live.behaviour import Behaviour
from server.emulators.gemini_live.conversation import Conversation, Steps
from server.emulators.gemini_live.script import Script
from server.emulators.gemini_live.session_log import Reply, SessionLog
from server.emulators.gemini_live.setup import Setup
from server.emulators.gemini_live.spoken import speech_messages
from server.emulators.gemini_live.steps import (
    Call,
    Drop,
    FunctionCall,
    Garbage,
    GoAway,
    Pause,
    Say,
    Send,
    Stall,
    Step,
)
from server.emulators.gemini_live.usage import usage_of_turn
from server.emulators.gemini_live.wire import Wire


class ScriptFailure(Exception):
    """The script asks for what this session cannot do."""


class Phase(Enum):
    """What the model is doing."""

    IDLE = "idle"
    THINKING = "thinking"
    GENERATING = "generating"


class Model:
    """One session's model. Every method is called on the event loop; none is re-entered."""

    def __init__(
        self,
        wire: Wire,
        log: SessionLog,
        setup: Setup,
        script: Callable[[], Script],
        conversation: Conversation,
        behaviour: Behaviour,
        *,
        new_handle: Callable[[], str | None],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._wire = wire
        self._log = log
        self._setup = setup
        self._script = script
        self._conversation = conversation
        self._behaviour = behaviour
        self._new_handle = new_handle
        self._failed = failed
        self._phase = Phase.IDLE
        self._turn: asyncio.Task[None] | None = None
        self._steps: Steps = ()
        self._next: deque[Steps] = deque()
        self._unanswered: Steps | None = None
        self._playing_until = 0.0
        self._spoken_secs = 0.0
        self._calls: dict[str, FunctionCall] = {}
        self._answers: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._call_numbers = count(1)

    @property
    def phase(self) -> Phase:
        """What it is doing now."""
        return self._phase

    @property
    def is_heard(self) -> bool:
        """Whether it generates, or what it sent would still be playing."""
        playing = asyncio.get_running_loop().time() < self._playing_until
        return self._phase is Phase.GENERATING or playing

    async def caller_starts(self, *, interrupts: bool) -> None:
        """The caller begins to speak."""
        if self._phase is Phase.THINKING:
            self._unanswered = self._steps
            await self._stop_turn()
            self._phase = Phase.IDLE
        if interrupts and self.is_heard:
            await self.interrupt()

    def answer_speech(self, steps: Steps | None, *, understood: bool) -> None:
        """The caller finished. If nothing was understood, what was about to be said still is."""
        waited, self._unanswered = self._unanswered, None
        chosen = waited if waited is not None and not understood else steps
        self._respond(chosen)

    async def answer_text(self, steps: Steps | None) -> None:
        """A text was typed: it interrupts, as speech does."""
        if steps is None:
            return
        if self.is_heard:
            await self.interrupt()
        self._respond(steps)

    async def take_tool_response(self, response: Mapping[str, Any]) -> bool:
        """A function answered; False when nobody asked it."""
        call_id = response.get("id", "")
        call = self._calls.get(call_id)
        if call is None:
            return False
        if not response.get("willContinue"):
            del self._calls[call_id]
        answer = response.get("response", {})
        self._conversation.context.add_text(str(answer))
        waiting = self._answers.pop(call_id, None)
        if waiting is not None:
            waiting.set_result(answer)
            return True
        scheduling = response.get("scheduling") or answer.get("scheduling")
        if scheduling == "SILENT":
            return True
        steps = self._conversation.learnt(self._script(), call.name, answer)
        if steps is None:
            self._log.note("note", "no_rule", call.name)
        else:
            if scheduling == "INTERRUPT" and self.is_heard:
                await self.interrupt()
            self._respond(steps)
        return True

    async def interrupt(self) -> None:
        """Stop generating, and tell the client that what it has not played is void."""
        await self._stop_turn()
        void = list(self._answers)
        self._answers.clear()
        for call_id in void:
            del self._calls[call_id]
        if void:
            await self._wire.send(messages.tool_call_cancellation(void))
        self._playing_until = 0.0
        self._log.interruptions += 1
        await self._wire.send(messages.interrupted())
        await self._complete_turn()

    async def close(self) -> None:
        """The connection is gone."""
        self._next.clear()
        await self._stop_turn()

    def _respond(self, steps: Steps | None) -> None:
        if steps is not None:
            self._next.append(steps)
        is_busy = self._turn is not None and not self._turn.done()
        if is_busy or not self._next:
            return
        self._steps = self._next.popleft()
        self._phase = Phase.THINKING
        self._turn = asyncio.create_task(self._take_turns())

    async def _take_turns(self) -> None:
        try:
            await self._take_turn(self._steps)
            while self._next:
                self._steps = self._next.popleft()
                self._phase = Phase.THINKING
                await self._take_turn(self._steps)
        except ConnectionClosed:
            return
        except Exception as problem:
            await self._failed(problem)

    async def _stop_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and turn is not asyncio.current_task():
            turn.cancel()
            await asyncio.wait([turn])

    async def _take_turn(self, steps: Steps) -> None:
        await asyncio.sleep(self._behaviour.thinking_secs)
        self._phase = Phase.GENERATING
        if self._setup.resumes:
            await self._wire.send_resumption(None)
        for step in steps:
            await self._do(step)
        await self._wire.send(messages.generation_complete())
        if self._behaviour.turn_complete == "after_playback":
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(0.0, self._playing_until - loop.time()))
        await self._complete_turn()

    async def _complete_turn(self) -> None:
        context = self._conversation.context
        usage = usage_of_turn(context, self._spoken_secs)
        context.add_audio(self._spoken_secs)
        if self._setup.compression is not None:
            context.compress(*self._setup.compression)
        self._spoken_secs = 0.0
        self._phase = Phase.IDLE
        self._log.turns_complete += 1
        await self._wire.send(messages.turn_complete(usage))
        if self._setup.resumes:
            await self._wire.send_resumption(self._new_handle())

    async def _do(self, step: Step) -> None:
        match step:
            case Say():
                await self._say(step)
            case Call():
                await self._call(step)
            case Pause(secs):
                await asyncio.sleep(secs)
            case GoAway(time_left_secs):
                await self._wire.go_away(time_left_secs)
            case Drop(code, reason):
                await self._wire.drop(code, reason)
            case Stall():
                self._wire.stall()
            case Garbage(text, text_frame):
                await self._wire.send_text(text, text_frame=text_frame)
            case Send(message, text_frame):
                await self._wire.send_value(message, text_frame=text_frame)

    async def _say(self, step: Say) -> None:
        loop = asyncio.get_running_loop()
        voice = self._setup.voice(None if step.quoted else self._script().language)
        reply = Reply(step.text, loop.time(), voice)
        self._log.replies.append(reply)
        self._log.note("note", "says", step.text)
        self._conversation.history.append(("model", step.text))
        messages_of_speech = speech_messages(
            step,
            voice=voice,
            chunk_ms=self._behaviour.chunk_ms,
            two_parts_every=self._behaviour.two_parts_every,
            transcribed=self._setup.transcribes_output,
            loudness=self._behaviour.loudness,
        )
        for message, secs in messages_of_speech:
            self._playing_until = max(loop.time(), self._playing_until) + secs
            self._spoken_secs += secs
            reply.secs += secs
            await self._wire.send(message)
            if self._behaviour.pace:
                due = reply.started_at + reply.secs / self._behaviour.pace
                await asyncio.sleep(max(0.0, due - loop.time()))
        reply.complete = step.cut_after_secs is None
        self._log.changes.happened()

    async def _call(self, step: Call) -> None:
        wanted = [
            function
            for function in step.functions
            if not (function.optional and function.name not in self._setup.functions)
        ]
        for function in wanted:
            if function.name not in self._setup.functions:
                raise ScriptFailure(
                    f"the script calls {function.name!r}, which setup.tools does not declare "
                    f"(declared: {', '.join(sorted(self._setup.functions)) or 'nothing'})"
                )
        if not wanted:
            return
        calls = {f"function-call-{next(self._call_numbers)}": function for function in wanted}
        loop = asyncio.get_running_loop()
        self._calls |= calls
        waiting = {
            call_id: loop.create_future()
            for call_id, function in calls.items()
            if self._setup.functions[function.name]
        }
        self._answers |= waiting
        message = messages.tool_call(calls)
        self._log.tool_calls += message["toolCall"]["functionCalls"]
        await self._wire.send(message)
        for call_id, answer in waiting.items():
            steps = self._conversation.learnt(self._script(), calls[call_id].name, await answer)
            for after in steps or ():
                await self._do(after)
