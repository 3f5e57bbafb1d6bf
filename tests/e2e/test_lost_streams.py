"""Streams that die while the call should live: the conversation goes on over the next one."""

from server.emulators.twilio import Handset
from tests.e2e.conftest import APOLOGY, AT_NINE, GREETING, OPENING, World, heard, turns
from tests.e2e.people import loses_the_stream


async def test_a_conversation_goes_on_over_the_next_stream(world: World) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await loses_the_stream(phone, world.twilio)

    call = await world.dial(person)
    result = await world.result(call)
    assert heard(call, GREETING, AT_NINE) == [GREETING, AT_NINE]
    assert len(world.gemini.sessions) == 1, "the model's session was never left"
    assert [text for _, text, _ in turns(result)] == [GREETING, OPENING, AT_NINE]
    assert (result["status"], result["end_reason"]) == ("completed", "caller")


async def test_streams_that_die_again_and_again_end_in_an_apology(world: World) -> None:
    async def person(phone: Handset) -> None:
        call = world.twilio.calls[0]
        for number in range(1, 4):
            await world.twilio.until(lambda n=number: len(call.record.all("stream.started")) == n)
            call.lose_stream()
        await phone.until_hung_up()

    call = await world.dial(person)
    result = await world.result(call)
    assert (result["status"], result["end_reason"]) == ("completed", "system")
    assert len(call.record.all("stream.started")) == 3
    assert APOLOGY in heard(call, APOLOGY, GREETING)
