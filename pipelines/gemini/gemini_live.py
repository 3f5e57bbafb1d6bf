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
from collections.abc import Callable, Sequence

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

from agent.conversation import Conversation
from agent.measures import MeasureSink
from agent.model_instructions import REMEMBER
from agent.ports import LiveCall, Record, TokenCount
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.call.hangup import HangupController
from pipelines.gemini.client import ConnectModel, ModelSession
from pipelines.gemini.greeting import Greeting
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.gemini.live_config import live_config
from pipelines.gemini.messages import Words
from pipelines.gemini.reply_state import ReplyState
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.send_queue import Send
from pipelines.gemini.server_message import LeftOut, plain_name
from pipelines.gemini.session import GeminiSession, NoModel
from pipelines.gemini.speech_format import SpeechResampler, pcm_rate
from pipelines.gemini.tool_calls import ToolCalls
from pipelines.gemini.tools import Tool
from pipelines.rates import GEMINI_SPEAKS_AT
from processors.direct import DirectProcessor, Sound
from processors.sound_frames import AgentSound

# So long after a turn, words without sound may still be its own.
LATE_WORDS_SECS = 0.4
# What a database's integer holds; no turn has as many tokens.
MOST_TOKENS = 2**31 - 1
# A greeting that was kept is said in pieces of 400 ms, which take half a millisecond to convert.
CHUNK_BYTES = GEMINI_SPEAKS_AT * 2 * 2 // 5


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
        greetings: GreetingCache | None = None,
        unheard_text: Callable[[], str] = str,
    ) -> None:
        """`unheard_text` gives the agent's words that are said and not yet heard to their end."""
        super().__init__()
        self._profile = profile
        self._hangup = hangup
        self._conversation = conversation
        self._record = record
        self._session = GeminiSession(
            client,
            lambda resume: live_config(profile, tools, resume),
            on_message=self._take,
            on_speech=self._speak,
            on_words=self._take_words,
            on_connected=self._connected,
            record=record,
            measure=measure,
            patience=patience,
            stopwatch=stopwatch,
        )
        self._tool_calls = ToolCalls(
            tools,
            call,
            record,
            start=self.create_task,
            cancel=self.cancel_task,
            push=self.push_frame,
            answer=self._answer_tool,
            connections=lambda: self._connections,
            measure=measure,
        )
        self._unheard_text = unheard_text
        self._greeting = Greeting(GreetingKey.of(profile, client.model), greetings)
        self._running: asyncio.Task[None] | None = None
        self._connections = 0
        self._reply = ReplyState()
        self._resampler = SpeechResampler()
        # Settles the words that came late.
        self._settling: asyncio.TimerHandle | None = None

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
        elif self._profile.vad.disabled and direction is FrameDirection.DOWNSTREAM:
            if isinstance(frame, UserStartedSpeakingFrame):
                self._session.send(_activity_start)
            elif isinstance(frame, UserStoppedSpeakingFrame):
                self._session.send(_activity_end)
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
        self._session.send(_text(text))

    def _answer_tool(self, answer: Send) -> None:
        self._reply.prompted()
        self._session.send(answer)

    # --- the session -------------------------------------------------------------------------

    def answered(self) -> None:
        """Somebody is on the line."""
        self._session.answered()

    async def _run(self) -> None:
        try:
            await self._session.run()
        except NoModel as error:
            self._hangup.fail(EndReason.NO_MODEL, f"Gemini refused a session: {error}")
        except Exception as error:
            logger.opt(exception=error).error("model step failed")
            self._hangup.fail(EndReason.SYSTEM, f"the model failed: {type(error).__name__}")

    async def _stop(self) -> None:
        await self._settle()
        await self._tool_calls.stop()
        if self._running is not None:
            running, self._running = self._running, None
            await self.cancel_task(running)

    async def _connected(self, remembers: bool) -> None:
        """A session is open: greet once; tell a later one what was said, if it does not know."""
        self._connections += 1
        if self._reply.is_replying:
            self._greeting.broken_off()  # its end is lost, or said by another session
        self._resampler.reset()
        frames, instruction = self._reply.reconnected()
        await self._push_all(frames)
        if instruction is not None:
            self._session.send_first(_text(instruction))
        if not self._reply.has_spoken and self._greeting.words:
            self._session.send_first(self._greet)
        elif not remembers and (said := self._said_so_far()):
            turn = types.UserContent(REMEMBER.format(said))
            self._session.send_first(
                lambda session: session.send_client_content(turns=turn, turn_complete=False)
            )

    def _said_so_far(self) -> str:
        """The conversation, with what is on its way to the caller's ear."""
        said, unheard = self._conversation.as_text(), self._unheard_text()
        return "\n".join(filter(None, [said, unheard and f"You: {unheard}"]))

    async def _play_shared_greeting(self) -> None:
        """Say at once what another call's session has said before; this one's is told so."""
        sound = self._greeting.shared_sound()
        if not sound:
            return
        self._record.event("greeting.shared")
        await self._push_all(self._reply.words(self._greeting.words))
        for start in range(0, len(sound), CHUNK_BYTES):
            await self._speak(sound[start : start + CHUNK_BYTES])
            await asyncio.sleep(0)  # other calls have their turn
        await self._push_all(self._reply.completed())

    async def _greet(self, session: ModelSession) -> None:
        # One that could not be sent waits still, behind the one for this session.
        if not self._reply.has_spoken:
            await self._greeting.ask(session)

    # --- messages out ------------------------------------------------------------------------

    async def _take(self, message: types.LiveServerMessage) -> None:
        content = message.server_content
        if content is not None:
            await self._take_content(content)
        if message.tool_call is not None:
            for called in message.tool_call.function_calls or []:
                await self._settle()
                self._reply.prompted()  # what is said next is about the tool
                await self._tool_calls.begin(called)
        if message.tool_call_cancellation is not None:
            for call_id in message.tool_call_cancellation.ids or []:
                await self._tool_calls.take_back(call_id)
        if message.usage_metadata is not None:
            self._record.usage(_counts(message.usage_metadata))

    async def _take_content(self, content: types.LiveServerContent) -> None:
        # One message may hold several of these; the interruption is about what came before it.
        if content.interrupted:
            self._reply.interrupted()
            self._greeting.broken_off()
            self._resampler.reset()
            await self.broadcast_interruption()
        if content.input_transcription is not None and content.input_transcription.text:
            await self._take_words(Words(content.input_transcription.text, by_caller=True))
        if content.model_turn is not None:
            for part in content.model_turn.parts or []:
                if part.inline_data is not None and part.inline_data.data:
                    await self._speak_blob(part.inline_data.data, part.inline_data.mime_type)
        if content.output_transcription is not None and content.output_transcription.text:
            await self._take_words(Words(content.output_transcription.text, by_caller=False))
        if content.generation_complete or content.turn_complete:
            await self._put_out(self._resampler.flush())
        if content.generation_complete:
            await self._push_all(self._reply.generated())
        if content.turn_complete:
            self._greeting.completed(self._reply.text)
            await self._push_all(self._reply.completed())
            if (reason := content.turn_complete_reason) is not None:
                self._record.event("model.turn_complete", {"reason": plain_name(reason.value)})

    async def _take_words(self, words: Words) -> None:
        if not words.text:
            return
        if words.by_caller:
            self._hangup.caller_was_heard()
            await self._push_all(self._reply.caller_said(words.text))
            heard = TranscriptionFrame(words.text, "", time_now_iso8601())
            await self.push_frame(heard, FrameDirection.UPSTREAM)
            return
        await self._push_all(self._reply.words(words.text))
        if self._reply.has_late_words and self._settling is None:
            self._settling = self.get_event_loop().call_later(
                LATE_WORDS_SECS, lambda: self.create_task(self._settle(), name="late words")
            )

    async def _speak_blob(self, pcm: bytes, mime_type: str | None) -> None:
        """Say a piece of speech that names its rate; what cannot be played is left out."""
        rate = pcm_rate(mime_type)
        if rate is None:
            self._greeting.broken_off()
            self._session.leave_out(LeftOut("sound_type", plain_name(mime_type)))
            return
        await self._put_out(self._resampler.convert(pcm, rate))

    async def _speak(self, pcm: bytes) -> None:
        await self._put_out(self._resampler.convert(pcm, GEMINI_SPEAKS_AT))

    async def _put_out(self, pcm: bytes) -> None:
        if not pcm:
            return
        await self._push_all(self._reply.sound())
        self._greeting.collect(pcm)
        await self.push_sound(AgentSound(pcm, GEMINI_SPEAKS_AT))

    async def _settle(self) -> None:
        await self._push_all(self._reply.settle())

    async def _push_all(self, frames: Sequence[Frame]) -> None:
        if self._settling is not None and not self._reply.has_late_words:
            self._settling.cancel()
            self._settling = None
        for frame in frames:
            await self.push_frame(frame)


def _text(text: str) -> Send:
    return lambda session: session.send_realtime_input(text=text)


async def _activity_start(session: ModelSession) -> None:
    await session.send_realtime_input(activity_start=types.ActivityStart())


async def _activity_end(session: ModelSession) -> None:
    await session.send_realtime_input(activity_end=types.ActivityEnd())


def _counts(usage: types.UsageMetadata) -> list[TokenCount]:
    by_direction = {
        "input": usage.prompt_tokens_details,
        "output": usage.response_tokens_details,
    }
    return [
        TokenCount(direction, _modality(detail.modality), count)
        for direction, details in by_direction.items()
        for detail in details or []
        if 0 < (count := detail.token_count or 0) <= MOST_TOKENS
    ]


def _modality(modality: types.MediaModality | None) -> str:
    if modality is None:
        return "text"
    # The SDK makes members of values that it does not know.
    return modality.value.lower() if modality.name in types.MediaModality.__members__ else "other"
