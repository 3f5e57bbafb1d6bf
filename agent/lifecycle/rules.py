"""The life of a call as a pure function: `(state, event) -> (state, commands)`.

Standard library only, no clock and no I/O: time comes in with each event, and what shall happen
goes out as commands, which `agent/runner/` (in this process) or a workflow carries out.

    initiated ─▶ ringing ─▶ in_progress ─▶ completed
        │           │            └───────▶ failed
        └───────────┴─▶ no_answer · busy · canceled · failed

`status` follows Twilio and only ever moves to the right; `end_reason` is ours and is set once. A
call that lives always waits for at least one timer, so it ends even when nothing is heard again:

    Placed          answered                        StreamEnded   ConversationEnded     completed
    ──┬────────────────┬──────────────────────────────┬──────────────┬─────────────────────┬──▶
      ├─ RING ─────────┤ ring timeout + margin         │              │                     │
      │                ├─ LIMIT ── max duration + margin ────────────────▶ hang up           │
      │                ├─ RECONCILE … every 5 min ─────┼─ 5 s, 10 s … ──── look up ──────────┤
      │                                                               ├─ HANG_UP ─▶ hang up ─┤
      Dial, Warm                                                      sentence heard   EndMedia
                                                                      or handed on   or Release

A hang-up is asked for and looked up with growing pauses until Twilio says that the call is over;
when Twilio stays silent for long after that, the record is closed without it, and says so.
"""

from dataclasses import replace
from typing import Any

from agent.lifecycle.events import (
    CancelTimer,
    Command,
    ConversationEnded,
    Dial,
    DialFailed,
    Dialled,
    DialUnclear,
    EndMedia,
    Event,
    HangUp,
    InstanceStopped,
    LookUp,
    Placed,
    Release,
    SetTimer,
    StreamEnded,
    StreamStarted,
    Terminate,
    Timer,
    TimerFired,
    TwilioStatus,
    TwimlFetched,
    Warm,
    WriteOutcome,
)
from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import CallStatus, Direction, EndReason

# https://www.twilio.com/docs/voice/api/call-resource#call-status-values, and "answered" and
# "initiated" as status callbacks name them.
_TWILIO_WORDS = {
    "queued": CallStatus.INITIATED,
    "initiated": CallStatus.INITIATED,
    "ringing": CallStatus.RINGING,
    "in-progress": CallStatus.IN_PROGRESS,
    "answered": CallStatus.IN_PROGRESS,
    "completed": CallStatus.COMPLETED,
    "busy": CallStatus.BUSY,
    "no-answer": CallStatus.NO_ANSWER,
    "failed": CallStatus.FAILED,
    "canceled": CallStatus.CANCELED,
}


def decide(state: CallState, event: Event) -> tuple[CallState, tuple[Command, ...]]:
    """What `event` makes of the call, and what shall be done about it, in this order."""
    step = _Step(state, event.at)
    if state.status.is_terminal:
        step.after_the_end(event)
    elif isinstance(event, Placed):
        step.placed(event)
    elif state.placed_at is not None:
        step.happen(event)
    return step.result()


