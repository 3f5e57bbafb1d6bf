"""TransportOutput: sends the agent's audio to Twilio as mu-law, with marks, and tracks each reply.

Speech is sent as soon as it comes; Twilio queues it and plays it in real time. An interruption
sends `clear`, which drops what was not heard; nothing older is sent after it.

    Gemini   |=chunk=|=chunk=|=chunk=| complete
    Twilio    |=====|=====|====^|=====|=^          ^ marks, every half second and at the end
    caller    |.....|.....|.....|.....|             hears it in real time, confirmed by marks
"""

import asyncio
from collections.abc import Callable

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from agent.measures import (
    BargeIn,
    DownlinkShare,
    FirstSound,
    MeasureSink,
    PlaybackGap,
    TurnResponse,
)
from agent.ports import Record, SpokenTurn
from agent.record.models import Speaker
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.phone_voice import PhoneVoice
from pipelines.phone.playback import Playback, Reply
from pipelines.rates import MULAW_SILENCE, PACKET_BYTES, PHONE_RATE
from processors.direct import DirectProcessor, Sound
from processors.frames import LateTextFrame, TurnFrame

MARK_EVERY_BYTES = PHONE_RATE // 2
# Speech this long interrupts words made before the answer; a cough does not.
BARGES_IN_AFTER_SECS = 0.25
# A noise that has become louder is steady, and stops nobody; speech moves soon.
LOOKS_AGAIN_AFTER_SECS = 0.02


