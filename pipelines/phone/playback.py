"""Playback: tracks which of the agent's speech was sent, heard or dropped.

Speech goes to Twilio as fast as the model makes it, and is played there in real time; a mark comes
back when playback has reached it. Between marks, the position follows the clock.

    sent    |=====reply 1=====|==reply 2==|          seconds of speech, ahead of the ear
    marks        ^       ^    ^     ^     ^          each comes back when it is played
    heard   |==========>                             never beyond what was sent
    clear               X                            the rest is dropped

Speech made while the phone still rings waits for the answer: the clock stands still until `begin`,
and playback starts there.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.rates import mulaw_ms
from pipelines.recording.recording import Recording

# One packet: what is shorter is the rounding of clocks.
SHORTEST_GAP_SECS = 0.02


@dataclass(slots=True)
class Reply:
    """One reply of the agent. Times in seconds on the call's clock, lengths in ms of speech."""

    number: int
    # When its first sound was, or will be, heard: after what was queued before.
    start: float
    sent_ms: float = 0.0
    heard_ms: float = 0.0
    text: str = ""
    # No more sound, and no more words, belong to it.
    complete: bool = False
    closed: bool = False
    interrupted: bool = False
    # Its words came after an interruption, and may belong to what was dropped.
    doubtful: bool = False
    # It was made before the answer, or by a session that is lost: no model that is there knows that
    # it is being heard.
    early: bool = False
    # When its first sound was heard, by a mark; None before that.
    first_heard: float | None = None
    # (name, ms of this reply that were sent before it), in the order sent.
    marks: deque[tuple[str, float]] = field(default_factory=deque)

    @property
    def end(self) -> float:
        """When its last heard sound was, or will be, heard."""
        return self.start + (self.heard_ms if self.interrupted else self.sent_ms) / 1000

    @property
    def heard_out(self) -> bool:
        """Whether all of its sound is known to have been heard."""
        return self.complete and not self.marks

    def heard_text(self) -> str:
        """The words heard: all, or those before the interruption, assuming an even pace."""
        text = " ".join(self.text.split())
        if not self.interrupted or not self.sent_ms:
            return "" if self.interrupted else text
        share = min(1.0, self.heard_ms / self.sent_ms)
        if share >= 1.0:
            return text
        cut = round(len(text) * share)
        words_before = text[:cut].rsplit(" ", 1)[0] if " " in text[:cut] else ""
        return text[:cut].strip() if text[cut : cut + 1] in ("", " ") else words_before.strip()


