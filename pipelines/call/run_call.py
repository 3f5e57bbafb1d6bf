"""Runs one call: builds its parts, starts its pipeline, reports how the conversation ended."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from loguru import logger
from pipecat.frames.frames import ErrorFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.workers.runner import WorkerRunner

from agent.call_memory import CallMemory
from agent.conversation import Conversation
from agent.measures import DeadAir, MeasureSink, Packets
from agent.ports import Record
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.call.hangup import CallSummary, HangupController
from pipelines.call.processing_latency import ProcessingLatency
from pipelines.call.tool_context import StepContext, ToolContext
from pipelines.definition import CallParts, PipelineDefinition
from pipelines.gemini.client import ConnectModel
from pipelines.gemini.greeting_cache import GreetingCache
from pipelines.gemini.model_controls import ModelControls
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.taped_model import TapedGreetings, TapedModel
from pipelines.gemini.token_meter import TokenMeter
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback
from pipelines.rates import GEMINI_HEARS_AT, GEMINI_SPEAKS_AT
from pipelines.recording.recording import Recording
from pipelines.recording.tape import Kind, Tape, TapedRecord

# How often a running call reports its packet counts.
PACKETS_EVERY_SECS = 5.0
# How long steps may take to set up, and to pass the first frame.
STARTED_WITHIN_SECS = 8.0
# How long slow steps may delay closing the line.
STOPPED_WITHIN_SECS = 2.0
# How long they may take in all before they are cancelled: longer than Pipecat waits for the last
# frame.
CANCELLED_AFTER_SECS = 25.0

__all__ = ["CallSetup", "CallSummary", "RunningCall", "start_call"]


@dataclass(frozen=True)
class CallSetup:
    """Inputs of `start_call`: pipeline definition, profile and options."""

    call_id: str
    phone_number: str
    profile: AgentProfile
    definition: PipelineDefinition
    metadata: Mapping[str, Any] = field(default_factory=dict)
    patience: SessionPatience = field(default_factory=SessionPatience)
    # Greetings that calls share; None: each call generates its own.
    greetings: GreetingCache | None = None
    # What calls say while an answer does not come; None: nothing.
    sentences: PreparedSentences | None = None
    # What is known of the call from the instance that began it; None: it begins here.
    recalled: CallMemory | None = None
    # Whether a tool may connect the caller to this number.
    may_transfer: Callable[[str], bool] = lambda _: True
    # Takes the audio of both sides; None: the call is not recorded.
    recording: Recording | None = None
    # Takes the messages of both sides; None: no cassette of the call is kept.
    tape: Tape | None = None


class RunningCall:
    """A call whose pipeline runs in this process; a media stream may be bound to its line."""

    def __init__(
        self,
        line: PhoneLine,
        playback: Playback,
        hangup: HangupController,
        pipeline: Pipeline,
        meter: TokenMeter,
        processing_latency: ProcessingLatency,
        recording: Recording | None = None,
        controls: ModelControls | None = None,
        contexts: Sequence[ToolContext] = (),
        conversation: Conversation | None = None,
    ) -> None:
        self.line = line
        # In seconds since the epoch.
        self._answered_at: float | None = None
        self.conversation = conversation or Conversation()
        self._contexts = contexts
        # What may be changed about the model while the call goes on.
        self.controls = controls or ModelControls()
        self._recording = recording
        self._playback = playback
        self._meter = meter
        self._hangup = hangup
        self._over = hangup.over
        self._processing_latency = processing_latency
        self._measure = processing_latency.take
        self._worker = PipelineWorker(
            pipeline,
            params=PipelineParams(
                audio_in_sample_rate=GEMINI_HEARS_AT, audio_out_sample_rate=GEMINI_SPEAKS_AT
            ),
            idle_timeout_secs=None,
            setup_timeout_secs=STARTED_WITHIN_SECS,
            start_timeout_secs=STARTED_WITHIN_SECS,
            enable_turn_tracking=False,
            enable_rtvi=False,
        )
        self._worker.add_event_handler("on_pipeline_error", _note_error)
        self._runner = WorkerRunner(handle_sigint=False)
        self._ending = False
        self._running = asyncio.create_task(self._run(), name="call")
        self._reported = Packets(0, 0)
        # None once the end was reported.
        self._counting: asyncio.TimerHandle | None = self._report_packets_later()

    def comes_from(self, phone_number: str) -> None:
        """Tell a call that was started before anybody called who calls."""
        for context in self._contexts:
            context.phone_number = phone_number

    @property
    def is_quiet(self) -> bool:
        """Whether neither side speaks, all was heard, and nothing is owed."""
        return self._hangup.is_talking and self._playback.idle and self.controls.is_quiet()

    def memory(self) -> CallMemory | None:
        """What another instance has to know to go on with the call; None before the answer."""
        answered = self.line.answered_at
        if answered is None:
            return None
        if self._answered_at is None:
            ago = asyncio.get_running_loop().time() - answered
            self._answered_at = round(time.time() - ago, 3)
        return replace(self.controls.memory(), answered_at=self._answered_at)

    def on_news(self, tell: Callable[[], None]) -> None:
        """Have this called when `memory` has changed by a turn, or by a reply that was made."""
        self.conversation.on_turn = self._playback.on_made = tell

    @property
    def tokens(self) -> Mapping[tuple[str, str], int]:
        """Tokens that the model counted so far, by direction and modality."""
        return self._meter.tokens

    @property
    def is_prepared(self) -> bool:
        """Whether the greeting is ready, was played, or is empty."""
        return self._playback.prepared.is_set()

    @property
    def is_over(self) -> bool:
        """Whether the conversation is over, as `ended` waits for."""
        return self._over.done()

    @property
    def has_no_model(self) -> bool:
        """Whether the conversation is over because no session of the model could be opened."""
        return self._over.done() and self._over.result().reason is EndReason.NO_MODEL

    async def prepared(self) -> None:
        """Wait until `is_prepared`."""
        await self._playback.prepared.wait()

    async def ended(self) -> CallSummary:
        """Wait for the conversation to end. The line stays bound until `end`."""
        summary = await asyncio.shield(self._over)
        if summary.reason is None and not self._ending:
            # The pipeline ended by itself: an error.
            return CallSummary(EndReason.SYSTEM, error="the pipeline ended before the call did")
        return summary

    async def end(self) -> None:
        """Stop the pipeline and close the line; safe to repeat.

        A step that does not stop, cancelled or not, is left behind.
        """
        if self.line.tape is not None:
            reason = self._over.result().reason if self._over.done() else None
            self.line.tape.add(Kind.ENDING, 0, "" if reason is None else reason.value)
        self._ending = True
        if not self._running.done():
            await self._worker.cancel(reason="the call is over")
        await asyncio.wait({self._running}, timeout=STOPPED_WITHIN_SECS)
        await self.line.close()
        if self._recording is not None:
            self._recording.close()
        if self.line.tape is not None:
            self.line.tape.stop()
        await self._until_stopped()
        counting, self._counting = self._counting, None
        if counting is None:
            return
        counting.cancel()
        self._report_packets()
        if (detail := self._processing_latency.typical()) is not None:
            self._meter.event("latency.share", detail)

    async def _until_stopped(self) -> None:
        _, still = await asyncio.wait({self._running}, timeout=CANCELLED_AFTER_SECS)
        if still:
            self._running.cancel()
            _, still = await asyncio.wait(still, timeout=STOPPED_WITHIN_SECS)
        if still:
            logger.error("A pipeline does not end, and is left behind")

    def _report_packets_later(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(PACKETS_EVERY_SECS, self._packets_are_due)

    def _packets_are_due(self) -> None:
        self._counting = self._report_packets_later()
        self._report_packets()

    def _report_packets(self) -> None:
        """Report the packets since the last report."""
        received, sent = self.line.packets_received, self.line.packets_sent
        before, self._reported = self._reported, Packets(received, sent)
        self._measure(Packets(received - before.received, sent - before.sent))

    async def _run(self) -> None:
        try:
            await self._runner.add_workers(self._worker)
            await self._runner.run()
        except Exception:
            logger.exception("A pipeline failed")
        finally:
            self._hangup.fail(EndReason.SYSTEM, "the pipeline ended before the call did")


def start_call(
    setup: CallSetup,
    *,
    connect: ConnectModel,
    record: Record,
    measure: MeasureSink,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> RunningCall:
    """Start the pipeline of a call. It connects to the model at once; the line is bound later."""
    clock = asyncio.get_running_loop().time
    profile = setup.profile.filled_with(setup.metadata)
    greetings = setup.greetings
    recalled = setup.recalled
    if recalled is not None:
        profile = profile.model_copy(update={"greeting": ""})
    if setup.tape is not None:
        record, connect = TapedRecord(record, setup.tape), TapedModel(connect, setup.tape)
        if greetings is not None:
            greetings = TapedGreetings(greetings, setup.tape)
    if profile.fallback_number is not None and not setup.may_transfer(profile.fallback_number):
        profile = profile.model_copy(update={"fallback_number": None})
    meter = TokenMeter(record)
    record = meter
    processing_latency = ProcessingLatency(measure)
    measure = processing_latency.take
    line, playback, speech = PhoneLine(clock), Playback(clock, waits=True), CallerSpeech()
    conversation = Conversation()
    if recalled is not None:
        now = time.time()
        # Times of the record go on from the first answer.
        line.continue_from(min(clock(), clock() - (now - recalled.answered_at)))
        conversation = Conversation(recalled.conversation)
        for turn in recalled.lost_turns(now):
            conversation.add(turn)
            if not recalled.recorded:
                record.turn(turn)
    line.tape = setup.tape
    line.on_lost = playback.lost
    line.on_bound.append(playback.begin)
    if not profile.greeting:
        playback.prepared.set()  # there is no greeting to wait for
    if setup.recording is not None:
        line.recording = playback.recording = setup.recording
        line.on_bound.append(setup.recording.bound)
    hangup = HangupController(line, playback, speech, profile, record)
    hangup.on_dead_air = lambda what: measure(DeadAir(what))
    call, tool_context = (
        context(
            setup.call_id,
            setup.phone_number,
            setup.metadata,
            record,
            hangup,
            may_transfer=setup.may_transfer,
        )
        for context in (StepContext, ToolContext)
    )
    parts = CallParts(
        call=call,
        tool_context=tool_context,
        profile=profile,
        tools=setup.definition.tools,
        line=line,
        playback=playback,
        speech=speech,
        conversation=conversation,
        hangup=hangup,
        client=connect,
        patience=setup.patience,
        greetings=greetings,
        sentences=setup.sentences,
        controls=(controls := ModelControls()),
        recalled=recalled,
        record=record,
        measure=measure,
        stopwatch=stopwatch,
    )
    pipeline = Pipeline([*setup.definition.build(parts), hangup])
    return RunningCall(
        line,
        playback,
        hangup,
        pipeline,
        meter,
        processing_latency,
        setup.recording,
        controls,
        (call, tool_context),
        conversation,
    )


async def _note_error(_: PipelineWorker, frame: ErrorFrame) -> None:
    """Log a step's error; the call goes on."""
    logger.warning(
        "A step of a pipeline failed",
        step=str(frame.processor),
        error=type(frame.exception).__name__ if frame.exception else "unknown",
    )
