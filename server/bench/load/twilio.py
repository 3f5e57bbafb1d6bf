"""Twilio under load: REST API, TwiML and callbacks as ever, and telephones that cost little."""

from collections.abc import Collection, Mapping
from urllib.parse import urljoin

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.pacer import Pacer
from server.bench.load.phone import LoadPhone
from server.emulators.twilio import TwilioEmulator
from server.emulators.twilio.behaviour import Behaviour
from server.emulators.twilio.call import EmulatedCall, Exchange
from server.emulators.twilio.call_state import CallState
from server.emulators.twilio.conversation import Conversation
from server.emulators.twilio.line import Line
from server.emulators.twilio.order import Document, Order
from server.emulators.twilio.twiml import Say, Stream


class LoadTwilio(TwilioEmulator):
    """A Twilio whose calls are those of `calls`, by the numbers dialled."""

    def __init__(self, pacer: Pacer, calls: Mapping[str, LoadedCall], our_number: str) -> None:
        super().__init__(numbers=[our_number])
        self._pacer = pacer
        self._loaded = calls

    def forget(self, calls: Collection[EmulatedCall]) -> None:
        """Keep nothing of calls that are over, nor of the requests about them."""
        self._calls = [call for call in self._calls if call not in calls]
        self.requests.clear()

    def _begin(self, order: Order, behaviour: Behaviour, *, inbound: bool) -> EmulatedCall:
        loaded = self._loaded[order.to]
        call = _LoadCall(self._exchange, order, behaviour, loaded, self._pacer)
        self._calls.append(call)
        self._changes.happened()
        return call


class _LoadCall(EmulatedCall):
    """A call whose line nobody keeps the time of: its stream does."""

    def __init__(
        self,
        exchange: Exchange,
        order: Order,
        behaviour: Behaviour,
        loaded: LoadedCall,
        pacer: Pacer,
    ) -> None:
        super().__init__(exchange, order, behaviour, inbound=False)
        self._conversation = _LoadConversation(self, loaded, pacer)

    def answer(self) -> Line:
        """Pick up, once."""
        if self.line is None:
            self.line = Line(self.changes)
            self._become(CallState.IN_PROGRESS)
        return self.line

    async def _put_down(self) -> set[object]:  # type: ignore[override]
        if self.line is not None:
            self.line.close()
        return set()


class _LoadConversation(Conversation):
    def __init__(self, call: EmulatedCall, loaded: LoadedCall, pacer: Pacer) -> None:
        super().__init__(call)
        self._loaded = loaded
        self._pacer = pacer

    async def _say(self, verb: Say) -> None:
        self._loaded.problems.append(f"Twilio says: {verb.text}")

    async def _stream(self, verb: Stream, base: str) -> Document | None:
        call = self._call
        phone = LoadPhone(
            self._loaded,
            self._pacer,
            url=verb.url,
            parameters=verb.parameters,
            account_sid=call.exchange.account_sid,
            call_sid=call.sid,
            auth_token=call.exchange.auth_token,
        )

        def tell(event: str) -> None:
            if verb.status_callback:
                url = urljoin(base, verb.status_callback)
                form = {
                    "AccountSid": call.exchange.account_sid,
                    "CallSid": call.sid,
                    "StreamSid": phone.sid,
                    "StreamName": verb.name or phone.sid,
                    "StreamEvent": event,
                }
                call.callbacks.send(event, url, verb.status_callback_method, form)

        tell("stream-started")
        try:
            call.record.note("stream.stopped", why=await phone.run())
            self._loaded.problems.append("its stream ended before it was hung up")
        except OSError as problem:
            self._loaded.problems.append(f"no stream: {problem}")
        finally:
            tell("stream-stopped")
        return None
