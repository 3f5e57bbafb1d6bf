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
      ├─ RECONCILE ────┤ 10 s, then every 15 s: look up│              │                     │
      │                ├─ LIMIT ── max duration + margin ────────────────▶ hang up           │
      │                ├─ RECONCILE … every 5 min ─────┼─ 5 s, 10 s … ──── look up ──────────┤
      │                                                               ├─ HANG_UP ─▶ hang up ─┤
      Dial, Warm                                                      sentence heard   EndMedia
                                                                      or handed on   or Release

A hang-up is asked for and looked up with growing pauses until Twilio says that the call is over;
when Twilio stays silent for long after that, the record is closed without it, and says so.
"""

from agent.lifecycle.draft import Draft
from agent.lifecycle.ending import (
    conversation_ended,
    end,
    end_without_twilio,
    hang_up,
    tell_twilio_to_hang_up,
)
from agent.lifecycle.events import (
    Command,
    ConversationEnded,
    DialFailed,
    Dialled,
    DialUnclear,
    EndMedia,
    Event,
    HangUp,
    InstanceStopped,
    Placed,
    StreamEnded,
    StreamStarted,
    Terminate,
    Timer,
    TimerFired,
    TwilioStatus,
    TwimlFetched,
    WriteOutcome,
)
from agent.lifecycle.look_ups import check_later, check_soon, look_up
from agent.lifecycle.ringing import answered, learn_sid, placed, wait_for_the_answer
from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import CallStatus, EndReason
from agent.lifecycle.streams import stream_ended, stream_started, twiml_fetched

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
    draft = Draft(state, event.at)
    if state.status.is_terminal:
        _after_the_end(draft, event)
    elif isinstance(event, Placed):
        placed(draft, event)
    elif state.placed_at is not None:
        _happen(draft, event)
    after = draft.state
    if not after.status.is_terminal and after.placed_at is not None and not after.deadlines:
        check_soon(draft)
    if (after.status, after.end_reason) != (state.status, state.end_reason):
        draft.command(WriteOutcome())
    return draft.state, tuple(draft.commands)


def _happen(draft: Draft, event: Event) -> None:
    match event:
        case Dialled():
            learn_sid(draft, event.twilio_sid)
        case DialFailed():
            if _is_unknown_to_twilio(draft):
                end(draft, CallStatus.FAILED, error=event.message)
        case DialUnclear():
            if _is_unknown_to_twilio(draft):
                check_soon(draft)
        case TwilioStatus():
            _twilio_said(draft, event)
        case TwimlFetched():
            twiml_fetched(draft)
        case StreamStarted():
            stream_started(draft, event)
        case StreamEnded():
            stream_ended(draft, event)
        case InstanceStopped():
            draft.change(abandoned=True)
        case ConversationEnded():
            conversation_ended(draft, event)
        case Terminate():
            hang_up(draft, EndReason.API)
        case TimerFired():
            _timer_fired(draft, event.timer)


def _after_the_end(draft: Draft, event: Event) -> None:
    """Nothing changes any more; but what only now turns out to be there must go."""
    if isinstance(event, StreamStarted):
        draft.command(EndMedia(draft.state.end_reason or EndReason.SYSTEM))
        return
    if not isinstance(event, Dialled | TwilioStatus) or not event.twilio_sid:
        return
    if draft.state.twilio_sid is None:
        draft.change(twilio_sid=event.twilio_sid)
        word = _TWILIO_WORDS.get(event.status or "") if isinstance(event, TwilioStatus) else None
        if isinstance(event, Dialled) or (word and not word.is_terminal):
            draft.command(HangUp(event.twilio_sid))


def _is_unknown_to_twilio(draft: Draft) -> bool:
    return draft.state.twilio_sid is None and draft.state.dialled and not draft.is_answered


# --- what Twilio says ------------------------------------------------------------------------


def _twilio_said(draft: Draft, event: TwilioStatus) -> None:
    known = draft.state.twilio_sid
    if known and event.twilio_sid != known and (event.twilio_sid or event.status is None):
        return  # of another call, or a search that was overtaken by the call's own news
    if event.status is None:
        _no_such_call(draft)
        return
    if event.twilio_sid:
        learn_sid(draft, event.twilio_sid)
    word = _TWILIO_WORDS.get(event.status)
    if word is None:
        return
    if word.is_terminal:
        end(draft, word)
    elif word is CallStatus.IN_PROGRESS:
        answered(draft)
    elif word is CallStatus.RINGING and draft.state.status is CallStatus.INITIATED:
        wait_for_the_answer(draft, CallStatus.RINGING)
    elif word is CallStatus.INITIATED and _is_still_queued(draft):
        draft.change(look_ups=min(draft.state.look_ups, draft.state.patience.tries // 2))


def _is_still_queued(draft: Draft) -> bool:
    return draft.at < (draft.state.placed_at or 0.0) + draft.state.patience.queue_secs


def _no_such_call(draft: Draft) -> None:
    if draft.state.twilio_sid is None:
        draft.change(not_found=draft.state.not_found + 1)
        if draft.state.not_found < draft.state.patience.not_found_tries:
            check_later(draft)
            return
    if draft.is_answered:
        end(draft, CallStatus.COMPLETED)
    else:
        end(draft, CallStatus.FAILED, error="Twilio knows no such call.")


# --- timers ----------------------------------------------------------------------------------


def _timer_fired(draft: Draft, timer: Timer) -> None:
    deadline = draft.state.deadlines.get(timer)
    if deadline is None or draft.at < deadline:
        return  # it was set anew or cancelled while this event was on its way
    draft.forget(timer)
    match timer:
        case Timer.LIMIT:
            hang_up(draft, EndReason.LIMIT)
        case Timer.HANG_UP:
            hang_up(draft, EndReason.SYSTEM)
        case Timer.RING:
            draft.change(look_ups=0)
            look_up(draft)
        case Timer.RECONCILE:
            _reconcile(draft)


def _may_still_change(draft: Draft) -> bool:
    """The phone may still ring, or the conversation goes on: look-ups without news are normal."""
    if draft.state.hanging_up:
        return False
    return draft.is_answered or Timer.RING in draft.state.deadlines


def _reconcile(draft: Draft) -> None:
    state, sid = draft.state, draft.state.twilio_sid
    if state.hanging_up and sid:
        if state.hang_ups >= state.patience.tries:
            end_without_twilio(draft)
        else:
            tell_twilio_to_hang_up(draft, sid)
            look_up(draft)
    elif state.look_ups < state.patience.tries or _may_still_change(draft):
        look_up(draft)
    elif sid:
        hang_up(draft, EndReason.SYSTEM)
    else:
        end_without_twilio(draft)
