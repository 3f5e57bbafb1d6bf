"""Steps for pipeline definitions; `custom` makes a step of any Pipecat processor."""

import asyncio
from collections.abc import Callable, Sequence

from pipecat.frames.frames import (
    AudioRawFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InputTextRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from agent.ports import LiveCall
from pipelines.call.audio_routing import HEARD, UNHEARD, AudioRoute
from pipelines.definition import CallParts, Role, Step
from pipelines.gemini.gemini_live import GeminiLive
from pipelines.phone.transport_input import TransportInput
from pipelines.phone.transport_output import TransportOutput
from pipelines.rates import GEMINI_HEARS_AT, GEMINI_SPEAKS_AT, PHONE_RATE
from processors.answer_shield import LONGEST_SECS, AnswerShield
from processors.frames import TurnFrame
from processors.keypad import Keypad
from processors.polyphase import Polyphase
from processors.record_turns import RecordTurns
from processors.remember_agent import RememberAgent
from processors.remember_caller import RememberCaller
from processors.resample import Resample

# A pause this short lies within a word.
PAUSE_IN_WORD_SECS = 0.2


def transport_input() -> Step:
    """The caller's audio from Twilio: mu-law decoded to PCM16 at 8 kHz."""
    return Step(
        "transport_input",
        lambda parts: TransportInput(parts.line, parts.speech, parts.playback, parts.stopwatch),
        role=Role.TRANSPORT_INPUT,
        caller=AudioRoute(begins=True, gives=PHONE_RATE),
        gives=(InputDTMFFrame, UserStartedSpeakingFrame, UserStoppedSpeakingFrame),
    )


def resample(*, to: int) -> Step:
    """Resample the caller's audio by a whole-number ratio. `to` in Hz."""

    def fit(rate: int) -> Step:
        Polyphase(rate, to)  # raises when the rates do not fit
        return Step(
            f"resample(to={to})",
            lambda _: Resample(rate, to),
            caller=AudioRoute(hears=True, takes=rate, gives=to),
        )

    return Step(f"resample(to={to})", _unfitted, fit=fit)


def answer_shield() -> Step:
    """Keep the callee's first word from the greeting; set by `AgentProfile.answer_shield`.

    The model hears the word when the greeting is over, and what is longer when the shield is.
    """
    speaking = (UserStartedSpeakingFrame, UserStoppedSpeakingFrame)
    return Step("answer_shield", _answer_shield, caller=AudioRoute(hears=True), takes=speaking)


def keypad(pause_secs: float = 1.5) -> Step:
    """Send key presses to the model as one line of text."""
    return Step(
        "keypad",
        lambda _: Keypad(pause_secs),
        caller=UNHEARD,
        agent=UNHEARD,
        takes=(InputDTMFFrame,),
        gives=(InputTextRawFrame,),
    )


def remember_caller() -> Step:
    """Add the caller's turns to the conversation; before the model: transcripts go upstream."""
    return Step(
        "remember_caller",
        _remember_caller,
        caller=UNHEARD,
        agent=UNHEARD,
        takes=(TranscriptionFrame, BotStartedSpeakingFrame, BotStoppedSpeakingFrame),
        gives=(TurnFrame,),
    )


def gemini_live() -> Step:
    """Gemini Live: speech in; speech, transcripts and tool calls out."""
    return Step(
        "gemini_live",
        _gemini_live,
        role=Role.MODEL,
        caller=AudioRoute(hears=True, takes=GEMINI_HEARS_AT, consumes=True),
        agent=AudioRoute(begins=True, gives=GEMINI_SPEAKS_AT),
        gives=(TranscriptionFrame, TTSTextFrame, InterruptionFrame, LLMFullResponseEndFrame),
    )


def transport_output() -> Step:
    """Send the agent's audio to Twilio as mu-law; a barge-in empties Twilio's queue."""
    return Step(
        "transport_output",
        _transport_output,
        role=Role.TRANSPORT_OUTPUT,
        agent=AudioRoute(hears=True, takes=GEMINI_SPEAKS_AT, consumes=True),
        takes=(TTSTextFrame, InterruptionFrame, LLMFullResponseEndFrame),
        gives=(TurnFrame, BotStartedSpeakingFrame, BotStoppedSpeakingFrame),
    )


def remember_agent() -> Step:
    """Add the agent's turns, as the caller heard them, to the conversation."""
    return Step(
        "remember_agent",
        lambda parts: RememberAgent(parts.conversation),
        caller=UNHEARD,
        agent=UNHEARD,
        takes=(TurnFrame,),
    )


def record_turns() -> Step:
    """Write every finished turn to the record."""
    return Step(
        "record_turns",
        lambda parts: RecordTurns(parts.record),
        caller=UNHEARD,
        agent=UNHEARD,
        takes=(TurnFrame,),
    )


def custom(
    name: str,
    build: Callable[[LiveCall], FrameProcessor],
    *,
    takes: Sequence[type[Frame]] | None = None,
) -> Step:
    """Any Pipecat processor as a step; `build` makes one for each call.

    `takes` are the frames that it acts on. The caller's sound goes around it when it is not among
    them, and costs it nothing; None: all sound comes to it. The agent's sound always comes: an
    interruption must not be overtaken by what is said after it, and goes through the same queue.
    """
    if not callable(build):
        raise TypeError(
            f"custom({name!r}, …) needs a function that makes the processor, such as "
            f"lambda call: {type(build).__name__}(…): each call has one of its own"
        )
    hears = takes is None or any(issubclass(InputAudioRawFrame, taken) for taken in takes)
    return Step(
        name,
        lambda parts: build(parts.call),
        caller=HEARD if hears else UNHEARD,
        agent=HEARD,
        takes=tuple(taken for taken in takes or () if not issubclass(taken, AudioRawFrame)),
    )


def _unfitted(_: CallParts) -> FrameProcessor:
    raise TypeError("a resample step is built by the definition it stands in")


def _answer_shield(parts: CallParts) -> FrameProcessor:
    # Without a greeting the caller speaks first, and the model waits for that.
    shield = parts.profile.answer_shield if parts.profile.greeting else 0

    def up() -> bool:
        answered = parts.line.answered_at
        if answered is None:
            return True
        secs = LONGEST_SECS if shield == "greeting" else shield / 1000
        if asyncio.get_running_loop().time() >= answered + secs:
            return False
        return shield != "greeting" or not parts.playback.first_reply_is_over

    def speaking() -> bool:
        last = parts.speech.last_sound
        return last is not None and asyncio.get_running_loop().time() - last < PAUSE_IN_WORD_SECS

    def greeted() -> bool:
        if parts.playback.first_reply_is_over:
            return True
        answered = parts.line.answered_at
        now = asyncio.get_running_loop().time()
        return answered is not None and now >= answered + LONGEST_SECS

    return AnswerShield(
        up,
        lambda: [(stretch.start, stretch.end) for stretch in parts.speech.stretches],
        speaking,
        lambda: parts.speech.loud,
        greeted,
    )


def _remember_caller(parts: CallParts) -> FrameProcessor:
    def stretches_since(time: float) -> list[tuple[float, float]]:
        return [(stretch.start, stretch.end) for stretch in parts.speech.since(time)]

    return RememberCaller(parts.conversation, stretches_since, parts.line.ms_from_answer)


def _transport_output(parts: CallParts) -> FrameProcessor:
    return TransportOutput(
        parts.line, parts.speech, parts.playback, parts.record, parts.measure, parts.stopwatch
    )


def _gemini_live(parts: CallParts) -> FrameProcessor:
    model = GeminiLive(
        parts.client,
        parts.profile,
        parts.tools,
        call=parts.tool_context,
        hangup=parts.hangup,
        conversation=parts.conversation,
        record=parts.record,
        measure=parts.measure,
        patience=parts.patience,
        stopwatch=parts.stopwatch,
        speech=parts.speech,
        playback=parts.playback,
        greetings=parts.greetings,
        sentences=parts.sentences,
        recalled=parts.recalled,
    )
    parts.line.on_bound.append(model.answered)
    parts.controls.attach(model)
    return model
