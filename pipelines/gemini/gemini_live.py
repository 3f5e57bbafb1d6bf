"""GeminiLive: the model's step. Caller audio in; speech, transcripts, tool calls out.

It uses Pipecat's frames, so that the steps around it may be any Pipecat processors. Why it is not
Pipecat's `GeminiLiveLLMService`: docs/decisions/0002-own-gemini-step.md.

    in    InputAudioRawFrame 16 kHz · InputTextRawFrame · User{Started,Stopped}SpeakingFrame
    out   TTSStartedFrame, LLMFullResponseStartFrame
          TTSAudioRawFrame 24 kHz · TTSTextFrame                      (as they come)
          TTSStoppedFrame                                             no more sound
          LLMFullResponseEndFrame                                     the turn is over
          InterruptionFrame (both ways) · TranscriptionFrame (upstream)
          FunctionCallInProgressFrame · FunctionCallResultFrame
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import cached_property

from google.genai import types
from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputTextRawFrame,
    StartFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.time import time_now_iso8601

from agent.call_memory import CallMemory
from agent.conversation import Conversation
from agent.measures import MeasureSink
from agent.ports import LiveCall, Record
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.call.hangup import HangupController
from pipelines.gemini import client_message
from pipelines.gemini.call_so_far import CallSoFar
from pipelines.gemini.client import ConnectModel, ModelSession
from pipelines.gemini.filler import Filler
from pipelines.gemini.greeting import Greeting
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.gemini.messages import Words
from pipelines.gemini.model_controls import Change
from pipelines.gemini.model_setup import ModelSetup
from pipelines.gemini.model_step import Briefing
from pipelines.gemini.no_answer_watchdog import Watchdog
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.gemini.reply_output import ReplyOutput, pieces
from pipelines.gemini.reply_state import Phase, ReplyState
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.send_queue import Send
from pipelines.gemini.server_message import LeftOut, plain_name
from pipelines.gemini.session import GeminiSession, NoModel
from pipelines.gemini.speech_format import SpeechResampler, pcm_rate
from pipelines.gemini.token_counts import token_counts
from pipelines.gemini.tool_calls import ToolCalls
from pipelines.gemini.tools import Tool
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.playback import Playback
from pipelines.rates import GEMINI_SPEAKS_AT
from processors.direct import DirectProcessor, Sound
from processors.frames import TurnAgainFrame
from processors.sound_frames import AgentSound

# A changed prompt waits at most so long for a moment in which nobody speaks.
CHANGED_WITHIN_SECS = 20.0


class GeminiLive(DirectProcessor):
    """Connects one call to Gemini Live: sends audio, and pushes the model's output as frames."""

    hears = InputAudioRawFrame

    def __init__(
        self,
        client: ConnectModel,
        profile: AgentProfile,
        tools: Sequence[Tool],
        *,
        call: LiveCall,
        hangup: HangupController,
        conversation: Conversation,
        record: Record,
        measure: MeasureSink,
        patience: SessionPatience,
        stopwatch: Callable[[], float],
        speech: CallerSpeech,
        playback: Playback,
        greetings: GreetingCache | None = None,
        sentences: PreparedSentences | None = None,
        recalled: CallMemory | None = None,
    ) -> None:
        """`recalled`: another instance has begun the call.

        `greetings` and `sentences` are shared by calls; without them, each call has its own
        greeting, and no sentence for the time in which no answer comes.
        """
        super().__init__()
        self._model = ModelSetup(profile, tools, recalled)
        self._hangup = hangup
        self._record = record
        self._speech = speech
        self._playback = playback
        self._reply = ReplyState()
        self._output = ReplyOutput(self, self._reply)
        self._resampler = SpeechResampler()
        self._greeting = Greeting(GreetingKey.of(profile, client.model), greetings)
        self._filler = Filler(self, sentences, self._say_filler)
        self._so_far = CallSoFar(
            conversation, self._reply, speech, playback, recalled, now=time.time()
        )
        handle = None if recalled is None else recalled.handle
        self._session = GeminiSession(
            client, self._model, self, record, measure, patience, stopwatch, handle
        )
        self._tool_calls = ToolCalls(
            self._model.tools, call, record, measure, step=self, answer=self._answer_tool
        )
        self._watchdog = Watchdog(
            self._model,
            self._session,
            self._tool_calls,
            self._filler,
            hangup,
            speech,
            playback,
            record,
            measure,
            interrupt=self.broadcast_interruption,
        )
        self._running: asyncio.Task[None] | None = None
        # The caller's words come again, and are known.
        self._words_are_known = False

    # --- frames in ---------------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Send the model what is meant for it; everything but the caller's sound passes on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTextRawFrame):
            self._tell(frame.text)
            return
        if isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            await self._play_shared_greeting()
            self._running = self.create_task(self._run(), name="session")
            return
        if isinstance(frame, EndFrame | CancelFrame):
            await self._stop()
        elif self._model.profile.vad.disabled and direction is FrameDirection.DOWNSTREAM:
            if isinstance(frame, UserStartedSpeakingFrame):
                self._session.mark_speech(starts=True)
            elif isinstance(frame, UserStoppedSpeakingFrame):
                self._session.mark_speech(starts=False)
        if isinstance(frame, UserStoppedSpeakingFrame) and direction is FrameDirection.DOWNSTREAM:
            self._watchdog.caller_stopped()
            self._session.flush()
        await self.push_frame(frame, direction)

    async def hear(self, frame: Sound) -> None:
        """Send the caller's sound: PCM16 at 16 kHz."""
        self._session.hear(frame.audio)

    async def cleanup(self) -> None:
        """Leave no session and no tool behind."""
        await self._stop()
        await super().cleanup()

    def _tell(self, text: str) -> None:
        self._reply.prompted()
        self._session.send(client_message.text(text, sent=self._so_far.prompted))
        if self._hangup.is_talking:
            self._watchdog.waits()

    def _answer_tool(self, answer: Send) -> None:
        self._reply.prompted()
        self._session.send(answer)

    # --- the session -------------------------------------------------------------------------

    def answered(self) -> None:
        """Somebody is on the line."""
        self._session.answered()
        if (self._greeting.words or self._so_far.is_recalled) and not self._reply.has_spoken:
            self._watchdog.waits()
        self._filler.prepare(self._model.profile)

    async def _run(self) -> None:
        try:
            await self._session.run()
        except NoModel as error:
            self._hangup.fail(EndReason.NO_MODEL, f"Gemini refused a session: {error}")
        except Exception as error:
            logger.opt(exception=error).error("model step failed")
            self._hangup.fail(EndReason.SYSTEM, f"the model failed: {type(error).__name__}")

    async def _stop(self) -> None:
        await self._output.settle()
        self._watchdog.stop()
        await self._filler.stop()
        await self._tool_calls.stop()
        if self._running is not None:
            running, self._running = self._running, None
            await self.cancel_task(running)

    # --- what the session tells, and asks (`ModelStep`) --------------------------------------

    def brief(self, resumed: bool, replays: bool) -> Briefing:
        """What a connection is told that takes over; the first one is asked to greet."""
        if not self._reply.has_spoken and self._greeting.words:
            return Briefing(first=[self._greet])
        if self._so_far.is_recalled:
            told = self._so_far.recalled_handover(resumed=resumed)
        else:
            tools = self._tool_calls.brief()
            told = self._so_far.handover(resumed=resumed, replays=replays, tools=tools)
            is_known = self._filler.was_said and bool(self._reply.unanswered)
            self._words_are_known = replays and is_known
            if replays and not is_known:
                self._reply.heard_again()
        return Briefing(
            first=[client_message.note(line) for line in told.notes],
            then=[client_message.text(line, sent=self._so_far.prompted) for line in told.prompts],
        )

    async def connected(self) -> None:
        """A connection takes over: what the one before was saying ends here."""
        if self._reply.is_replying:
            self._greeting.broken_off()  # its end is lost, or said by another session
        self._resampler.reset()
        self._tool_calls.taken_over()
        self._so_far.connected()
        self._playback.disown()
        self._watchdog.connected()
        if self._watchdog.somebody_waits and not self._reply.has_spoken:
            self._watchdog.waits()  # a session has just been opened: it may take its time
        await self._output.push(self._reply.reconnected())
        if self._reply.expects_words_again:
            await self.push_frame(TurnAgainFrame(), FrameDirection.UPSTREAM)

    def covered(self) -> None:
        """A handle covers all that was said so far."""
        self._tool_calls.kept()
        self._so_far.covered()

    def is_answering(self) -> bool:
        """Whether an answer was begun, and is unfinished: more words, or a tool's result, come."""
        return self._reply.is_unfinished or self._tool_calls.is_open

    def is_quiet(self) -> bool:
        """Whether neither side speaks, and nothing is owed: a hand-over is not noticed."""
        reply = self._reply
        owed = reply.is_replying or reply.is_unfinished or bool(reply.unanswered)
        speaks = self._playback.speaking or self._speech.onset is not None
        return not (owed or speaks or self._tool_calls.is_open or self._watchdog.somebody_waits)

    # --- speech that was kept ----------------------------------------------------------------

    async def _say_filler(self, pcm: bytes, words: str) -> None:
        self._record.event("agent.filler")
        await self._watchdog.drop_near_silence()
        await self._output.push(self._reply.reconnected())
        self._resampler.reset()
        await self._output.say_apart(pcm, words)
        self._watchdog.turn.filled(self._playback.last_sound)

    async def _play_shared_greeting(self) -> None:
        """Say at once what another call's session has said before; this one's is told so."""
        sound = self._greeting.shared_sound()
        if not sound:
            return
        self._record.event("greeting.shared")
        await self._output.push(self._reply.words(self._greeting.words))
        for piece in pieces(sound):
            await self.take_speech(piece)
            await asyncio.sleep(0)  # other calls have their turn
        await self._output.push(self._reply.completed())
        await self._watchdog.turn_is_over()

    async def _greet(self, session: ModelSession) -> None:
        # One that could not be sent waits still, behind the one for this session.
        if not self._reply.has_spoken:
            await self._greeting.ask(session)

    # --- what the call asks, and changes (`Controlled`) --------------------------------------

    def memory(self) -> CallMemory:
        """What another instance has to know to go on with the call; without the answer's time."""
        return self._model.add_to(self._so_far.memory(self._session.handle, self._epoch))

    @cached_property
    def _epoch(self) -> float:
        """The loop's zero in seconds since the epoch: another machine's clock has another one."""
        return round(time.time() - asyncio.get_running_loop().time(), 3)

    def change(self, change: Change) -> None:
        """Go on with another prompt, voice or tools, from the next turn on. Raises: UnknownTool."""
        changed = self._model.change(change)
        self._tool_calls.use(self._model.tools)
        self._record.event("call.changed", {"fields": changed})
        self._session.renew(CHANGED_WITHIN_SECS)

    def hint(self, text: str) -> None:
        """Tell the model something for itself alone, when it does not generate."""
        self._record.event("call.hint", {"text": text})
        if self._so_far.hints.add(text):
            self._tell_hints()

    def _tell_hints(self) -> None:
        if self._reply.is_replying:
            return  # content interrupts what is being generated
        for line in self._so_far.hints.take_untold():
            self._session.send(client_message.note(line))

    # --- messages out ------------------------------------------------------------------------

    async def take_message(self, message: types.LiveServerMessage) -> None:
        """Take what the connection that serves sends, if it is more than speech or words."""
        content = message.server_content
        if content is not None:
            await self._take_content(content)
        if message.tool_call is not None:
            self._session.answer_begins()
            self._session.speaks()
            self._watchdog.turn.called_tool()
            for called in message.tool_call.function_calls or []:
                await self._output.settle()
                self._reply.prompted()  # what is said next is about the tool
                await self._tool_calls.begin(called)
        if message.tool_call_cancellation is not None:
            for call_id in message.tool_call_cancellation.ids or []:
                await self._tool_calls.take_back(call_id)
        if message.usage_metadata is not None:
            self._record.usage(token_counts(message.usage_metadata))

    async def _take_content(self, content: types.LiveServerContent) -> None:
        # One message may hold several of these; the interruption is about what came before it.
        if content.interrupted:
            self._watchdog.turn.interrupted()
            self._remember_turn()
            self._reply.interrupted()
            self._greeting.broken_off()
            self._resampler.reset()
            await self.broadcast_interruption()
        if content.input_transcription is not None and content.input_transcription.text:
            await self.take_words(Words(content.input_transcription.text, by_caller=True))
        if content.model_turn is not None:
            for part in content.model_turn.parts or []:
                if part.inline_data is not None and part.inline_data.data:
                    await self._speak_blob(part.inline_data.data, part.inline_data.mime_type)
        if content.output_transcription is not None and content.output_transcription.text:
            await self.take_words(Words(content.output_transcription.text, by_caller=False))
        if content.generation_complete or content.turn_complete:
            await self._put_out(self._resampler.flush())
        if content.generation_complete:
            await self._output.push(self._reply.generated())
            self._watchdog.reply_is_generated()
        if content.turn_complete:
            self._greeting.completed(self._reply.text)
            self._remember_turn()
            await self._output.push(self._reply.completed())
            await self._watchdog.turn_is_over()
            self._tell_hints()
            if (reason := content.turn_complete_reason) is not None:
                self._record.event("model.turn_complete", {"reason": plain_name(reason.value)})

    async def take_words(self, words: Words) -> None:
        """Push a piece of a transcript, of either side."""
        if not words.text:
            return
        if words.by_caller:
            self._hangup.caller_was_heard()
            if self._words_are_known:
                return
            self._watchdog.caller_was_transcribed()
            await self._output.push(self._reply.caller_said(words.text))
            heard = TranscriptionFrame(words.text, "", time_now_iso8601())
            await self.push_frame(heard, FrameDirection.UPSTREAM)
            return
        self._begin_reply()
        await self._output.words(words.text)

    async def _speak_blob(self, pcm: bytes, mime_type: str | None) -> None:
        """Say a piece of speech that names its rate; what cannot be played is left out."""
        rate = pcm_rate(mime_type)
        if rate is None:
            self._greeting.broken_off()
            self._session.leave_out(LeftOut("sound_type", plain_name(mime_type)))
            return
        await self._put_out(self._resampler.convert(pcm, rate))

    async def take_speech(self, pcm: bytes) -> None:
        """Push a piece of the model's speech: PCM16 at 24 kHz."""
        await self._put_out(self._resampler.convert(pcm, GEMINI_SPEAKS_AT))

    async def _put_out(self, pcm: bytes) -> None:
        if not pcm:
            return
        if self._reply.phase is not Phase.SOUNDING:
            self._begin_reply()
            await self._output.push(self._reply.sound())
        if not self._watchdog.turn.is_audible:
            self._watchdog.model_speaks(pcm)
        self._greeting.collect(pcm)
        await self.push_sound(AgentSound(pcm, GEMINI_SPEAKS_AT))

    def _begin_reply(self) -> None:
        if not self._reply.is_replying:
            self._session.answer_begins()
            self._so_far.reply_begins()
            self._words_are_known = False

    def _remember_turn(self) -> None:
        if self._so_far.turn_ends():
            self._tool_calls.kept()
