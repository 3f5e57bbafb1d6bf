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
from dataclasses import replace
from functools import cached_property
from typing import Any

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

from agent.call_memory import CallMemory, Speech
from agent.conversation import Conversation
from agent.measures import MeasureSink
from agent.model_instructions import CALLER_WAITS, CUT_OFF, HINT, NOT_HEARD
from agent.ports import LiveCall, Record, TokenCount
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.call.hangup import HangupController
from pipelines.gemini.answer_watch import AnswerWatch
from pipelines.gemini.audible import is_audible
from pipelines.gemini.client import ConnectModel, ModelSession
from pipelines.gemini.greeting import Greeting
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.gemini.handover import Situation, hand_over
from pipelines.gemini.live_config import live_config
from pipelines.gemini.messages import Words
from pipelines.gemini.model_controls import Change, UnknownTool
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.gemini.reply_state import ReplyState
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.send_queue import Send
from pipelines.gemini.server_message import LeftOut, plain_name
from pipelines.gemini.session import Briefing, GeminiSession, NoModel
from pipelines.gemini.speech_format import SpeechResampler, pcm_rate
from pipelines.gemini.tool_calls import ToolCalls
from pipelines.gemini.tools import Tool
from pipelines.gemini.watchdog import Watchdog
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.playback import Playback
from pipelines.rates import GEMINI_SPEAKS_AT
from processors.direct import DirectProcessor, Sound
from processors.frames import TurnAgainFrame
from processors.sound_frames import AgentSound

