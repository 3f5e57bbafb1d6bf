"""What of the model may be changed in a call, and what another instance is told of it."""

import pytest

from agent.call_memory import CallMemory
from agent.profile import AgentProfile
from agent.tools.hang_up import hang_up
from pipelines.gemini.model_controls import Change, UnknownTool
from pipelines.gemini.model_setup import ModelSetup
from pipelines.gemini.tools import as_tool


async def book(day: str) -> str:
    """Book a table.

    Args:
        day: The weekday.
    """
    return f"booked for {day}"


TOOLS = [as_tool(hang_up), as_tool(book)]
PROFILE = AgentProfile(system_prompt="Be kind.", voice="Puck")


def names(setup: ModelSetup) -> list[str]:
    return [tool.name for tool in setup.tools]


def test_a_change_is_in_the_next_config_and_names_its_fields() -> None:
    setup = ModelSetup(PROFILE, TOOLS)
    assert setup.change(Change(system_prompt="Be brief.", tools=["book", "book"])) == [
        "system_prompt",
        "tools",
    ]
    config = setup.config("handle")
    assert config.system_instruction == "Be brief."
    assert config.session_resumption is not None
    assert config.session_resumption.handle == "handle"
    assert (setup.profile.voice, names(setup)) == ("Puck", ["book"])
    assert PROFILE.system_prompt == "Be kind.", "other calls have the same profile"


def test_tools_that_were_taken_away_may_come_back() -> None:
    setup = ModelSetup(PROFILE, TOOLS)
    setup.change(Change(tools=[]))
    assert setup.config(None).tools is None
    setup.change(Change(tools=["book", "hang_up"]))
    assert names(setup) == ["book", "hang_up"]


def test_a_tool_that_the_pipeline_does_not_have_changes_nothing() -> None:
    setup = ModelSetup(PROFILE, TOOLS)
    with pytest.raises(UnknownTool, match=r"'fly'; there are: hang_up, book\."):
        setup.change(Change(system_prompt="Be brief.", tools=["book", "fly"]))
    assert (setup.profile, names(setup)) == (PROFILE, ["hang_up", "book"])
    assert setup.add_to(CallMemory()) == CallMemory()


def test_another_instance_goes_on_with_what_was_changed() -> None:
    setup = ModelSetup(PROFILE, TOOLS)
    setup.change(Change(voice="Kore"))
    setup.change(Change(tools=["book", "hang_up"]))
    memory = setup.add_to(CallMemory(handle="handle"))
    assert memory == CallMemory(handle="handle", voice="Kore", tools=("book", "hang_up"))
    there = ModelSetup(PROFILE, TOOLS[1:], memory)
    assert (there.profile.voice, there.profile.system_prompt) == ("Kore", "Be kind.")
    assert names(there) == ["book"], "that instance has no other one"
