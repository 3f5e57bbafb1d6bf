"""People on the phone who do what a list of steps cannot say."""

from server.emulators.twilio import Handset, TwilioEmulator
from tests.e2e.conftest import OPENING

STOP = "Stop please."


async def interrupts(phone: Handset) -> None:
    """Asks, and cuts the answer short."""
    await phone.listen_until_silence()
    await phone.say(OPENING)
    await phone.hears_speech()
    await phone.pause(1.5)
    await phone.say(STOP)
    await phone.listen_until_silence()
    phone.hang_up()


async def loses_the_stream(phone: Handset, twilio: TwilioEmulator) -> None:
    """Asks over the second stream of the call, once the first one was lost."""
    call = twilio.calls[0]
    call.lose_stream()
    await twilio.until(lambda: len(call.record.all("stream.started")) == 2)
    await phone.say(OPENING)
    await phone.listen_until_silence()
    phone.hang_up()
