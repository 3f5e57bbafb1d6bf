"""Tools that exit, or hang: their call goes on, and so do the server and the other calls."""

import pytest

from server.emulators.gemini_live import Script
from server.emulators.twilio import HangUp, Person, Say, WaitForAgent
from tests.e2e.conftest import GREETING, World, turns

ASKED = "Please pay my bill."
SORRY = "I am sorry, that does not work."
LET_GO = 'voice_ai_tools_let_go_total{tool="find_technician"}'


def script(tool: str, arguments: dict[str, str], error: str) -> Script:
    answered = {"tool_result": tool, "where": {"error": error}, "say": SORRY}
    return Script.parse(
        {"rules": [{"hears": ASKED, "call": {"name": tool, "args": arguments}}, answered]}
    )


@pytest.mark.parametrize(
    ("tool", "arguments", "error", "let_go"),
    [
        ("pay_bill", {"number": "7"}, "This does not work at the moment.", 0),
        ("find_technician", {"town": "Linz"}, "This takes too long at the moment.", 1),
    ],
)
async def test_a_tool_that_exits_or_hangs_is_answered_and_the_server_takes_calls(
    world: World, tool: str, arguments: dict[str, str], error: str, let_go: int
) -> None:
    world.gemini.script = script(tool, arguments, error)
    for number in (1, 2):
        person = Person([WaitForAgent(), Say(ASKED), WaitForAgent(), HangUp()])
        call = await world.dial(person, pipeline="practice")
        result = await world.result(call)
        assert result["end_reason"] == "caller"
        said = [text for who, text, _ in turns(result) if who == "agent"]
        assert said == [GREETING, SORRY]
        assert await world.server.metric(LET_GO) == number * let_go
    assert (await world.server.http.get("/health/ready")).json()["checks"]["record"] == "ok"
