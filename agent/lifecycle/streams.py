"""The media streams of a call, and the TwiML that Twilio fetches before and between them."""

from agent.lifecycle.draft import Draft
from agent.lifecycle.ending import apologise, time_for_last_words
from agent.lifecycle.events import EndMedia, StreamEnded, StreamStarted, Timer
from agent.lifecycle.look_ups import check_later, check_soon
from agent.lifecycle.ringing import answered
from agent.lifecycle.state import Apologise, OpenStream, TransferVerb, next_verbs
from agent.lifecycle.statuses import Direction, EndReason


def twiml_fetched(draft: Draft) -> None:
    """Twilio asks what to do next: the answer is given, or a stream has ended."""
    _is_carried_on(draft)
    # An inbound call's first document is what answers it; every other fetch means an answer.
    if draft.state.direction is Direction.OUTBOUND or draft.state.stream_due:
        answered(draft)
    match next_verbs(draft.state):
        case TransferVerb():
            draft.disarm(Timer.HANG_UP)
        case Apologise():
            time_for_last_words(draft)
        case OpenStream() if draft.state.stream_due:
            _count_short_stream(draft)
        case OpenStream():
            draft.change(stream_due=True)


def stream_started(draft: Draft, event: StreamStarted) -> None:
    """A stream carries the call; one that comes when the conversation is over is closed."""
    _is_carried_on(draft)
    answered(draft)
    if event.stream_sid == draft.state.last_stream_sid:
        return
    draft.change(stream_sid=event.stream_sid, instance=event.instance, stream_due=False, look_ups=0)
    if draft.state.end_reason:
        draft.command(EndMedia(draft.state.end_reason))
    else:
        check_later(draft)


def stream_ended(draft: Draft, event: StreamEnded) -> None:
    """A stream closed: Twilio is asked soon, unless it fetches TwiML before."""
    if event.stream_sid == draft.state.last_stream_sid:
        # By an instance that was taken for stopped.
        _is_carried_on(draft)
        return
    answered(draft)
    draft.change(last_stream_sid=event.stream_sid)
    if event.stream_sid == draft.state.stream_sid:
        draft.change(stream_sid=None, instance=None)
        if not draft.state.hanging_up:
            check_soon(draft)
    if draft.state.end_reason is None:
        if event.carried_secs < draft.state.patience.short_stream_secs:
            _count_short_stream(draft)
        else:
            draft.change(short_streams=0)


def _count_short_stream(draft: Draft) -> None:
    draft.change(short_streams=draft.state.short_streams + 1)
    if draft.state.short_streams >= draft.state.patience.short_streams:
        apologise(draft, EndReason.SYSTEM, "The call's media stream broke again and again.")


def _is_carried_on(draft: Draft) -> None:
    if draft.state.abandoned:
        draft.change(abandoned=False)