class _Step:
    """One decision in the making: the state so far, and the commands so far."""

    def __init__(self, state: CallState, at: float) -> None:
        self.before = state
        self.state = state
        self.at = at
        self.commands: list[Command] = []

    def result(self) -> tuple[CallState, tuple[Command, ...]]:
        state = self.state
        if not state.status.is_terminal and state.placed_at is not None and not state.deadlines:
            self._check_soon()
        if (state.status, state.end_reason) != (self.before.status, self.before.end_reason):
            self.commands.append(WriteOutcome())
        return self.state, tuple(self.commands)

    # --- one method per kind of event

    def placed(self, event: Placed) -> None:
        if self.state.placed_at is not None:
            return
        inbound = self.state.direction is Direction.INBOUND
        self._change(
            placed_at=event.at,
            ring_timeout_secs=event.ring_timeout_secs,
            max_duration_secs=event.max_duration_secs,
            twilio_sid=event.twilio_sid,
            dialled=not inbound,
            status=CallStatus.RINGING if inbound else CallStatus.INITIATED,
        )
        self._wait_for_the_answer()
        self.commands.append(Warm())
        if not inbound:
            self.commands.append(Dial())

    def happen(self, event: Event) -> None:
        match event:
            case Dialled():
                self._learn_sid(event.twilio_sid)
            case DialFailed():
                if self._unknown_to_twilio():
                    self._end(CallStatus.FAILED, error=event.message)
            case DialUnclear():
                if self._unknown_to_twilio():
                    self._check_soon()
            case TwilioStatus():
                self._twilio_said(event)
            case TwimlFetched():
                self._twiml_fetched()
            case StreamStarted():
                self._stream_started(event)
            case StreamEnded():
                self._stream_ended(event)
            case InstanceStopped():
                self._change(abandoned=True)
            case ConversationEnded():
                self._conversation_ended(event)
            case Terminate():
                self._hang_up(EndReason.API)
            case TimerFired():
                self._timer_fired(event.timer)

    def after_the_end(self, event: Event) -> None:
        """Nothing changes any more; but what only now turns out to be there must go."""
        if isinstance(event, StreamStarted):
            self.commands.append(EndMedia(self.state.end_reason or EndReason.SYSTEM))
            return
        if not isinstance(event, Dialled | TwilioStatus) or not event.twilio_sid:
            return
        if self.state.twilio_sid is None:
            self._change(twilio_sid=event.twilio_sid)
            word = (
                _TWILIO_WORDS.get(event.status or "") if isinstance(event, TwilioStatus) else None
            )
            if isinstance(event, Dialled) or (word and not word.is_terminal):
                self.commands.append(HangUp(event.twilio_sid))

    def _twilio_said(self, event: TwilioStatus) -> None:
        known = self.state.twilio_sid
        if known and event.twilio_sid != known and (event.twilio_sid or event.status is None):
            return  # of another call, or a search that was overtaken by the call's own news
        if event.status is None:
            self._no_such_call()
            return
        if event.twilio_sid:
            self._learn_sid(event.twilio_sid)
        word = _TWILIO_WORDS.get(event.status)
        if word is None:
            return
        if word.is_terminal:
            self._end(word)
        elif word is CallStatus.IN_PROGRESS:
            self._answered()
        elif word is CallStatus.RINGING and self.state.status is CallStatus.INITIATED:
            self._change(status=CallStatus.RINGING)
            self._wait_for_the_answer()
        elif word is CallStatus.INITIATED and self._still_queued():
            self._change(look_ups=min(self.state.look_ups, self.state.patience.tries // 2))

    def _no_such_call(self) -> None:
        if self.state.twilio_sid is None:
            self._change(not_found=self.state.not_found + 1)
            if self.state.not_found < self.state.patience.not_found_tries:
                return
        if self._was_answered():
            self._end(CallStatus.COMPLETED)
        else:
            self._end(CallStatus.FAILED, error="Twilio knows no such call.")

    def _twiml_fetched(self) -> None:
        self._is_carried_on()
        # An inbound call's first document is what answers it; every other fetch means an answer.
        if self.state.direction is Direction.OUTBOUND or self.state.stream_due:
            self._answered()
        if self.state.hanging_up:
            return
        if self.state.transfer_to:
            self._disarm(Timer.HANG_UP)
        elif self.state.apology:
            self._time_for_last_words()
        elif self.state.stream_due:
            self._count_short_stream()
        else:
            self._change(stream_due=True)

    def _stream_started(self, event: StreamStarted) -> None:
        self._is_carried_on()
        self._answered()
        if event.stream_sid == self.state.last_stream_sid:
            return
        self._change(
            stream_sid=event.stream_sid, instance=event.instance, stream_due=False, look_ups=0
        )
        if self.state.end_reason:
            self.commands.append(EndMedia(self.state.end_reason))
        else:
            self._arm(Timer.RECONCILE, self.at + self._pause_before_look_up())

    def _stream_ended(self, event: StreamEnded) -> None:
        if event.stream_sid == self.state.last_stream_sid:
            # By an instance that was taken for stopped.
            self._is_carried_on()
            return
        self._answered()
        self._change(last_stream_sid=event.stream_sid)
        if event.stream_sid == self.state.stream_sid:
            self._change(stream_sid=None, instance=None)
            if not self.state.hanging_up:
                self._check_soon()
        if self.state.end_reason is None:
            if event.carried_secs < self.state.patience.short_stream_secs:
                self._count_short_stream()
            else:
                self._change(short_streams=0)

    def _conversation_ended(self, event: ConversationEnded) -> None:
        if self.state.end_reason is not None:
            return
        try:
            reason = EndReason(event.reason)
        except ValueError:
            reason = EndReason.SYSTEM
        if event.transfer_to:
            self._change(end_reason=reason, transfer_to=event.transfer_to)
            self._prepare_goodbye()
        elif reason in (EndReason.NO_MODEL, EndReason.SYSTEM):
            error = self.state.error or event.error
            self._change(end_reason=reason, apology=reason.value, error=error)
            self._prepare_goodbye()
        else:
            self._hang_up(reason, media_is_done=True)

    def _timer_fired(self, timer: Timer) -> None:
        deadline = self.state.deadlines.get(timer)
        if deadline is None or self.at < deadline:
            return  # it was set anew or cancelled while this event was on its way
        self._change(deadlines={t: at for t, at in self.state.deadlines.items() if t is not timer})
        if timer is Timer.LIMIT:
            self._hang_up(EndReason.LIMIT)
        elif timer is Timer.HANG_UP:
            self._hang_up(EndReason.SYSTEM)
        elif timer is Timer.RING:
            self._look_up()
        else:
            self._reconcile()

    def _reconcile(self) -> None:
        state, sid = self.state, self.state.twilio_sid
        if state.hanging_up and sid:
            if state.hang_ups >= state.patience.tries:
                self._end_without_twilio()
            else:
                self._tell_twilio_to_hang_up(sid)
                self._look_up()
        elif state.look_ups < state.patience.tries or (
            self._was_answered() and not state.hanging_up
        ):
            self._look_up()
        elif sid:
            self._hang_up(EndReason.SYSTEM)
        else:
            self._end_without_twilio()

    # --- what they have in common

    def _change(self, **fields: Any) -> None:
        self.state = replace(self.state, **fields)

    def _arm(self, timer: Timer, at: float) -> None:
        self._change(deadlines=self.state.deadlines | {timer: at})
        self.commands.append(SetTimer(timer, at))

    def _disarm(self, timer: Timer) -> None:
        if timer in self.state.deadlines:
            kept = {t: at for t, at in self.state.deadlines.items() if t is not timer}
            self._change(deadlines=kept)
            self.commands.append(CancelTimer(timer))

    def _is_carried_on(self) -> None:
        if self.state.abandoned:
            self._change(abandoned=False)

    def _was_answered(self) -> bool:
        return self.state.status is CallStatus.IN_PROGRESS

    def _unknown_to_twilio(self) -> bool:
        return self.state.twilio_sid is None and self.state.dialled and not self._was_answered()

    def _still_queued(self) -> bool:
        return self.at < (self.state.placed_at or 0.0) + self.state.patience.queue_secs

    def _wait_for_the_answer(self) -> None:
        margin = self.state.patience.ring_margin_secs
        self._change(look_ups=0)
        if not self.state.hanging_up:
            self._disarm(Timer.RECONCILE)
            self._arm(Timer.RING, self.at + self.state.ring_timeout_secs + margin)

    def _answered(self) -> None:
        if self._was_answered():
            return
        self._change(status=CallStatus.IN_PROGRESS, answered_at=self.at, look_ups=0)
        patience = self.state.patience
        self._disarm(Timer.RING)
        if self.state.hanging_up:
            return
        limit = self.state.max_duration_secs + patience.limit_margin_secs
        self._arm(Timer.LIMIT, self.at + limit)
        self._arm(Timer.RECONCILE, self.at + patience.reconcile_at_most_secs)
        self._prepare_goodbye()

    def _prepare_goodbye(self) -> None:
        """An apology or a transfer waits for the answer; after it, for the next TwiML."""
        if not self._was_answered() or not (self.state.apology or self.state.transfer_to):
            return
        self._time_for_last_words()
        if self.state.transfer_to:
            self._arm(Timer.LIMIT, self.at + self.state.patience.transfer_secs)

    def _time_for_last_words(self) -> None:
        self._arm(Timer.HANG_UP, self.at + self.state.patience.last_words_secs)

    def _learn_sid(self, twilio_sid: str) -> None:
        if self.state.twilio_sid is not None:
            return
        self._change(twilio_sid=twilio_sid, look_ups=0)
        if self.state.hanging_up:
            self._tell_twilio_to_hang_up(twilio_sid)
            self._check_soon()
        elif not self._was_answered():
            self._disarm(Timer.RECONCILE)

    def _count_short_stream(self) -> None:
        self._change(short_streams=self.state.short_streams + 1)
        if self.state.short_streams >= self.state.patience.short_streams:
            self._change(
                end_reason=EndReason.SYSTEM,
                apology=EndReason.SYSTEM.value,
                error="The call's media stream broke again and again.",
            )
            self._prepare_goodbye()

    def _hang_up(self, reason: EndReason, *, media_is_done: bool = False) -> None:
        if self.state.hanging_up:
            return
        reason = self.state.end_reason or reason
        self._change(hanging_up=True, end_reason=reason, look_ups=0)
        for timer in (Timer.RING, Timer.LIMIT, Timer.HANG_UP):
            self._disarm(timer)
        if self._was_answered() and not media_is_done:
            self.commands.append(EndMedia(reason))
        if self.state.twilio_sid:
            self._tell_twilio_to_hang_up(self.state.twilio_sid)
        self._check_soon()

    def _tell_twilio_to_hang_up(self, twilio_sid: str) -> None:
        self._change(hang_ups=self.state.hang_ups + 1)
        self.commands.append(HangUp(twilio_sid))

    def _check_soon(self) -> None:
        self._change(look_ups=0)
        self._arm(Timer.RECONCILE, self.at + self.state.patience.reconcile_secs)

    def _look_up(self) -> None:
        self._change(look_ups=self.state.look_ups + 1)
        self.commands.append(LookUp(self.state.twilio_sid))
        self._arm(Timer.RECONCILE, self.at + self._pause_before_look_up())

    def _pause_before_look_up(self) -> float:
        patience = self.state.patience
        if self.state.stream_sid and not self.state.hanging_up:
            return patience.reconcile_at_most_secs
        doubled = patience.reconcile_secs * float(2 ** min(self.state.look_ups, 30))
        return min(doubled, patience.reconcile_at_most_secs)

    def _end_without_twilio(self) -> None:
        status = CallStatus.COMPLETED if self._was_answered() else CallStatus.FAILED
        self._end(status, error="Twilio did not say what became of the call.")

    def _end(self, status: CallStatus, *, error: str | None = None) -> None:
        # An answered call ends `completed` at Twilio; what belongs to an unanswered one is stale.
        if self._was_answered() and status is not CallStatus.FAILED:
            status = CallStatus.COMPLETED
        reason = self.state.end_reason or self._reason_of(status)
        if self.state.abandoned and self.state.end_reason is None:
            error = error or "The server stopped while the call went on."
        for timer in tuple(self.state.deadlines):
            self._disarm(timer)
        self._change(
            status=status,
            end_reason=reason,
            ended_at=self.at,
            error=self.state.error or error,
            stream_sid=None,
            instance=None,
        )
        answered = self.state.answered_at is not None
        self.commands.append(EndMedia(reason) if answered else Release())

    def _reason_of(self, status: CallStatus) -> EndReason:
        """Who ended a call that nothing of ours has ended."""
        if status is CallStatus.FAILED or self.state.abandoned:
            return EndReason.SYSTEM
        if status is CallStatus.CANCELED and self.state.direction is Direction.OUTBOUND:
            return EndReason.SYSTEM  # canceled at Twilio, past us
        return EndReason.CALLER
