"""`<Dial>`: another phone rings, and the two people hear each other."""

import asyncio

from server.emulators.twilio.behaviour import Answer, Ring, ring
from server.emulators.twilio.call import EmulatedCall
from server.emulators.twilio.handset import Handset
from server.emulators.twilio.line import Line
from server.emulators.twilio.mulaw import PACKET, SILENCE
from server.emulators.twilio.person import Person, live_through
from server.emulators.twilio.record import CallRecord, Moment, Transfer
from server.emulators.twilio.twiml import Dial
from server.emulators.twilio.waiting import Changes

# What two clocks may be apart without a hole in what is heard.
_LEAD = bytes((SILENCE,)) * (2 * PACKET)


async def transfer(call: EmulatedCall, verb: Dial) -> Transfer:
    """Ring the number and let both talk until one of them hangs up.

    A number that nobody was registered for counts as connected, and is over at once.
    """
    call.record.note("dial", number=verb.number)
    loop = asyncio.get_running_loop()
    behaviour = call.exchange.behaviour(verb.number)
    rung = await ring(behaviour or Answer(), verb.timeout_secs)
    started = loop.time()
    status = "completed" if rung.outcome is Ring.ANSWERED else rung.outcome.value
    if behaviour is not None and rung.person is not None:
        await _talk(call, rung.person)
    done = Transfer(verb.number, status, loop.time() - started)
    call.record.transfers.append(done)
    call.record.note("dialled", number=verb.number, status=status)
    return done


async def _talk(call: EmulatedCall, person: Person) -> None:
    changes = Changes()

    def tell(moment: Moment) -> None:
        call.record.note(f"dial.{moment.kind}", **moment.detail)

    record = CallRecord(tell)
    here = call.answer()
    there = record.line = Line(changes, snr_db=person.snr_db, note=record.note)
    ours, theirs = _Wire(there), _Wire(here)
    here.attach(ours)
    there.attach(theirs)
    phone = Handset(there, record, changes, there.close, person.voice)
    tasks = [
        asyncio.create_task(there.keep_time()),
        asyncio.create_task(live_through(person, phone, record)),
    ]
    try:
        await changes.until(lambda: there.closed)
    finally:
        here.detach(ours)
        there.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class _Wire:
    """Carries one person's voice to the other's ear."""

    def __init__(self, to: Line) -> None:
        self._to = to

    def packet(self, audio: bytes) -> None:
        if not self._to.ear.waiting:
            self._to.hear(_LEAD)
        self._to.hear(audio)

    def reached(self, marks: list[str]) -> None:
        """No marks travel between people."""

    def pressed(self, key: str) -> None:
        """Keys are a beep in the other's ear, and nothing here asks for it."""
