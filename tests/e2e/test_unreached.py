"""A BASE_URL that Twilio cannot reach: the call is answered, and says at its end what was wrong."""

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Person, TwilioEmulator
from tests.e2e.conftest import GREETING
from tests.server.conftest import THEIRS, ServerFactory


async def test_the_call_says_that_base_url_was_not_reached(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.people[THEIRS] = Person()
    async with start_server(base_url="http://127.0.0.1:9") as server:
        call = await server.place(greeting=GREETING)
        answer = await server.http.get(
            f"/calls/{call['id']}/result", params={"wait": 100}, timeout=200
        )
    result = answer.json()
    assert (result["status"], result["end_reason"]) == ("completed", "system")
    assert result["error"].startswith("Twilio has not reached BASE_URL since the call was answered")
    assert result["turns"] == []
