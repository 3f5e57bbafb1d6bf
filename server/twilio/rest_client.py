"""TwilioTelephone: places, ends and looks up calls by Twilio's REST API, with the SDK in threads.

Calls.create has no idempotency key. So a dial is either refused (no phone rings), or uncertain: it
must be looked up, and never repeated.

    no connection, no TLS, 4xx         ──▶ DialRefused     (nothing was placed)
    time-out while reading, reset, 5xx ──▶ DialUncertain   (it may ring)

Source: https://www.twilio.com/docs/voice/api/call-resource
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from loguru import logger
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client
from urllib3.exceptions import HTTPError

from agent.clock import utc_datetime
from agent.ports import DialRefused, DialRequest, DialUncertain, TelephoneCall
from server.twilio.rest_http import REST_ROOT, NotSent, TwilioHttp

TIMEOUT_SECS = 10.0
THREADS = 8
# Without `initiated`, which the response tells, and `answered`, which the TwiML request tells.
EVENTS = ["ringing", "completed"]
# How much Twilio's clock and ours may differ.
CLOCK_MARGIN = timedelta(seconds=5)
NOT_FOUND = 404
TOO_MANY = 429
# How many call SIDs are remembered as taken until the record has them.
TAKEN_AT_MOST = 1000

T = TypeVar("T")
Known = Callable[[str], Awaitable[bool]]


class TwilioTelephone:
    """`Telephone` over Twilio. `known` tells whether a call SID is in the record.

    Raises: OSError, ValueError, as `TwilioHttp` does.
    """

    def __init__(
        self,
        *,
        account_sid: str,
        auth_token: str,
        base_url: str,
        known: Known,
        rest_root: str | None = None,
        timeout_secs: float = TIMEOUT_SECS,
    ) -> None:
        self._http = TwilioHttp(
            rest_root or REST_ROOT, timeout_secs=timeout_secs, connections=THREADS
        )
        # The SDK would put a region or an edge of the environment into the root's name. A mapping
        # that is empty counts as none.
        environment = None if rest_root is None else {"TWILIO_REGION": ""}
        client = Client(account_sid, auth_token, http_client=self._http, environment=environment)
        # Resolved now, because the SDK imports this API on first use, which takes a while.
        self._calls = client.calls
        self._base_url = base_url
        self._known = known
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="twilio")
        # Call SID → the call of ours that has it, oldest first.
        self._taken: dict[str, str] = {}

    def close(self) -> None:
        """Stop the threads, without waiting for requests under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.session.close()

    async def dial(self, request: DialRequest) -> str:
        """Place the call once and return its SID.

        Raises: DialRefused, DialUncertain.
        """
        create = partial(
            self._calls.create,
            to=request.to,
            from_=request.from_,
            url=self._twiml_url(request.call_id),
            method="POST",
            status_callback=f"{self._base_url}/twilio/status/{request.call_id}",
            status_callback_event=EVENTS,
            status_callback_method="POST",
            timeout=request.ring_timeout_secs,
        )
        try:
            sid = str((await self._in_thread(create)).sid)
        except TwilioRestException as error:
            if error.status >= 500:
                raise DialUncertain(f"Twilio answered with HTTP {error.status}.") from error
            raise DialRefused(f"Twilio refused the call: {error.msg}", error.code) from error
        except NotSent as error:
            raise DialRefused("Twilio could not be reached.") from error
        except (HTTPError, OSError) as error:
            raise DialUncertain("Twilio did not answer.") from error
        except (TwilioException, ValueError) as error:
            raise DialUncertain("Twilio's answer was not understood.") from error
        self._take(sid, request)
        return sid

    async def hang_up(self, twilio_sid: str) -> None:
        """End the call. Does nothing when it has ended already, or Twilio does not know it."""
        call = self._calls(twilio_sid)
        try:
            # `completed` also ends a ringing call; `canceled` would end only that.
            await self._in_thread(partial(call.update, status="completed"))
        except TwilioRestException as error:
            if error.status >= 500 or error.status in (401, 403, TOO_MANY):
                raise
            logger.debug("Twilio had no such call to hang up", code=error.code)

    async def redirect(self, twilio_sid: str, call_id: str) -> bool:
        """Have Twilio fetch the call's TwiML again, which ends its stream; False: it has ended.

        Source: https://www.twilio.com/docs/voice/tutorials/how-to-modify-calls-in-progress
        """
        update = partial(
            self._calls(twilio_sid).update, url=self._twiml_url(call_id), method="POST"
        )
        try:
            await self._in_thread(update)
        except TwilioRestException as error:
            if error.status >= 500 or error.status in (401, 403, TOO_MANY):
                raise
            logger.debug("Twilio had no such call to redirect", code=error.code)
            return False
        return True

    async def look_up(self, twilio_sid: str) -> TelephoneCall | None:
        """The call's status at Twilio; None when Twilio knows no such call."""
        try:
            call = await self._in_thread(self._calls(twilio_sid).fetch)
        except TwilioRestException as error:
            if error.status == NOT_FOUND:
                return None
            raise
        return TelephoneCall(str(call.sid), str(call.status))

    async def find(self, request: DialRequest) -> TelephoneCall | None:
        """Find the call that an uncertain `dial` may have placed; None when there is none."""
        since = utc_datetime(request.placed_at) - CLOCK_MARGIN
        recent = await self._in_thread(
            partial(self._calls.list, to=request.to, from_=request.from_, limit=20)
        )
        candidates = [call for call in recent if call.date_created and call.date_created >= since]
        for call in sorted(candidates, key=lambda call: call.date_created or datetime.now(UTC)):
            sid = str(call.sid)
            # Taken at once, so that a concurrent `find` does not return the same call.
            if not await self._known(sid) and self._take(sid, request):
                return TelephoneCall(sid, str(call.status))
        return None

    def _twiml_url(self, call_id: str) -> str:
        return f"{self._base_url}/twilio/twiml/{call_id}"

    def _take(self, sid: str, request: DialRequest) -> bool:
        if self._taken.setdefault(sid, request.call_id) != request.call_id:
            return False
        while len(self._taken) > TAKEN_AT_MOST:
            del self._taken[next(iter(self._taken))]
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
