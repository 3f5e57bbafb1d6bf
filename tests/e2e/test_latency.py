"""What the record tells of a call's latency is what the phone at the other end sees."""

from collections.abc import Iterator

import pytest

from server.emulators.gemini_live import Script
from server.emulators.twilio import EmulatedCall, Handset
from tests.e2e.conftest import AT_NINE, OPENING, World

STOP = "Stop please."
LONG = "One is for sales, two is for service, three is for the office, four is for the shop."
# Two clocks of one conversation, one by loudness and one by the words that were played.
SAME_MS = 250


async def impatient(phone: Handset) -> None:
    """Asks, and cuts the answer short with something else."""
    await phone.listen_until_silence()
    await phone.say(OPENING)
    await phone.hears_speech()
    await phone.pause(1.5)
    await phone.say(STOP)
    await phone.listen_until_silence()
    phone.hang_up()


@pytest.mark.real_time
async def test_the_record_tells_the_latencies_that_the_phone_sees(world: World) -> None:
    world.gemini.script = Script.parse(
        {"rules": [{"hears": OPENING, "say": LONG}, {"hears": STOP, "say": AT_NINE}]}
    )
    vad = {"prefix_padding_ms": 200, "silence_duration_ms": 500}
    call = await world.dial(impatient, vad_config=vad)
    latency = (await world.result(call))["latency"]

    first_sound = call.record.first_sound_secs
    assert first_sound is not None
    assert latency["first_sound_ms"] == pytest.approx(first_sound * 1000, abs=SAME_MS)
    responses = latency["response_ms"]
    assert responses["each"] == pytest.approx([*waited_ms(call)], abs=SAME_MS)
    # Gemini waits for half a second of silence before it thinks.
    assert min(responses["each"]) > 500
    assert min(responses["each"]) <= responses["p50"] <= responses["max"] == max(responses["each"])

    cleared = call.record.first("clear")
    assert cleared is not None
    interrupting = next(said for said in call.record.said if said.text == STOP)
    until_clear = (call.record.secs(cleared) - interrupting.start_secs) * 1000
    assert latency["barge_in_ms"] == pytest.approx([until_clear], abs=SAME_MS)

    # Nearly all that a caller waits for is Gemini's.
    for share in latency["share_ms"].values():
        assert 0 < share < responses["p50"] / 10
    lines = {
        "first_sound": latency["first_sound_ms"],
        "turn_response": sum(responses["each"]),
        "barge_in": sum(latency["barge_in_ms"]),
    }
    for name, ms in lines.items():
        counted = await world.server.metric(f"voice_ai_{name}_seconds_sum")
        assert counted * 1000 == pytest.approx(ms, abs=1)


def waited_ms(call: EmulatedCall) -> Iterator[float]:
    """From the end of each sentence of the caller's to what the phone then heard."""
    heard = call.record.agent_speech()
    for said in call.record.said:
        answer = next(span for span in heard if span.start_secs > said.end_secs)
        yield (answer.start_secs - said.end_secs) * 1000
