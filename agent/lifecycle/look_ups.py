"""Look-ups: asking Twilio what has become of a call, with growing pauses.

check_soon ── 5 s ──▶ look_up ── 10 s ──▶ look_up ── 20 s ──▶ … at most every 5 min
"""

from agent.lifecycle.draft import Draft
from agent.lifecycle.events import LookUp, Timer


def check_soon(draft: Draft) -> None:
    """Ask Twilio after the first, short pause."""
    draft.change(look_ups=0)
    draft.arm(Timer.RECONCILE, draft.at + draft.state.patience.reconcile_secs)


def look_up(draft: Draft) -> None:
    """Ask Twilio now, and again after a pause."""
    draft.change(look_ups=draft.state.look_ups + 1)
    draft.command(LookUp(draft.state.twilio_sid))
    check_later(draft)


def check_later(draft: Draft) -> None:
    """Ask Twilio after a pause that doubles with each look-up; the longest while a stream goes."""
    state, patience = draft.state, draft.state.patience
    pause_secs = patience.reconcile_at_most_secs
    if not state.stream_sid or state.hanging_up:
        doubled = patience.reconcile_secs * float(2 ** min(state.look_ups, 30))
        pause_secs = min(doubled, pause_secs)
    draft.arm(Timer.RECONCILE, draft.at + pause_secs)
