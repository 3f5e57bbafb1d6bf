"""A call until it is answered: it is placed, it becomes known to Twilio, it rings.

Twilio gives up after RING_TIMEOUT_SECONDS; the timer here notices when its news does not come.
"""

from agent.lifecycle.draft import Draft
from agent.lifecycle.ending import prepare_goodbye, tell_twilio_to_hang_up
from agent.lifecycle.events import Dial, Placed, Timer, Warm
from agent.lifecycle.look_ups import check_soon
from agent.lifecycle.statuses import CallStatus, Direction


def placed(draft: Draft, event: Placed) -> None:
    """Begin the call: prepare to talk, and dial if it is outbound."""
    if draft.state.placed_at is not None:
        return
    inbound = draft.state.direction is Direction.INBOUND
    draft.change(
        placed_at=event.at,
        ring_timeout_secs=event.ring_timeout_secs,
        max_duration_secs=event.max_duration_secs,
        twilio_sid=event.twilio_sid,
        dialled=not inbound,
    )
    wait_for_the_answer(draft, CallStatus.RINGING if inbound else CallStatus.INITIATED)
    draft.command(Warm())
    if not inbound:
        draft.command(Dial())


def learn_sid(draft: Draft, twilio_sid: str) -> None:
    """Twilio has the call, under this SID; a hang-up that waited for the SID goes out."""
    if draft.state.twilio_sid is not None:
        return
    draft.change(twilio_sid=twilio_sid, look_ups=0)
    if draft.state.hanging_up:
        tell_twilio_to_hang_up(draft, twilio_sid)
        check_soon(draft)
    elif not draft.is_answered:
        check_soon(draft)


def wait_for_the_answer(draft: Draft, status: CallStatus) -> None:
    """Wait as long as the phone may ring, in `status`, before Twilio is asked."""
    draft.change(status=status, look_ups=0)
    if draft.state.hanging_up:
        return
    ring_secs = draft.state.ring_timeout_secs + draft.state.patience.ring_margin_secs
    draft.arm(Timer.RING, draft.at + ring_secs)
    # Until Twilio has answered a dial, there is nothing to ask for.
    if draft.state.twilio_sid:
        check_soon(draft)


def answered(draft: Draft) -> None:
    """Somebody picked up; from now on the call lasts no longer than it may."""
    if draft.is_answered:
        return
    draft.change(status=CallStatus.IN_PROGRESS, answered_at=draft.at, look_ups=0)
    draft.disarm(Timer.RING)
    if draft.state.hanging_up:
        return
    patience = draft.state.patience
    limit_secs = draft.state.max_duration_secs + patience.limit_margin_secs
    draft.arm(Timer.LIMIT, draft.at + limit_secs)
    draft.arm(Timer.RECONCILE, draft.at + patience.reconcile_at_most_secs)
    prepare_goodbye(draft)
