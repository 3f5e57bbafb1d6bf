"""HangupController: ends a call once the agent's last words were heard. Last step of a pipeline.

It watches turns, and asks `Playback` and `CallerSpeech` for the rest. A pending end waits for the
mark of the last words; a caller who speaks meanwhile cancels it, unless the time limit is reached.

    TALKING ── hang_up · transfer · silence · limit ──▶ LEAVING ── words heard ──▶ OVER
        ◀──────────── the caller speaks up ─────────────┘              ▲
        └──────────────────── no model ─────────────────────────────────┘
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    FunctionCallInProgressFrame,
    InputDTMFFrame,
    InputTextRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from agent.model_instructions import (
    ASK_WHETHER_THERE,
    BYE_TO_LIMIT,
    BYE_TO_SILENCE,
    CALLER_WAITS,
)
from agent.ports import Record
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.call.caller_silence import SilenceWatch
from pipelines.call.duration_limit import LimitWatch
from pipelines.call.last_words import LastWords
from pipelines.call.stall_detector import StallDetector
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback
from processors.direct import DirectProcessor
from processors.frames import OF_THE_CONVERSATION

# How often the model is looked at.
LOOKS_EVERY_SECS = 1.0


@dataclass(frozen=True)
class CallSummary:
    """Why the conversation ended. `reason` is None when it was ended from outside."""

    reason: EndReason | None
    transfer_to: str | None = None
    error: str | None = None


class Phase(Enum):
    """Phase of hanging up."""

    TALKING = "talking"
    LEAVING = "leaving"
    OVER = "over"


class HangupController(DirectProcessor):
    """Decides when the conversation is over, and sets `over` to its summary then."""

    def __init__(
        self,
        line: PhoneLine,
        playback: Playback,
        speech: CallerSpeech,
        profile: AgentProfile,
        record: Record,
    ) -> None:
        super().__init__()
        self._line = line
        self._playback = playback
        self._speech = speech
        self._record = record
        self._fallback_number = profile.fallback_number
        self.over: asyncio.Future[CallSummary] = asyncio.get_running_loop().create_future()
        # Called with the `what` of `DeadAir`.
        self.on_dead_air: Callable[[str], None] = lambda _: None
        self._started = False
        self._phase = Phase.TALKING
        self._leaving: asyncio.Task[None] | None = None
        self._saying: asyncio.Task[None] | None = None
        self._last_words = LastWords(line, playback)
        self._limit = LimitWatch(profile.max_duration_seconds, self._time_is_up)
        # When silence is looked for next, and a model that stalls; None before the answer.
        self._silence: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._silence_watch = SilenceWatch(
            speech, playback, silent_after_secs=profile.silence_seconds
        )
        silence_ms = profile.vad.silence_duration_ms or 0
        self._answer = StallDetector(speech, playback, turn_ends_after_secs=silence_ms / 1000)
        line.on_bound.append(self._bound)

    # --- what others ask for -------------------------------------------------------------------

    def leave(
        self,
        reason: EndReason,
        *,
        instruction: str | None = None,
        transfer_to: str | None = None,
        speaks_first: bool = True,
    ) -> None:
        """End the call once the agent's last words were heard.

        `instruction` tells the model what these words are to be; without it, the model is
        expected to end its turn by itself, as it does after a tool's answer. Unless it
        `speaks_first`: then the last words are those that it is saying, or was told to say.
        """
        if self._phase is not Phase.TALKING:
            return
        self._phase = Phase.LEAVING
        self._record.event("call.leaving", {"reason": reason.value})
        if speaks_first:
            self._last_words.expect(in_a_new_turn=instruction is not None)
        else:
            self._last_words.expect_what_is_being_said()
        self._leaving = self.create_task(self._leave(reason, instruction, transfer_to), "leaving")

    @property
    def is_talking(self) -> bool:
        """Whether the conversation goes on, with somebody on the line."""
        return self._phase is Phase.TALKING and self._line.bound

    def fail(self, reason: EndReason, error: str) -> None:
        """End the call now: the model cannot go on; the profile's fallback number is dialled."""
        self._finish(CallSummary(reason, self._fallback_number, error))

    def caller_was_heard(self) -> None:
        """The model heard the caller, perhaps too softly for `CallerSpeech`."""
        self._answer.listened(asyncio.get_running_loop().time())
        self._caller_is_there()

    async def say(self, text: str) -> None:
        """Tell the model something, as if it were written to it."""
        self._last_words.asked()
        await self.push_frame(InputTextRawFrame(text), FrameDirection.UPSTREAM)

    def _say_soon(self, text: str) -> None:
        self._saying = self.create_task(self.say(text), "saying")

    # --- what happens ----------------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Watch turns and signs of life; what only steps care for ends here."""
        await super().process_frame(frame, direction)
        match frame:
            case LLMFullResponseEndFrame():
                self._last_words.turn_ended()
            case LLMFullResponseStartFrame():
                self._last_words.turn_started()
                self._model_is_there()
            case InterruptionFrame():
                self._last_words.interrupted()
                self._model_is_there()
                self._caller_is_there()
                self._take_leave_back()
            case InputDTMFFrame():
                self._caller_is_there()
            case FunctionCallInProgressFrame():
                self._model_is_there()
            case StartFrame():
                self._started = True
                if self._line.bound:
                    self._bound()
        if direction is FrameDirection.UPSTREAM or not isinstance(frame, OF_THE_CONVERSATION):
            await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """Stop all watches; a conversation that was not over is ended from outside."""
        self._finish(CallSummary(None))
        self._limit.stop()
        for timer in (self._silence, self._stall):
            if timer is not None:
                timer.cancel()
        for task in (self._leaving, self._saying):
            if task is not None:
                await self.cancel_task(task)
        await super().cleanup()

    def _bound(self) -> None:
        if not self._started:
            return  # the StartFrame comes, and finds the line bound
        self._model_is_there()  # a stream that was lost took with it what was said meanwhile
        if self._silence is None and self._line.answered_at is not None:
            self._limit.start(self._line.answered_at)
            self._look_for_silence()
            loop = asyncio.get_running_loop()
            self._stall = loop.call_later(LOOKS_EVERY_SECS, self._look_for_a_stall)

    def _model_is_there(self) -> None:
        now = asyncio.get_running_loop().time()
        self._answer.replied(now)
        self._silence_watch.sign_of_life(now)

    def _caller_is_there(self) -> None:
        self._silence_watch.caller_is_there(asyncio.get_running_loop().time())

    def _time_is_up(self) -> None:
        # A call that is on its way out anyway goes on so; nobody takes that back now.
        self.leave(EndReason.LIMIT, instruction=BYE_TO_LIMIT)

    def _take_leave_back(self) -> None:
        if self._phase is Phase.LEAVING and not self._limit.is_up:
            if self._leaving is not None:
                self._leaving.cancel()
            self._phase, self._leaving = Phase.TALKING, None
            self._silence_watch.take_question_back()
            self._record.event("call.staying")

    # --- leaving ---------------------------------------------------------------------------------

    async def _leave(
        self, reason: EndReason, instruction: str | None, transfer_to: str | None
    ) -> None:
        sound_before = self._playback.last_sound
        if instruction is not None:
            await self.say(instruction)
        heard = await self._last_words.heard()
        self._record.event("call.left", {"heard_to_the_end": heard})
        unheard = self._playback.last_sound == sound_before
        if instruction is not None and unheard and self._line.bound:
            logger.warning("model had no last words")
            self._finish(CallSummary(EndReason.NO_MODEL, error="Gemini fell silent"))
        else:
            self._finish(CallSummary(reason, transfer_to))

    def _finish(self, summary: CallSummary) -> None:
        self._phase = Phase.OVER
        if not self.over.done():
            self.over.set_result(summary)

    # --- silence ---------------------------------------------------------------------------------

    def _look_for_silence(self) -> None:
        loop = asyncio.get_running_loop()
        wait_secs = self._silence_watch.silent_in(loop.time())
        if wait_secs <= 0 and self._phase is Phase.TALKING:
            self._is_silent(loop.time())
        self._silence = loop.call_later(max(wait_secs, 0.25), self._look_for_silence)

    def _is_silent(self, now: float) -> None:
        if not self._line.bound:
            self._silence_watch.sign_of_life(now)
        elif self._silence_watch.waits_for_caller:
            self.leave(EndReason.SILENCE, instruction=BYE_TO_SILENCE)
        else:
            self._silence_watch.asked(now)
            self._record.event("caller.silent")
            self.on_dead_air("caller")
            self._say_soon(ASK_WHETHER_THERE)

    # --- a model that stalls ---------------------------------------------------------------------

    def _look_for_a_stall(self) -> None:
        loop = asyncio.get_running_loop()
        self._stall = loop.call_later(LOOKS_EVERY_SECS, self._look_for_a_stall)
        if self._phase is not Phase.TALKING or not self._line.bound:
            return
        if self._answer.is_gone(loop.time()):
            logger.warning("model gave no answer")
            self.on_dead_air("model_gone")
            self.fail(EndReason.NO_MODEL, "Gemini fell silent")
        elif self._answer.is_overdue(loop.time()) and not self._silence_watch.waits_for_caller:
            self._record.event("model.silent")
            self.on_dead_air("model")
            self._answer.reminded(loop.time())
            self._say_soon(CALLER_WAITS)
