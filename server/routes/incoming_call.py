"""Takes calls that come in: within capacity, else a sentence, or a place in the waiting line.

this instance stops, another does not    ─▶ Twilio asks again, and reaches that one
free place, and nobody has waited longer ─▶ record, prepared pipeline ─▶ conversation
INBOUND_QUEUE_SECONDS are not over       ─▶ a pause, then Twilio asks again
otherwise                                ─▶ "All our lines are busy", and no record
"""

from loguru import logger

from agent.lifecycle.events import Placed
from agent.profile import AgentProfile
from agent.record.models import Call
from server.resources import Resources
from server.start_up.pipelines import new_inbound_call
from server.twilio import twiml

# How often a caller who waits asks again, and how often they are told to wait, in seconds.
ASKS_EVERY_SECS = 5
TOLD_EVERY_SECS = 20


class NotTaken(Exception):
    """No conversation begins; `twiml` is the document that says so."""

    def __init__(self, document: str) -> None:
        super().__init__("no conversation begins")
        self.twiml = document


async def take_call(sid: str, ours: str, theirs: str, opened: Resources) -> Call:
    """Begin the call with this CallSid, from `theirs` to `ours`. Raises: NotTaken."""
    call = new_inbound_call(opened.settings, ours)
    if call is None:
        opened.metrics.rejected.labels("inbound_number").inc()
        raise NotTaken(twiml.say_and_hang_up("not_in_service", "en"))
    call.phone_number, call.twilio_sid = theirs or "unknown", sid
    profile = AgentProfile.model_validate(call.profile)
    await _admit(call, profile.language, opened)
    pooled = None if opened.pool is None else opened.pool.take(ours)
    if pooled is not None:
        await opened.registry.places.hold_as(call, pooled.call.id)
        pooled.running.comes_from(call.phone_number)
        opened.registry.adopt(call, pooled.running)
    call = await _open(call, profile, opened)
    if pooled is not None and call.id == pooled.call.id:
        pooled.record.release(opened.recorder(call.id))
    await opened.registry.until_prepared(call.id, opened.settings.answer_hold_ms / 1000)
    return call


async def _admit(call: Call, language: str, opened: Resources) -> None:
    """Take a place for the call when it is its turn. Raises: NotTaken."""
    longest, sid = opened.settings.inbound_queue_seconds, call.twilio_sid
    assert sid is not None, "an incoming call has one"
    if opened.registry.places.draining and await _another_takes_calls(opened):
        raise NotTaken(_asks_again(None, language, 1, opened))
    if not longest:
        if not await opened.registry.places.admit(call):
            raise _busy(language, opened)
        return
    place = await opened.waiting_line.stand(sid)
    if await opened.registry.places.admit(call, place.ahead):
        await opened.waiting_line.leave(sid)
        if place.waited_secs:
            opened.metrics.waited_in_line.labels("taken").observe(place.waited_secs)
        return
    if place.waited_secs >= longest:
        await opened.waiting_line.leave(sid)
        opened.metrics.waited_in_line.labels("too_long").observe(place.waited_secs)
        raise _busy(language, opened)
    is_told = place.waited_secs % TOLD_EVERY_SECS < ASKS_EVERY_SECS
    raise NotTaken(
        _asks_again("please_hold" if is_told else None, language, ASKS_EVERY_SECS, opened)
    )


def _asks_again(sentence: str | None, language: str, secs: int, opened: Resources) -> str:
    next_url = f"{opened.settings.base_url}/twilio/inbound"
    return twiml.wait(sentence, language, secs=secs, next_url=next_url)


async def _another_takes_calls(opened: Resources) -> bool:
    """Whether Twilio, when it asks again, may reach an instance that does not stop."""
    try:
        instances = await opened.live_calls.instances()
    except Exception as error:  # redis-py's, which is not imported without REDIS_URL
        logger.warning("Other instances are not known", error=type(error).__name__)
        return False
    here = opened.registry.instance
    return any(not report.draining for name, report in instances.items() if name != here)


async def hung_up(sid: str, opened: Resources) -> bool:
    """A call that has no record is over: whether its caller waited in line, and does no more."""
    if not opened.settings.inbound_queue_seconds:
        return False
    waited_secs = await opened.waiting_line.leave(sid)
    if waited_secs is None:
        return False
    opened.metrics.waited_in_line.labels("hung_up").observe(waited_secs)
    return True


def _busy(language: str, opened: Resources) -> NotTaken:
    opened.metrics.rejected.labels("capacity").inc()
    return NotTaken(twiml.say_and_hang_up("busy", language))


async def _open(call: Call, profile: AgentProfile, opened: Resources) -> Call:
    placed = Placed(
        opened.clock(),
        inbound=True,
        twilio_sid=call.twilio_sid,
        max_duration_secs=profile.max_duration_seconds,
    )
    reserved = call.id
    try:
        kept = await opened.life.place(call, placed)
    except BaseException:
        await opened.registry.release(reserved)
        raise
    if kept.id != reserved:
        await opened.registry.release(reserved)
    logger.info("A call came in", call_id=kept.id, personal_from=kept.phone_number)
    return kept
