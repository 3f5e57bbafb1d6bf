"""Tape: the messages on both wires of one call, in order, each with its time.

`add` runs for every packet: it appends one tuple. Whoever keeps the tape calls `take` now and then.
A message that holds audio is kept as its audio, which the call has decoded anyway, and the text
around it: what is kept for a second takes memory that is not in the processor's cache.

    Twilio ── PHONE_IN, PHONE_OUT ──┐
                                    ├──▶ Tape ── take, every second ──▶ a cassette on the disk
    Gemini ── MODEL_IN, MODEL_OUT ──┘
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import asdict
from enum import IntEnum
from typing import Any

from agent.ports import Record, SpokenTurn, TokenCount

# Entries that may wait to be taken: some 40 s of a call with both sides speaking.
MOST_WAITING = 10_000


class Kind(IntEnum):
    """What an entry is; its content is named behind it. These numbers are written to disk."""

    PHONE_BOUND = 0  # the StreamSid
    PHONE_IN = 1  # text of a message from Twilio, or AroundAudio
    PHONE_OUT = 2  # text of a message to Twilio, or AroundAudio
    PHONE_LOST = 3  # ""
    MODEL_OPENED = 4  # ""
    MODEL_IN = 5  # a message from Gemini: TapedMessage, bytes or text
    MODEL_OUT = 6  # text of a message to Gemini
    MODEL_HEARS = 7  # PCM16 at 16 kHz that was sent to Gemini
    MODEL_CLOSED = 8  # "1011 reason", or "http-503 body" when the connection was refused
    RECORD = 9  # (what, fields): a turn, event or usage of the call's record
    ENDING = 10  # why the conversation was over; "": it is ended from outside
    GREETING = 11  # PCM16 at 24 kHz: a greeting that another call made


# A message with audio: the text before its base64, the audio, and the text behind it.
AroundAudio = tuple[str, bytes, str]


class TapedMessage:
    """A message from Gemini that is decoded later: then its audio takes its place."""

    __slots__ = ("content",)

    def __init__(self, message: bytes) -> None:
        self.content: bytes | AroundAudio = message

    def decoded(self, pcm: bytes) -> None:
        """The first string named `data` in the message is this PCM16."""
        if isinstance(message := self.content, bytes):
            start = message.find(b'"', message.find(b'"data"') + 6) + 1
            end = message.find(b'"', start)
            if is_canonical(message[end - 3 : end].decode()):
                self.content = message[:start].decode(), pcm, message[end:].decode()


# How padded base64 ends when an encoder wrote it: the unused bits of the last character are 0.
_CANONICAL = (*(f"{last}==" for last in "AQgw"), *(f"{last}=" for last in "AEIMQUYcgkosw048"))


def is_canonical(last: str) -> bool:
    """Whether valid base64 with these last three characters is what an encoder writes."""
    return not last.endswith("=") or last.endswith(_CANONICAL)


# Time in seconds of the loop's clock, kind, number of the wire from 1, content.
Entry = tuple[float, int, int, Any]


class Tape:
    """Bounded list of entries; it stops by itself, with `overflowed`, when nobody takes them."""

    def __init__(
        self,
        clock: Callable[[], float],
        on_change: Callable[[], None] = lambda: None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._clock = clock
        self._on_change = on_change
        self._most_waiting = most_waiting
        self._entries: list[Entry] = []
        self._models = self._phones = 0
        self._runs = True
        self.overflowed = False
        # Somebody was on the phone.
        self.was_answered = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is added."""
        return not self._runs

    def add(self, kind: int, wire: int, content: Any) -> None:
        """Append an entry that happened now. `content` must not be changed afterwards."""
        if self._runs:
            self._entries.append((self._clock(), kind, wire, content))
            if len(self._entries) >= self._most_waiting:
                self.overflowed = True
                self.stop()

    def new_model_wire(self) -> int:
        """Number a new connection to the model, from 1."""
        self._models += 1
        self.add(Kind.MODEL_OPENED, self._models, "")
        return self._models

    def phone(self, kind: Kind, content: str | AroundAudio) -> None:
        """Add an entry of the media stream that is bound; PHONE_BOUND begins a new one."""
        if kind is Kind.PHONE_BOUND:
            self._phones += 1
            self.was_answered = True
        self.add(kind, self._phones, content)

    def stop(self) -> None:
        """End the tape; what was added can still be taken. Safe to repeat."""
        if self._runs:
            self._runs = False
            self._on_change()

    def take(self) -> list[Entry]:
        """Remove and return what was added since the last time."""
        entries, self._entries = self._entries, []
        return entries


# The tape of the call that opens a connection to the model in this context.
TAPE: ContextVar[Tape | None] = ContextVar("tape", default=None)


class TapedRecord:
    """A `Record` that also goes on the tape."""

    def __init__(self, record: Record, tape: Tape) -> None:
        self._record = record
        self._tape = tape

    def turn(self, turn: SpokenTurn) -> None:
        """Record a finished turn."""
        self._tape.add(Kind.RECORD, 0, ("turn", {**asdict(turn), "who": turn.who.value}))
        self._record.turn(turn)

    def event(self, kind: str, detail: Mapping[str, Any] | None = None) -> None:
        """Record an event."""
        self._tape.add(Kind.RECORD, 0, ("event", {"kind": kind, "detail": dict(detail or {})}))
        self._record.event(kind, detail)

    def usage(self, counts: list[TokenCount]) -> None:
        """Record the tokens of one turn."""
        self._record.usage(counts)
