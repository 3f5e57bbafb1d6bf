"""Look-ups: asking Twilio what has become of a call, with growing pauses.

not answered yet   Dialled ── 10 s ──▶ look_up ── 15 s ──▶ look_up ── 15 s ──▶ …
dial was unclear   DialUnclear ── 3.5 s ──▶ look_up ── 3.5 s ──▶ … while the phone may ring
    "no such call"                       ── 3.5 s ──▶ look_up ── 3.5 s ──▶ … until it counts
later              check_soon ── 5 s ──▶ look_up ── 10 s ──▶ … 60 s; 5 min in a stream or a transfer
"""

from agent.lifecycle.draft import Draft
from agent.lifecycle.events import LookUp, Timer
from agent.lifecycle.state import CallState


def check_soon(draft: Draft) -> None:
    """Ask Twilio after the first, short pause."""
    draft.change(look_ups=0)
    draft.arm(Timer.RECONCILE, draft.at + _pause_secs(draft.state))


def look_up(draft: Draft) -> None:
    """Ask Twilio now, and again after a pause."""
    draft.change(look_ups=draft.state.look_ups + 1)
    draft.command(LookUp(draft.state.twilio_sid))
    check_later(draft)


def check_later(draft: Draft) -> None:
    """Ask Twilio after a pause that grows with each look-up; the longest while a stream goes."""
    draft.arm(Timer.RECONCILE, draft.at + _pause_secs(draft.state))


def _pause_secs(state: CallState) -> float:
    patience = state.patience
    if state.hanging_up:
        return _doubled(state)
    if state.stream_sid:
        return patience.reconcile_at_most_secs
    if state.twilio_sid is None and (Timer.RING in state.deadlines or state.not_found):
        return patience.unclear_dial_secs
    if Timer.RING in state.deadlines:
        longer = patience.unanswered_secs * 1.5 ** min(state.look_ups, 30)
        return min(longer, patience.unanswered_at_most_secs)
    return _doubled(state)


def _doubled(state: CallState) -> float:
    patience = state.patience
    doubled = patience.reconcile_secs * float(2 ** min(state.look_ups, 30))
    is_transferred = state.transfer_to is not None and not state.hanging_up
    longest = patience.reconcile_at_most_secs if is_transferred else patience.unheard_at_most_secs
    return min(doubled, longest)
