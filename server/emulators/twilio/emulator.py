"""Twilio on loopback: its REST API, its telephones and the people on them.

async with TwilioEmulator(numbers=["+15550001"]) as twilio:
    twilio.people["+15550100"] = Answer(Person([Say("Hello?")]), ring_secs=2)
    …  # TWILIO_API_BASE_URL=twilio.url, and the application dials
    call = await twilio.call_placed()
    await call.ended()
"""

import asyncio
import ssl
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from server.emulators.twilio.behaviour import QUIET, Answer, Behaviour, Invalid, behaviour_of
from server.emulators.twilio.call import EmulatedCall, Exchange
from server.emulators.twilio.callbacks import Subscription
from server.emulators.twilio.conversation import Conversation
from server.emulators.twilio.errors import Code, RestError
from server.emulators.twilio.faults import CallbackPlan, RestFault
from server.emulators.twilio.faults import Request as Kind
from server.emulators.twilio.listening import listening
from server.emulators.twilio.order import Document, Form, Order, read_order
from server.emulators.twilio.person import Person, PersonFunction
from server.emulators.twilio.record import Moment
from server.emulators.twilio.rest import create_rest
from server.emulators.twilio.waiting import Changes
from server.emulators.twilio.webhooks import ANSWER_WITHIN_SECS, CONNECT_WITHIN_SECS, Webhooks

Somebody = Behaviour | Person | PersonFunction
OUR_NUMBER = "+15550001"


@dataclass(frozen=True, slots=True)
class RestRequest:
    """A request to the REST API; `status` None: it was left without an answer."""

    method: str
    path: str
    form: dict[str, list[str]]
    status: int | None


class TwilioEmulator:
    """One account at Twilio, with the phones it can reach.

    `numbers` are ours: calls are placed from them. `people` says what happens at the numbers
    called, `anyone` at all others. `callbacks` may be replaced at any time. `on_moment` is told
    everything as it happens.
    """

    def __init__(
        self,
        *,
        account_sid: str | None = None,
        auth_token: str = "emulated-auth-token",  # noqa: S107 (a token that opens nothing)
        numbers: Collection[str] = (OUR_NUMBER,),
        people: Mapping[str, Somebody] | None = None,
        anyone: Somebody = QUIET,
        callbacks: CallbackPlan | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_moment: Callable[[EmulatedCall, Moment], None] | None = None,
    ) -> None:
        self.account_sid = account_sid or "AC" + uuid4().hex
        self.auth_token = auth_token
        self.numbers = frozenset(numbers)
        # As Twilio's console sets them: the voice webhook of each number; numbers without voice.
        self.voice_urls: dict[str, str] = {}
        self.mute_numbers: set[str] = set()
        self.account_status = "active"
        self.people: dict[str, Somebody] = dict(people or {})
        self.anyone = anyone
        self.callbacks = callbacks or CallbackPlan()
        self.requests: list[RestRequest] = []
        self._calls: list[EmulatedCall] = []
        # What shall still go wrong.
        self.faults: list[RestFault] = []
        self._changes = Changes()
        self._on_moment = on_moment
        self._host, self._port = host, port
        self._tls = tls
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        client = httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_WITHIN_SECS, connect=CONNECT_WITHIN_SECS, pool=None),
            # httpx would let them expire by a clock of its own: the application closes them.
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=20, keepalive_expiry=None
            ),
            trust_env=False,
            verify=self._tls or True,
        )
        async with AsyncExitStack() as opening:
            self._exchange = Exchange(
                account_sid=self.account_sid,
                auth_token=self.auth_token,
                numbers=self.numbers,
                webhooks=Webhooks(self.auth_token, await opening.enter_async_context(client)),
                plan=lambda: self.callbacks,
                behaviour=self._registered,
                tell=self._tell,
                conversation=Conversation,
                tls=self._tls,
            )
            self._port = await opening.enter_async_context(
                listening(create_rest(self, self._closing), self._host, self._port)
            )
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        await asyncio.gather(*(call.close() for call in self._calls))
        await self._open.aclose()

    @property
    def url(self) -> str:
        """The root of the REST API."""
        return f"http://{self._host}:{self._port}"

    @property
    def calls(self) -> list[EmulatedCall]:
        """Every call, oldest first."""
        return self._calls

    def environment(self) -> dict[str, str]:
        """What an application needs in its environment to use this Twilio."""
        return {
            "TWILIO_API_BASE_URL": self.url,
            "TWILIO_ACCOUNT_SID": self.account_sid,
            "TWILIO_AUTH_TOKEN": self.auth_token,
            "TWILIO_PHONE_NUMBER": min(self.numbers),
        }

    def fail_next(self, *faults: RestFault) -> None:
        """Let the next requests of the faults' kinds go wrong, one each, in this order."""
        self.faults.extend(faults)

    async def call_placed(self, *, to: str | None = None, number: int = 1) -> EmulatedCall:
        """Wait for the n-th call (to a number)."""

        def matching() -> list[EmulatedCall]:
            return [call for call in self._calls if to in (None, call.order.to)]

        await self._changes.until(lambda: len(matching()) >= number)
        return matching()[number - 1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that calls or requests bring about."""
        await self._changes.until(condition)

    async def call_in(
        self,
        from_: str,
        to: str,
        voice_url: str,
        person: Person | PersonFunction = QUIET,
        *,
        ring_secs: float = 0.0,
        status_callback: str | None = None,
        fallback_url: str | None = None,
    ) -> EmulatedCall:
        """Somebody calls one of our numbers: Twilio asks `voice_url` what to do.

        `status_callback` is told of the end, as with a number's status callback at Twilio.
        """
        order = Order(
            from_=from_,
            to=to,
            document=Document(voice_url),
            fallback=Document(fallback_url) if fallback_url else None,
            subscription=Subscription(status_callback),
        )
        someone = person if isinstance(person, Person) else Person(person)
        return self._begin(order, Answer(someone, ring_secs), inbound=True)

    def place(self, form: Form) -> EmulatedCall:
        """Place the call that a form describes.

        Raises: RestError as Twilio refuses it.
        """
        order = read_order(form, self.numbers)
        behaviour = self._registered(order.to) or behaviour_of(self.anyone)
        if isinstance(behaviour, Invalid):
            raise RestError(Code.BAD_TO, f"The phone number {order.to} is not valid.")
        return self._begin(order, behaviour, inbound=False)

    def next_fault(self, kind: Kind) -> RestFault | None:
        """Take the first fault that is meant for this kind of request."""
        for fault in self.faults:
            if fault.on in (kind, "any"):
                self.faults.remove(fault)
                self._changes.happened()
                return fault
        return None

    def seen(self, method: str, path: str, form: Form, status: int | None) -> None:
        """Keep a request."""
        kept = {name: list(values) for name, values in form.items()}
        self.requests.append(RestRequest(method, path, kept, status))
        self._changes.happened()

    def _begin(self, order: Order, behaviour: Behaviour, *, inbound: bool) -> EmulatedCall:
        call = EmulatedCall(self._exchange, order, behaviour, inbound=inbound)
        self._calls.append(call)
        self._changes.happened()
        return call

    def _registered(self, number: str) -> Behaviour | None:
        somebody = self.people.get(number)
        return None if somebody is None else behaviour_of(somebody)

    def _tell(self, call: EmulatedCall, moment: Moment) -> None:
        if self._on_moment is not None:
            self._on_moment(call, moment)
        self._changes.happened()
