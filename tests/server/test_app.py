"""The app as a whole: what it refuses to start with, and what a restart keeps."""

import pytest

from server.app import create_app
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.settings.settings import Settings, SettingsError
from tests.server.conftest import ServerFactory


def test_a_number_for_a_pipeline_that_there_is_not_stops_the_start() -> None:
    settings = Settings.model_validate({"inbound_numbers": "+15550100=no_such_pipeline"})
    with pytest.raises(SettingsError, match=r"INBOUND_NUMBERS: \+15550100: .*no_such_pipeline"):
        create_app(settings)


async def test_a_call_that_ended_while_the_server_was_away_is_settled_after_it(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    async with start_server() as server:
        call = await server.place()
        await twilio.calls[0].until("ringing")
    twilio.calls[0].hang_up()
    await twilio.calls[0].ended()
    async with start_server() as server:
        result = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 30})
        assert result.status_code == 200
        assert result.json()["ended_at"]
    assert len(twilio.calls) == 1
