"""What we count and measure, as Prometheus shows it on `/metrics`; one registry for each app."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agent.calls import Call
from agent.measures import (
    BargeIn,
    DownlinkShare,
    FirstSound,
    Measure,
    ModelConnect,
    ModelDrop,
    Packets,
    RecordingEnded,
    RecordingWritten,
    TurnResponse,
    UplinkShare,
    WarmUp,
    WarmWaste,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# In seconds, and fine where a promise is kept or broken: a prepared first sound takes 5 to 20 ms, a
# cold one seconds; a person feels a reply that takes 0.5 to 1.5 s.
FIRST_SOUND_BUCKETS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5, 1, 1.5, 2, 3, 5, 10),
)
RESPONSE_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1, 1.25, 1.5, 2, 3, 5, 10)
BARGE_IN_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2)
SHARE_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
CONNECT_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
CALL_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400)
RING_BUCKETS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 240)
LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
STALL_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """The measures of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter(
            "voice_ai_calls",
            "Calls that ended, by outcome.",
            ["direction", "status", "end_reason"],
            registry=self.registry,
        )
        self.active = Gauge(
            "voice_ai_active_calls",
            "Calls that this instance holds a place for.",
            registry=self.registry,
        )
        self.talking = Gauge(
            "voice_ai_running_pipelines",
            "Calls whose pipeline runs on this instance.",
            registry=self.registry,
        )
        self.duration = self._histogram(
            "call_duration_seconds", "From answer to end.", CALL_BUCKETS
        )
        self.first_sound = self._histogram(
            "first_sound_seconds", "From answer to the agent's first sound.", FIRST_SOUND_BUCKETS
        )
        self.turn_response = self._histogram(
            "turn_response_seconds", "From the caller's last sound to the reply.", RESPONSE_BUCKETS
        )
        self.barge_in = self._histogram(
            "barge_in_seconds", "From the caller's interruption to silence.", BARGE_IN_BUCKETS
        )
        self.share_in = self._histogram(
            "share_in_seconds", "From a caller's packet to Gemini's socket.", SHARE_BUCKETS
        )
        self.share_out = self._histogram(
            "share_out_seconds", "From Gemini's chunk to its first packet sent.", SHARE_BUCKETS
        )
        self.warm_sessions = Gauge(
            "voice_ai_warm_sessions",
            "Sessions that are open for phones that ring.",
            registry=self.registry,
        )
        self.warm_ups = Counter(
            "voice_ai_warm_ups",
            "What became of preparing calls while they rang.",
            ["outcome"],
            registry=self.registry,
        )
        self.warm_for = self._histogram(
            "warm_up_seconds",
            "From the beginning of preparing a call to its answer, when that was used.",
            RING_BUCKETS,
        )
        self.warm_waste = Counter(
            "voice_ai_warm_waste_tokens",
            "Tokens of sessions that were prepared, and that nobody talked to.",
            ["direction", "modality"],
            registry=self.registry,
        )
        self.connect = self._histogram(
            "model_connect_seconds", "Attempts to open a Gemini session.", CONNECT_BUCKETS
        )
        self.connects = Counter(
            "voice_ai_model_connects",
            "Attempts to open a Gemini session, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.drops = Counter(
            "voice_ai_model_drops",
            "Gemini sessions that ended before the call did, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.packets = Counter(
            "voice_ai_packets",
            "Twilio media messages.",
            ["direction"],
            registry=self.registry,
        )
        self.recordings = Counter(
            "voice_ai_recordings",
            "Recordings of calls that ended, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.recorded = Counter(
            "voice_ai_recording_bytes",
            "Bytes of sound written to recordings.",
            registry=self.registry,
        )
        self.bad_messages = Counter(
            "voice_ai_bad_messages",
            "Messages of media streams that made no sense and were passed over.",
            registry=self.registry,
        )
        self.rejected = Counter(
            "voice_ai_rejected_requests",
            "Requests and streams that were turned away, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop wakes a sleeper.", LAG_BUCKETS
        )
        self.stalls = Histogram(
            "voice_ai_loop_stall_seconds",
            "Times of more than 10 ms for which the event loop did not turn, by who blocked it.",
            ["place"],
            buckets=STALL_BUCKETS,
            registry=self.registry,
        )

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"voice_ai_{name}", says, buckets=buckets, registry=self.registry)

    def observe(self, measure: Measure) -> None:
        """Take one measure of a running call: this is its MeasureSink."""
        match measure:
            case FirstSound(secs):
                self.first_sound.observe(secs)
            case TurnResponse(secs):
                self.turn_response.observe(secs)
            case BargeIn(secs):
                self.barge_in.observe(secs)
            case UplinkShare(secs):
                self.share_in.observe(secs)
            case DownlinkShare(secs):
                self.share_out.observe(secs)
            case WarmUp(outcome, secs):
                self.warm_ups.labels(outcome).inc()
                if outcome == "used":
                    self.warm_for.observe(secs)
            case WarmWaste(direction, modality, tokens):
                self.warm_waste.labels(direction, modality).inc(tokens)
            case ModelConnect(outcome, secs):
                self.connects.labels(outcome).inc()
                self.connect.observe(secs)
            case ModelDrop(reason):
                self.drops.labels(reason).inc()
            case Packets(received, sent):
                self.packets.labels("in").inc(received)
                self.packets.labels("out").inc(sent)
            case RecordingEnded(outcome):
                self.recordings.labels(outcome).inc()
            case RecordingWritten(byte_count):
                self.recorded.inc(byte_count)

    def call_ended(self, call: Call) -> None:
        """Count a call with its outcome."""
        self.calls.labels(call.direction, call.status, call.end_reason or "none").inc()
        if call.answered_at and call.ended_at:
            self.duration.observe(max(0.0, (call.ended_at - call.answered_at).total_seconds()))

    def as_text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
