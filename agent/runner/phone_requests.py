"""PhoneRequests: asks the telephone network to dial, hang up or look up a call of the record.

Nothing is decided or retried here. A failure is logged and recorded as an event of the call; the
rules have a timer for everything that must be retried.
"""

import asyncio
from collections.abc import Callable

from loguru import logger

from agent.clock import utc_datetime
from agent.lifecycle.events import DialFailed, Dialled, DialUnclear, TwilioStatus
from agent.ports import DialRefused, DialRequest, DialUncertain, Telephone
from agent.record.call_log import CallLog
from agent.record.models import CallEvent

# Longer than any timeout of the REST client.
REQUEST_SECS = 30.0
# Concurrent look-ups: a restart with many calls must not exceed Twilio's rate limit.
_LOOK_UPS_AT_A_TIME = 8


class PhoneRequests:
    """Requests to the telephone network, whose answers are lifecycle events."""

    def __init__(self, telephone: Telephone, call_log: CallLog, now: Callable[[], float]) -> None:
        self._telephone = telephone
        self._call_log = call_log
        self._now = now
        self._looking_up = asyncio.Semaphore(_LOOK_UPS_AT_A_TIME)

    async def dial(self, call_id: str) -> Dialled | DialFailed | DialUnclear:
        """Place the call, once."""
        try:
            request = await self._request(call_id)
            async with asyncio.timeout(REQUEST_SECS):
                twilio_sid = await self._telephone.dial(request)
        except DialRefused as refused:
            return DialFailed(self._now(), refused.message)
        except DialUncertain:
            logger.warning("Twilio did not say whether the call was placed")
            return DialUnclear(self._now())
        except Exception as error:
            await self._failed(call_id, "dial", error)
            return DialUnclear(self._now())
        return Dialled(self._now(), twilio_sid)

    async def hang_up(self, call_id: str, twilio_sid: str) -> None:
        """End the call at Twilio, as far as Twilio can be reached."""
        try:
            async with asyncio.timeout(REQUEST_SECS):
                await self._telephone.hang_up(twilio_sid)
        except Exception as error:
            await self._failed(call_id, "hang_up", error)

    async def look_up(self, call_id: str, twilio_sid: str | None) -> TwilioStatus | None:
        """The call's status at Twilio; None when Twilio could not be asked.

        Without a SID, the call that an unclear dial may have placed is searched for.
        """
        try:
            async with self._looking_up, asyncio.timeout(REQUEST_SECS):
                if twilio_sid is None:
                    found = await self._telephone.find(await self._request(call_id))
                else:
                    found = await self._telephone.look_up(twilio_sid)
        except Exception as error:
            await self._failed(call_id, "look_up", error)
            return None
        if found is None:
            return TwilioStatus(self._now(), None, twilio_sid)
        return TwilioStatus(self._now(), found.status, found.twilio_sid)

    async def _request(self, call_id: str) -> DialRequest:
        call = await self._call_log.get(call_id)
        return DialRequest(
            call_id,
            to=call.phone_number,
            from_=call.our_number,
            ring_timeout_secs=int(call.life["ring_timeout_secs"]),
            placed_at=call.created_at.timestamp(),
        )

    async def _failed(self, call_id: str, what: str, error: Exception) -> None:
        logger.bind(what=what).opt(exception=error).error("A request to Twilio failed")
        event = CallEvent(
            call_id=call_id,
            at=utc_datetime(self._now()),
            kind="telephone.failed",
            detail={"what": what, "error": type(error).__name__},
        )
        try:
            await self._call_log.write([event])
        except Exception as unwritten:
            logger.opt(exception=unwritten).error("A failure could not be recorded")
