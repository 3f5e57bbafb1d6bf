"""Ends a call: a goodbye through TwiML, a hang-up until Twilio confirms it, the final state.

conversation over ─┬─ transfer, apology ─▶ last TwiML ─▶ said, or HANG_UP fires ─┐
                   └─ goodbye was heard ─────────────────────────────────────────┤
API, LIMIT ──────────────────────────────────────────────────────────────────────┤
                                                 end ◀── Twilio confirms ◀── hang_up
"""

from agent.lifecycle.draft import Draft
from agent.lifecycle.events import ConversationEnded, EndMedia, HangUp, Release, Timer
from agent.lifecycle.look_ups import check_soon
from agent.lifecycle.state import Apologise, CallState, TransferVerb, next_verbs
from agent.lifecycle.statuses import CallStatus, Direction, EndReason

UNREACHED = (
    "Twilio has not reached BASE_URL since the call was answered, so nobody spoke with the person. "
    "`voice-ai doctor` says why."
)


def conversation_ended(draft: Draft, event: ConversationEnded) -> None:
    """The media side is done: hand the caller on, apologise, or hang up."""
    if draft.state.end_reason is not None:
        return
    try:
        reason = EndReason(event.reason)
    except ValueError:
        reason = EndReason.SYSTEM
    if event.transfer_to:
        error = draft.state.error or event.error
        draft.change(end_reason=reason, transfer_to=event.transfer_to, error=error)
        prepare_goodbye(draft)
    elif reason in (EndReason.NO_MODEL, EndReason.SYSTEM):
        apologise(draft, reason, event.error)
    else:
        hang_up(draft, reason, media_is_done=True)


def apologise(draft: Draft, reason: EndReason, error: str | None) -> None:
    """End the call with a sentence that Twilio says; the first `error` is kept."""
    error = draft.state.error or error
    draft.change(end_reason=reason, apology=reason.value, error=error)
    prepare_goodbye(draft)


def prepare_goodbye(draft: Draft) -> None:
    """Allow an apology or a transfer its time; it waits for the answer, then for the next TwiML."""
    goodbye = next_verbs(draft.state)
    if not draft.is_answered or not isinstance(goodbye, Apologise | TransferVerb):
        return
    time_for_last_words(draft)
    if isinstance(goodbye, TransferVerb):
        draft.arm(Timer.LIMIT, draft.at + draft.state.patience.transfer_secs)


def time_for_last_words(draft: Draft) -> None:
    """Hang up when the last sentence must have been heard."""
    draft.arm(Timer.HANG_UP, draft.at + draft.state.patience.last_words_secs)


def hang_up(draft: Draft, reason: EndReason, *, media_is_done: bool = False) -> None:
    """End the call at Twilio; a reason that is known already is kept."""
    if draft.state.hanging_up:
        return
    reason = draft.state.end_reason or reason
    draft.change(hanging_up=True, end_reason=reason, look_ups=0)
    for timer in (Timer.RING, Timer.LIMIT, Timer.HANG_UP):
        draft.disarm(timer)
    if draft.is_answered and not media_is_done:
        draft.command(EndMedia(reason))
    if draft.state.twilio_sid:
        tell_twilio_to_hang_up(draft, draft.state.twilio_sid)
    check_soon(draft)


def tell_twilio_to_hang_up(draft: Draft, twilio_sid: str) -> None:
    """Ask Twilio for the hang-up, and count it."""
    draft.change(hang_ups=draft.state.hang_ups + 1)
    draft.command(HangUp(twilio_sid))


def end_without_twilio(draft: Draft) -> None:
    """Close the record of a call about which Twilio has been silent for too long."""
    status = CallStatus.COMPLETED if draft.is_answered else CallStatus.FAILED
    end(draft, status, error="Twilio did not say what became of the call.")


def end(draft: Draft, status: CallStatus, *, error: str | None = None) -> None:
    """Set the final status, and let go of everything that the call holds."""
    # An answered call ends `completed` at Twilio; what belongs to an unanswered one is stale.
    if draft.is_answered and status is not CallStatus.FAILED:
        status = CallStatus.COMPLETED
    state = draft.state
    reason = state.end_reason or _reason_of(draft, status)
    if state.abandoned and state.end_reason is None:
        error = error or "The server stopped while the call went on."
    if _is_unreached(state, status):
        error = error or UNREACHED
    for timer in tuple(state.deadlines):
        draft.disarm(timer)
    draft.change(
        status=status,
        end_reason=reason,
        ended_at=draft.at,
        error=state.error or error,
        stream_sid=None,
        instance=None,
    )
    draft.command(EndMedia(reason) if state.answered_at is not None else Release())


def _reason_of(draft: Draft, status: CallStatus) -> EndReason:
    """Who ended a call that nothing of ours has ended."""
    if status is CallStatus.FAILED or draft.state.abandoned or _is_unreached(draft.state, status):
        return EndReason.SYSTEM
    if status is CallStatus.CANCELED and draft.state.direction is Direction.OUTBOUND:
        return EndReason.SYSTEM  # canceled at Twilio, past us
    return EndReason.CALLER


def _is_unreached(state: CallState, status: CallStatus) -> bool:
    """Whether somebody answered our call, but Twilio never fetched its TwiML from us."""
    was_fetched = state.stream_due or state.stream_sid or state.last_stream_sid
    is_ours = state.direction is Direction.OUTBOUND and state.end_reason is None
    return is_ours and status is CallStatus.COMPLETED and not was_fetched