# So long after a turn, words without sound may still be its own.
LATE_WORDS_SECS = 0.4
# What a database's integer holds; no turn has as many tokens.
MOST_TOKENS = 2**31 - 1
# Of the turns that no handle covers, the newest are told: three of each side.
MOST_LATELY = 6
# A changed prompt waits at most so long for a moment in which nobody speaks.
CHANGED_WITHIN_SECS = 20.0
# A call that was told more has another trouble.
MOST_HINTS = 100
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
        self._profile = profile
        self._tools = self._all_tools = tuple(tools)
        self._hangup = hangup
        self._conversation = conversation
        self._record = record
        self._speech = speech
        self._playback = playback
        self._sentences = sentences
        self._session = GeminiSession(
            client,
            lambda resume: live_config(self._profile, self._tools, resume),
            on_message=self._take,
            on_speech=self._speak,
            on_words=self._take_words,
            on_connected=self._connected,
            brief=self._brief,
            is_quiet=self.is_quiet,
            is_answering=lambda: self._reply.is_unfinished or self._tool_calls.is_open,
            on_kept=self._kept,
            record=record,
            measure=measure,
            patience=patience,
            stopwatch=stopwatch,
            marks_speech=profile.vad.disabled,
            handle=None if recalled is None else recalled.handle,
        )
        self._tool_calls = ToolCalls(
            tools,
            call,
            record,
            start=self.create_task,
            cancel=self.cancel_task,
            push=self.push_frame,
            answer=self._answer_tool,
            measure=measure,
        )
        self._watchdog = Watchdog(
            AnswerWatch(profile.answer_patience_secs),
            speech,
            self._last_heard,
            record,
            measure,
            is_on=lambda: hangup.is_talking,
            agent_speaks=lambda: playback.speaking,
            tool_runs=lambda: self._tool_calls.is_running,
            fill=self._fill,
            give_up=self._give_up,
        )
        self._greeting = Greeting(GreetingKey.of(profile, client.model), greetings)
        self._running: asyncio.Task[None] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._reply = ReplyState()
        self._resampler = SpeechResampler()
        # Settles the words that came late.
        self._settling: asyncio.TimerHandle | None = None
        # What the model was sent and has not replied to.
        self._prompts: list[str] = []
        # What a supervisor has told the model, and of it, what waits for the end of a reply.
        self._hints: list[str] = list(recalled.hints) if recalled is not None else []
        self._untold_hints: list[str] = []
        # How many of them the newest handle covers.
        self._hints_covered = 0
        # Turns that are over, and that the newest handle does not cover.
        self._lately: list[str] = list(recalled.lately) if recalled is not None else []
        # Of the turn that goes on: something was said, it could be heard, it was cut, a tool runs.
        self._turn_sounded = self._turn_audible = self._turn_cut = self._turn_called = False
        # When the agent was heard last, before this turn.
        self._heard_before: float | None = None
        # The caller was told to wait in this turn.
        self._filled = False
        # The caller's words come again, and are known.
        self._words_are_known = False
        # What is known of the call from another instance, until the agent speaks again; nothing
        # has to be said when nothing broke off.
        self._recalled = None if recalled is None or recalled.quiet else recalled
        self._recalled_at = time.time()
        # What was changed since the call began.
        self._changed = Change()
        if recalled is not None:
            there = {tool.name for tool in tools}
            names = None if recalled.tools is None else [n for n in recalled.tools if n in there]
            self._apply(Change(recalled.system_prompt, recalled.voice, names))

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
        self._session.send(self._prompt(text))
        if self._hangup.is_talking:
            self._watchdog.waits()

    def _prompt(self, text: str) -> Send:
        async def send(session: ModelSession) -> None:
            await session.send_realtime_input(text=text)
            self._prompts.append(text)

        return send

    def _answer_tool(self, answer: Send) -> None:
        self._reply.prompted()
        self._session.send(answer)

    # --- the session -------------------------------------------------------------------------

    def answered(self) -> None:
        """Somebody is on the line."""
        self._session.answered()
        if (self._greeting.words or self._recalled) and not self._reply.has_spoken:
            self._watchdog.waits()
        if self._sentences is not None:
            self._sentences.prepare(self._profile)

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
        self._watchdog.stop()
        if self._filling is not None:
            await self.cancel_task(self._filling)
            self._filling = None
        await self._tool_calls.stop()
        if self._running is not None:
            running, self._running = self._running, None
            await self.cancel_task(running)

    def _brief(self, resumed: bool, replays: bool) -> Briefing:
        """What a connection is told that takes over; the first one is asked to greet."""
        reply = self._reply
        if not reply.has_spoken and self._greeting.words:
            return Briefing(first=[self._greet])
        if self._recalled is not None:
            return self._brief_recalled(self._recalled, resumed)
        unfinished = reply.is_unfinished
        told = hand_over(
            Situation(
                resumed=resumed,
                replays=replays,
                conversation="" if resumed else self._said_so_far(replays=replays),
                lately="\n".join(self._lately) if resumed else "",
                asked=reply.asked if unfinished else reply.unanswered,
                said=reply.unfinished if unfinished else None,
                tools=self._tool_calls.brief(),
                prompts=tuple(self._prompts),
            )
        )
        self._words_are_known = replays and self._filled and bool(reply.unanswered)
        if replays and not self._words_are_known:
            reply.heard_again()
        return Briefing(
            first=[_note(note) for note in (*told.notes, *self._hints_for(resumed))],
            then=[self._prompt(prompt) for prompt in told.prompts],
        )

    def _brief_recalled(self, recalled: CallMemory, resumed: bool) -> Briefing:
        """What the first connection is told of a call that another instance has begun."""
        # The stream has just been lost: what was on its way then is heard no more.
        said = recalled.heard_by(self._recalled_at)
        is_answered = recalled.speech is not None and said is None
        told = hand_over(
            Situation(
                resumed=resumed,
                replays=False,
                conversation="" if resumed else self._conversation.as_text(),
                lately="\n".join(recalled.lately) if resumed else "",
                asked="" if is_answered else recalled.asked,
                said=said,
            )
        )
        prompts = told.prompts or (CUT_OFF,)
        return Briefing(
            first=[_note(note) for note in (*told.notes, *recalled.hints)],
            then=[self._prompt(prompt) for prompt in prompts],
        )

    def memory(self) -> CallMemory:
        """What another instance has to know to go on with the call; without the answer's time."""
        changed: dict[str, Any] = {
            "system_prompt": self._changed.system_prompt,
            "voice": self._changed.voice,
            "tools": None if self._changed.tools is None else tuple(self._changed.tools),
        }
        if self._recalled is not None:
            handle = self._session.handle
            return replace(self._recalled, handle=handle, recorded=True, **changed)
        reply, speech = self._reply, self._speech_now()
        is_open = reply.is_unfinished or speech is not None
        origin = self._epoch
        last = self._speech.stretches[-1] if self._speech.stretches else None
        return CallMemory(
            handle=self._session.handle,
            conversation=self._conversation.as_text(),
            lately=tuple(self._lately),
            asked=" ".join((reply.asked if is_open else reply.unanswered).split()),
            asked_from=origin + last.start if last else 0.0,
            asked_until=origin + last.end if last else 0.0,
            speech=speech,
            hints=tuple(self._hints),
            **changed,
        )

    @cached_property
    def _epoch(self) -> float:
        """The loop's zero in seconds since the epoch: another machine's clock has another one."""
        return round(time.time() - asyncio.get_running_loop().time(), 3)

    def _speech_now(self) -> Speech | None:
        playback, reply = self._playback, self._reply
        begins, ends = playback.unheard_from, playback.last_sound
        if begins is None or ends is None or not playback.unheard_text:
            return None
        origin = self._epoch
        return Speech(
            playback.unheard_text, origin + begins, origin + ends, goes_on=reply.is_unfinished
        )

    async def _connected(self) -> None:
        """A connection takes over: what the one before was saying ends here."""
        if self._reply.is_replying:
            self._greeting.broken_off()  # its end is lost, or said by another session
        self._resampler.reset()
        self._tool_calls.taken_over()
        self._prompts.clear()
        self._playback.disown()
        self._begin_turn()
        if self._watchdog.somebody_waits and not self._reply.has_spoken:
            self._watchdog.waits()  # a session has just been opened: it may take its time
        await self._push_all(self._reply.reconnected())
        if self._reply.expects_words_again:
            await self.push_frame(TurnAgainFrame(), FrameDirection.UPSTREAM)

    def _kept(self) -> None:
        """A handle covers all that was said so far."""
        self._tool_calls.kept()
        self._lately.clear()
        self._hints_covered = len(self._hints) - len(self._untold_hints)

    def is_quiet(self) -> bool:
        """Whether neither side speaks, and nothing is owed: a hand-over is not noticed."""
        reply = self._reply
        owed = reply.is_replying or reply.is_unfinished or bool(reply.unanswered)
        speaks = self._playback.speaking or self._speech.onset is not None
        return not (owed or speaks or self._tool_calls.is_open or self._watchdog.somebody_waits)

    def _said_so_far(self, *, replays: bool) -> str:
        """The conversation as heard, with what is on its way to the caller's ear."""
        said, unheard = self._conversation.as_text(), self._playback.unheard_text
        asked = " ".join(self._reply.asked.split()) if unheard and not replays else ""
        lines = [said, asked and f"Caller: {asked}", unheard and f"You: {unheard}"]
        return "\n".join(filter(None, lines))

    # --- when no answer comes ----------------------------------------------------------------

    def _last_heard(self) -> float | None:
        """When the agent is, or will be, heard last; what nobody can hear does not count."""
        if self._turn_sounded and not self._turn_audible:
            return self._heard_before
        return self._playback.last_sound

    def _fill(self, cause: str) -> None:
        """Have the caller hear something, and another session try."""
        self._session.hedge(cause)
        sound = self._sentences.find(self._profile) if self._sentences is not None else None
        if sound is not None and not self._filled:
            self._filled = True
            self._filling = self.create_task(self._say_filler(sound.pcm, sound.words), "filler")

    async def _say_filler(self, pcm: bytes, words: str) -> None:
        self._record.event("agent.filler")
        if self._turn_sounded and not self._turn_audible:
            await self._drop_near_silence()
        await self._push_all(self._reply.reconnected())
        self._resampler.reset()
        reply = ReplyState()
        await self._push_all([*reply.words(words), *reply.sound()])
        for start in range(0, len(pcm), CHUNK_BYTES):
            await self.push_sound(AgentSound(pcm[start : start + CHUNK_BYTES], GEMINI_SPEAKS_AT))
            await asyncio.sleep(0)
        await self._push_all(reply.completed())
        self._heard_before = self._playback.last_sound

    async def _drop_near_silence(self) -> None:
        """Take back what nobody hears from the phone: it would delay what comes."""
        if self._hangup.is_talking:
            await self.broadcast_interruption()

    def _give_up(self, cause: str) -> None:
        """Neither session answers: a person does, or the call ends with an apology."""
        self._hangup.fail(
            EndReason.NO_MODEL,
            f"Gemini fell silent ({cause})",
            transfer_to=self._profile.fallback_number,
        )

    def _begin_turn(self) -> None:
        self._turn_sounded = self._turn_audible = self._turn_cut = self._turn_called = False

    async def _turn_is_over(self) -> None:
        """Ask again when the caller waits, and nothing of the turn could be heard."""
        sounded, audible = self._turn_sounded, self._turn_audible
        is_empty = not (audible or self._turn_cut or self._turn_called)
        self._begin_turn()
        if audible:
            self._watchdog.answered()
            self._filled = False
            return
        if not is_empty:
            return
        if sounded:
            await self._drop_near_silence()
        if not self._watchdog.empty_turn(near_silent=sounded):
            return
        text = NOT_HEARD if sounded else CALLER_WAITS
        self._session.send(_text(text))

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
        await self._turn_is_over()

    async def _greet(self, session: ModelSession) -> None:
        # One that could not be sent waits still, behind the one for this session.
        if not self._reply.has_spoken:
            await self._greeting.ask(session)

    # --- what is changed from outside --------------------------------------------------------

    def change(self, change: Change) -> None:
        """Go on with another prompt, voice or tools, from the next turn on. Raises: UnknownTool."""
        changed = self._apply(change)
        self._record.event("call.changed", {"fields": changed})
        self._session.renew(CHANGED_WITHIN_SECS)

    def _apply(self, change: Change) -> list[str]:
        """Have the next connection be different; returns what is."""
        if change.tools is not None:
            known = {tool.name: tool for tool in self._all_tools}
            if unknown := [name for name in change.tools if name not in known]:
                there = ", ".join(known) or "none"
                raise UnknownTool(f"There is no tool {unknown[0][:64]!r}; there are: {there}.")
            self._tools = tuple(known[name] for name in dict.fromkeys(change.tools))
            self._tool_calls.use(self._tools)
        given = {"system_prompt": change.system_prompt, "voice": change.voice}
        update: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        self._profile = self._profile.model_copy(update=update)
        if change.tools is not None:
            update["tools"] = change.tools
        self._changed = replace(self._changed, **update)
        return list(update)

    def hint(self, text: str) -> None:
        """Tell the model something for itself alone, when it does not generate."""
        self._record.event("call.hint", {"text": text})
        if len(self._hints) >= MOST_HINTS:
            return
        self._hints.append(HINT.format(" ".join(text.split())))
        self._untold_hints.append(self._hints[-1])
        self._tell_hints()

    def _hints_for(self, resumed: bool) -> list[str]:
        told = len(self._hints) - len(self._untold_hints)
        return self._hints[self._hints_covered if resumed else 0 : told]

    def _tell_hints(self) -> None:
        if self._reply.is_replying:
            return  # content interrupts what is being generated
        for told in self._untold_hints:
            self._session.send(_note(told))
        self._untold_hints.clear()

    # --- messages out ------------------------------------------------------------------------

    async def _take(self, message: types.LiveServerMessage) -> None:
        content = message.server_content
        if content is not None:
            await self._take_content(content)
        if message.tool_call is not None:
            self._session.answer_begins()
            self._session.speaks()
            self._turn_called = True
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
            self._turn_cut = True
            self._remember_turn()
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
            if self._turn_audible:
                self._watchdog.answered()
                self._filled = False
        if content.turn_complete:
            self._greeting.completed(self._reply.text)
            self._remember_turn()
            await self._push_all(self._reply.completed())
            await self._turn_is_over()
            self._tell_hints()
            if (reason := content.turn_complete_reason) is not None:
                self._record.event("model.turn_complete", {"reason": plain_name(reason.value)})

    async def _take_words(self, words: Words) -> None:
        if not words.text:
            return
        if words.by_caller:
            self._hangup.caller_was_heard()
            if self._words_are_known:
                return
            self._watchdog.caller_was_transcribed()
            await self._push_all(self._reply.caller_said(words.text))
            heard = TranscriptionFrame(words.text, "", time_now_iso8601())
            await self.push_frame(heard, FrameDirection.UPSTREAM)
            return
        self._begin_reply()
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
        self._begin_reply()
        await self._push_all(self._reply.sound())
        if not self._turn_audible:
            self._hear_turn(pcm)
        self._greeting.collect(pcm)
        await self.push_sound(AgentSound(pcm, GEMINI_SPEAKS_AT))

    def _begin_reply(self) -> None:
        if not self._reply.is_replying:
            self._session.answer_begins()
            self._prompts.clear()
            self._words_are_known = False
            self._recalled = None

    def _hear_turn(self, pcm: bytes) -> None:
        """Find out whether the turn can be heard over a telephone."""
        if not self._turn_sounded:
            self._turn_sounded = True
            self._heard_before = self._playback.last_sound
        if is_audible(pcm):
            self._turn_audible = True
            self._session.speaks()
            self._watchdog.sounds()

    def _remember_turn(self) -> None:
        """Keep the words of a turn that ends, until a handle covers them."""
        reply = self._reply
        if not reply.is_replying or not (reply.asked or reply.text):
            return
        lines = (("Caller", reply.asked), ("You", reply.text))
        self._lately += [f"{who}: {' '.join(text.split())}" for who, text in lines if text]
        del self._lately[:-MOST_LATELY]
        self._tool_calls.kept()

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


def _note(text: str) -> Send:
    turn = types.UserContent(text)
    return lambda session: session.send_client_content(turns=turn, turn_complete=False)


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
