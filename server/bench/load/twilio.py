"""Twilio under load: REST API, TwiML and callbacks as ever, and telephones that cost little."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Self

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.pacer import Pacer
from server.bench.load.phone import LoadPhone
from server.emulators.twilio import TwilioEmulator
from server.emulators.twilio.behaviour import Behaviour
from server.emulators.twilio.call import EmulatedCall
from server.emulators.twilio.call_state import CallState
from server.emulators.twilio.conversation import Conversation
from server.emulators.twilio.line import Line
from server.emulators.twilio.order import Order
from server.emulators.twilio.twiml import Say


class LoadTwilio(TwilioEmulator):
    """A Twilio whose calls are those of `calls`, by the numbers dialled."""

    def __init__(self, pacer: Pacer, calls: Mapping[str, LoadedCall], our_number: str) -> None:
        super().__init__(numbers=[our_number])
        self._pacer = pacer
        self._loaded = calls

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._exchange = replace(self._exchange, conversation=self._conversation)
        return self

    def forget(self, calls: Collection[EmulatedCall]) -> None:
        """Keep nothing of calls that are over, nor of the requests about them."""
        self._calls = [call for call in self._calls if call not in calls]
        self.requests.clear()

    def _conversation(self, call: EmulatedCall) -> Conversation:
        return _LoadConversation(call, self._loaded[call.order.to], self._pacer)

    def _begin(self, order: Order, behaviour: Behaviour, *, inbound: bool) -> EmulatedCall:
        call = _LoadCall(self._exchange, order, behaviour, inbound=inbound)
        self._calls.append(call)
        self._changes.happened()
        return call


class _LoadCall(EmulatedCall):
    """A call whose line nobody keeps the time of: its stream does."""

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
        self._media_stream = partial(LoadPhone, loaded, pacer)

    async def _say(self, verb: Say) -> None:
        self._loaded.problems.append(f"Twilio says: {verb.text}")