class TransportOutput(DirectProcessor):
    """Sends PCM16 at 24 kHz (`OutputAudioRawFrame`) to the line as mu-law at 8 kHz.

    Audio stops here; all other frames pass. A reply that was heard, or interrupted, is pushed as a
    `TurnFrame` with the words that were heard.
    """

    hears = OutputAudioRawFrame

    def __init__(
        self,
        line: PhoneLine,
        speech: CallerSpeech,
        playback: Playback,
        record: Record,
        measure: MeasureSink,
        stopwatch: Callable[[], float],
    ) -> None:
        super().__init__()
        self._stopwatch = stopwatch
        self._record = record
        self._line = line
        self._speech = speech
        self._playback = playback
        self._measure = measure
        self._voice = PhoneVoice()
        self._unmarked_bytes = 0
        self._reply_bytes = 0
        self._answered_speech: float | None = None
        # By the number of a reply, the caller's last sound before it.
        self._answers: dict[int, float] = {}
        self._started = False
        # A reply has begun before the answer; BotStartedSpeakingFrame is still to be pushed.
        self._began_early = False
        self._heard: asyncio.Queue[Reply] = asyncio.Queue()
        self._passing_on: asyncio.Task[None] | None = None
        self._stopping_speech: asyncio.Task[None] | None = None
        playback.on_heard = self._heard.put_nowait
        playback.on_first_heard = self._first_heard
        playback.on_gap = lambda secs: measure(PlaybackGap(secs))
        line.on_bound.append(self._answered)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Add words to the reply; drop unheard speech on an interruption."""
        await super().process_frame(frame, direction)
        match frame:
            case InterruptionFrame():
                await self._barge_in()
            case LateTextFrame():
                self._playback.said_late(frame.text)
            case TTSTextFrame() if self._line.carries:
                self._playback.said(frame.text)
            case TTSStoppedFrame():
                await self._complete()
            case LLMFullResponseEndFrame():
                await self._complete()
                self._playback.closed()
            case UserStartedSpeakingFrame() if self._playback.hears_early_speech:
                await self._forget_early_speech()
                self._stopping_speech = self.create_task(self._stop_early_speech(), "barge-in")
            case StartFrame():
                self._started = True
                self._passing_on = self.create_task(self._push_heard_turns(), "heard")
            case EndFrame() | CancelFrame():
                await self._stop()
        await self.push_frame(frame, direction)

    async def hear(self, frame: Sound) -> None:
        """Play a chunk of speech: PCM16 at 24 kHz."""
        came = self._stopwatch()
        begins = not self._reply_bytes
        payload = self._voice.convert(frame.audio)
        if not payload:
            return
        await self._send(payload)
        if begins and self._line.bound:
            self._measure(DownlinkShare(self._stopwatch() - came))

    async def cleanup(self) -> None:
        """Cancel all tasks: a pipeline that ends while it starts gets no EndFrame."""
        await self._forget_early_speech()
        await self._stop_passing_on()
        await super().cleanup()

    async def _send(self, payload: bytes) -> None:
        if not self._line.carries:
            self._begin_anew()  # the stream is lost, and with it the reply
            return
        begins = not self._reply_bytes or self._playback.current is None
        reply = self._playback.sent(len(payload))
        if (recording := self._playback.recording) is not None:
            recording.agent(payload, self._playback.last_sound)
        self._reply_bytes += len(payload)
        self._unmarked_bytes += len(payload)
        await self._line.play(payload)
        if begins:
            await self._began(reply)
        if self._unmarked_bytes >= MARK_EVERY_BYTES and self._playback.current is not None:
            self._unmarked_bytes = 0
            await self._line.mark(self._playback.mark())

    async def _began(self, reply: Reply) -> None:
        """The first sound of a reply was sent: ask for a mark when it is heard."""
        if reply is self._playback.current:
            await self._line.mark(self._playback.mark())
        if self._line.answered_at is None:
            self._began_early = True
            return
        last_sound = self._speech.last_sound
        if last_sound is not None and last_sound != self._answered_speech:
            self._answers[reply.number] = last_sound
        self._answered_speech = last_sound
        await self.broadcast_frame(BotStartedSpeakingFrame)

    def _answered(self) -> None:
        """A stream was bound: what waited is played from now on."""
        if self._began_early and self._started:
            self._began_early = False
            self.create_task(self.broadcast_frame(BotStartedSpeakingFrame), name="began")

    def _first_heard(self, reply: Reply) -> None:
        if reply.first_heard is None:
            return
        last_sound = self._answers.pop(reply.number, None)
        # When the caller speaks first, the agent's first words are a response.
        is_first = reply.number == 1 and not self._line.is_continued
        if is_first and last_sound is None and self._line.answered_at is not None:
            secs = max(0.0, reply.first_heard - self._line.answered_at)
            self._measure(FirstSound(secs))
            self._record.event("latency.first_sound", {"ms": round(secs * 1000, 1)})
        if last_sound is not None:
            secs = max(0.0, reply.first_heard - last_sound)
            self._measure(TurnResponse(secs))
            detail = {"ms": round(secs * 1000, 1), "turn": reply.number}
            self._record.event("latency.response", detail)

    async def _stop_early_speech(self) -> None:
        """Interrupt words made before the answer, which the model believes were heard."""
        await asyncio.sleep(BARGES_IN_AFTER_SECS)
        started, last = self._speech.started, self._speech.last_sound
        if started is None or last is None or last - started < BARGES_IN_AFTER_SECS:
            return
        while not self._speech.moved:
            await asyncio.sleep(LOOKS_AGAIN_AFTER_SECS)
            if self._speech.started != started:
                return
        if self._playback.hears_early_speech:
            self._stopping_speech = None  # from here on it is not to be cancelled
            await self.broadcast_interruption()
            await self._barge_in()

    async def _forget_early_speech(self) -> None:
        stopping, self._stopping_speech = self._stopping_speech, None
        if stopping is not None:
            await self.cancel_task(stopping)

    async def _complete(self) -> None:
        """End of a reply: send the filter's tail, fill the last packet, send a last mark."""
        if not self._reply_bytes or self._playback.current is None:
            self._begin_anew()
            return
        tail = self._voice.flush()
        short = -(self._reply_bytes + len(tail)) % PACKET_BYTES
        self._unmarked_bytes = 0  # the mark below covers it
        await self._send(tail + bytes([MULAW_SILENCE]) * short)
        if self._playback.current is None:
            self._begin_anew()  # interrupted while the tail was sent
            return
        name = self._playback.mark()
        self._begin_anew()
        self._playback.completed()
        await self._line.mark(name)

    async def _barge_in(self) -> None:
        self._begin_anew()
        if self._playback.idle:
            return
        # Before the clear, because Twilio answers it by echoing every mark that it drops.
        self._playback.take_back()
        await self._line.clear()
        if (onset := self._speech.onset) is not None:
            secs = self.get_event_loop().time() - onset
            self._measure(BargeIn(secs))
            self._record.event("latency.barge_in", {"ms": round(secs * 1000, 1)})

    def _begin_anew(self) -> None:
        self._voice.reset()
        self._reply_bytes = 0
        self._unmarked_bytes = 0

    async def _push_heard_turns(self) -> None:
        while True:
            await self._pass_on(await self._heard.get())
            if self._playback.idle and self._heard.empty():
                await self.broadcast_frame(BotStoppedSpeakingFrame)

    async def _pass_on(self, reply: Reply) -> None:
        turn = SpokenTurn(
            Speaker.AGENT,
            reply.heard_text(),
            self._line.ms_from_answer(reply.start),
            self._line.ms_from_answer(reply.end),
            reply.interrupted,
        )
        await self.push_frame(TurnFrame(turn))

    async def _stop(self) -> None:
        """The call is over: unheard speech is dropped, and the last turns are pushed."""
        await self._forget_early_speech()
        await self._stop_passing_on()
        self._playback.take_back()
        while not self._heard.empty():
            await self._pass_on(self._heard.get_nowait())

    async def _stop_passing_on(self) -> None:
        passing_on, self._passing_on = self._passing_on, None
        if passing_on is not None:
            await self.cancel_task(passing_on)