class Playback:
    """Tracks one call's outgoing speech, reply by reply.

    `on_heard` is called once for each reply that had sound or words: when its last mark came back
    and it was closed, or when it was interrupted. Words without sound that follow an interruption
    belong to what was dropped, and to no reply.
    """

    def __init__(self, clock: Callable[[], float], *, waits: bool = False) -> None:
        self._clock = clock
        # Where the clock stands still before the answer; None after it.
        self._waits_at = clock() if waits else None
        self._replies: deque[Reply] = deque()
        self._taken_back: set[str] = set()
        # Nothing was sent, and no turn was over, since the last interruption.
        self._after_cut = False
        self._count = 0
        self.on_heard: Callable[[Reply], None] = lambda _: None
        # Called once for each reply of which a mark says that its first sound was heard.
        self.on_first_heard: Callable[[Reply], None] = lambda _: None
        # Called with the seconds for which the queue was empty inside a reply.
        self.on_gap: Callable[[float], None] = lambda _: None
        # Called when `idle` may have changed: speech was heard, dropped or completed.
        self.on_progress: Callable[[], None] = lambda: None
        # Called when the first words of a reply are known, and when all of its sound is.
        self.on_made: Callable[[], None] = lambda: None
        # The greeting is complete, ready for the answer.
        self.prepared = asyncio.Event()
        # When the last of all sound was, or will be, heard; None before the first.
        self.last_sound: float | None = None
        # Takes what is heard, when the call is recorded.
        self.recording: Recording | None = None

    @property
    def idle(self) -> bool:
        """Whether all that was sent is known to be heard or dropped."""
        return all(reply.heard_out for reply in self._replies)

    @property
    def speaking(self) -> bool:
        """Whether the caller hears the agent now, by the clock."""
        begun = self._waits_at is None
        return begun and self.last_sound is not None and self._clock() < self.last_sound

    @property
    def hears_early_speech(self) -> bool:
        """Whether the caller hears speech now that no session would interrupt."""
        return self.speaking and bool(self._replies) and self._replies[0].early

    @property
    def current(self) -> Reply | None:
        """The reply whose sound is being sent, if one is."""
        if self._replies and not self._replies[-1].complete:
            return self._replies[-1]
        return None

    @property
    def first_reply_is_over(self) -> bool:
        """Whether the first reply was heard or dropped; False before it comes."""
        if not self._count:
            return False
        first = self._replies[0] if self._replies else None
        return first is None or first.number > 1 or (first.complete and self._now() >= first.end)

    def begin(self) -> None:
        """The phone is answered: playback of what was sent so far starts now."""
        if self._waits_at is None:
            return
        waited = self._clock() - self._waits_at
        self._waits_at = None
        for reply in self._replies:
            reply.start += waited
        if self.last_sound is not None:
            self.last_sound += waited

    def sent(self, byte_count: int) -> Reply:
        """Count mu-law that is sent now; a new reply begins when none is open."""
        now = self._now()
        queue_end = max(now, self.last_sound or now)
        reply = self.current
        if reply is None:
            self._count += 1
            reply = Reply(self._count, start=queue_end, early=self._waits_at is not None)
            self._replies.append(reply)
        elif queue_end > reply.end:
            # The queue ran empty inside the reply: what comes now is heard that much later.
            gap = queue_end - reply.end
            reply.start += gap
            if gap >= SHORTEST_GAP_SECS:
                self.on_gap(gap)
        reply.sent_ms += mulaw_ms(byte_count)
        reply.doubtful = self._after_cut = False
        self.last_sound = queue_end + mulaw_ms(byte_count) / 1000
        return reply

    def said(self, text: str) -> None:
        """Add words to the newest reply; words before any sound wait for it."""
        reply = self._replies[-1] if self._replies else None
        if reply is None or reply.closed:
            now = self._now()
            self._count += 1
            start = max(now, self.last_sound or now)
            early = self._waits_at is not None
            reply = Reply(self._count, start, doubtful=self._after_cut, early=early)
            self._replies.append(reply)
        is_first = not reply.text
        reply.text += text
        if is_first:
            self.on_made()

    def said_late(self, text: str) -> None:
        """Add words to the newest reply although its turn is over.

        Ignored when that reply was reported already: heard completely, or interrupted.
        """
        reply = self._replies[-1] if self._replies else None
        if reply is not None and not reply.interrupted:
            reply.text += text

    @property
    def unheard_text(self) -> str:
        """The words of all that is sent and not heard completely."""
        return " ".join(" ".join(reply.text.split()) for reply in self._replies if reply.text)

    @property
    def unheard_from(self) -> float | None:
        """When the first of it was, or will be, heard; None when all was heard."""
        return next((reply.start for reply in self._replies if reply.text), None)

    def mark(self) -> str:
        """Name a mark for this point of the open reply; the caller sends it."""
        reply = self.current
        if reply is None:
            raise RuntimeError("a mark needs an open reply")
        name = f"{reply.number}:{round(reply.sent_ms)}"
        reply.marks.append((name, reply.sent_ms))
        return name

    def completed(self) -> None:
        """No more sound belongs to the open reply."""
        if (reply := self.current) is not None:
            reply.complete = True
            self.prepared.set()
            self._finish_if_over(reply)
            self.on_progress()
            self.on_made()

    def closed(self) -> None:
        """The turn is over: no more sound and no more words belong to what was sent."""
        self._after_cut = False
        for reply in list(self._replies):
            reply.complete = reply.closed = True
            self._finish_if_over(reply)
        self.on_progress()

    def marked(self, name: str) -> None:
        """A mark came back: playback has reached it, unless it was dropped by `clear`."""
        if name in self._taken_back:
            self._taken_back.discard(name)
            return
        reply = next((r for r in self._replies if any(n == name for n, _ in r.marks)), None)
        if reply is None:
            return
        now = self._now()
        while reply.marks:
            passed, position_ms = reply.marks.popleft()
            reply.heard_ms = position_ms
            if passed == name:
                break
        # The mark tells the position: later than by the clock, because of the network.
        if reply.first_heard is None:
            reply.first_heard = now - reply.heard_ms / 1000
            self.on_first_heard(reply)
        late = now - (reply.start + reply.heard_ms / 1000)
        if late > 0:
            for waiting in self._replies:
                waiting.start += late
            self.last_sound = max(self.last_sound or 0.0, self._replies[-1].end)
            if self.recording is not None:
                self.recording.late(late)
        self._finish_if_over(reply)
        self.on_progress()

    def take_back(self) -> None:
        """Drop all that was not heard yet: a `clear` was sent, or the stream was lost."""
        now = self._now()
        self._after_cut = True
        for reply in list(self._replies):
            played_ms = max(0.0, (now - reply.start) * 1000)
            reply.heard_ms = min(reply.sent_ms, max(reply.heard_ms, played_ms))
            self._taken_back.update(name for name, _ in reply.marks)
            reply.marks.clear()
            reply.interrupted = not reply.complete or reply.heard_ms < reply.sent_ms
            reply.complete = reply.closed = True
            self._finish_if_over(reply)
        self.last_sound = min(now, self.last_sound) if self.last_sound is not None else None
        if self.recording is not None:
            self.recording.taken_back()
        self.on_progress()

    def disown(self) -> None:
        """The session is gone that made what is still to be heard."""
        for reply in self._replies:
            reply.early = True

    def lost(self) -> None:
        """The stream is lost, with the marks that had not come back."""
        self.take_back()
        self._taken_back.clear()
        if self.recording is not None:
            self.recording.lost()

    def _now(self) -> float:
        return self._clock() if self._waits_at is None else self._waits_at

    def _finish_if_over(self, reply: Reply) -> None:
        if not (reply.closed and reply.heard_out):
            return
        if not reply.interrupted:
            reply.heard_ms = reply.sent_ms
        self._replies.remove(reply)
        if reply.sent_ms or (reply.text and not reply.doubtful):
            self.on_heard(reply)
