"""Definitions: those that work, those that are refused, and how they are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from pipecat.frames.frames import DataFrame
from pipecat.processors.filters.identity_filter import IdentityFilter

from agent.tools.hang_up import hang_up
from pipelines.call import catalogue
from pipelines.definition import AudioRoute, DefinitionError, PipelineDefinition, Step
from pipelines.steps import custom, gemini_live, resample, transport_input, transport_output


@dataclass
class UserIdleFrame(DataFrame):
    """A frame of a user's own."""


def define(*steps: Step, tools: Sequence[object] = ()) -> PipelineDefinition:
    return PipelineDefinition("test", steps=steps, tools=tools)  # type: ignore[arg-type]


def works() -> list[Step]:
    return [transport_input(), resample(to=16000), gemini_live(), transport_output()]


async def not_a_tool(day) -> str:  # type: ignore[no-untyped-def]
    """Takes what has no type."""
    return str(day)


async def undocumented(day: str) -> str:
    return day


def not_async(day: str) -> str:
    """Is not async."""
    return day


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([], "needs one transport_input, and has none"),
        (
            [transport_input(), resample(to=16000), transport_output()],
            "needs one model, and has none",
        ),
        ([*works()[:3], gemini_live(), transport_output()], "needs one model, and has 2"),
        (
            [transport_input(), transport_output(), gemini_live()],
            "order is transport_input, model, transport_output",
        ),
        ([resample(to=16000), *works()], "begins with transport_input"),
        (
            [transport_input(), gemini_live(), transport_output()],
            "takes the caller's sound at 16000 Hz, and 8000",
        ),
        (
            [transport_input(), resample(to=12000), gemini_live(), transport_output()],
            "not multiples",
        ),
        ([*works(), resample(to=16000)], "no caller's sound reaches"),
        (
            [*works()[:3], Step("gong", lambda _: IdentityFilter(), agent=AudioRoute(takes=8000))],
            "needs one transport_output",
        ),
        (
            [
                *works()[:3],
                Step("deep", lambda _: IdentityFilter(), agent=AudioRoute(takes=8000)),
                transport_output(),
            ],
            "'deep' takes the agent's sound at 8000 Hz, and 24000 Hz reaches it",
        ),
        ([*works(), IdentityFilter()], "is not a step; .* custom"),
    ],
)
def test_a_definition_that_cannot_work_is_refused_with_a_sentence(
    steps: list[Step], says: str
) -> None:
    with pytest.raises(DefinitionError, match=says):
        define(*steps)


def test_a_step_that_waits_for_what_nobody_gives_is_refused_with_a_sentence() -> None:
    waits = Step("waits", lambda _: IdentityFilter(), takes=(UserIdleFrame,))
    with pytest.raises(DefinitionError, match="'waits' waits for UserIdleFrame, and no other step"):
        define(*works(), waits)
    gives = Step("gives", lambda _: IdentityFilter(), gives=(UserIdleFrame,))
    assert define(*works(), waits, gives).steps[-1].name == "gives"


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        (not_a_tool, "'day' has no type"),
        (undocumented, "has no docstring"),
        (not_async, "is not an async function"),
        ("hang_up", "is not an async function"),
    ],
)
def test_a_tool_that_cannot_be_one_is_refused_with_a_sentence(tool: object, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        define(*works(), tools=[tool])


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two tools are named 'hang_up'"):
        define(*works(), tools=[hang_up, hang_up])


@pytest.mark.parametrize("name", ["", "no spaces", "naïve", "a/b"])
def test_a_name_that_does_not_fit_a_url_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match="letters, digits and underscores"):
        PipelineDefinition(name, steps=works())


def test_any_pipecat_processor_can_be_a_step() -> None:
    steps = works()
    steps.insert(2, custom("mine", lambda _: IdentityFilter()))
    assert [step.name for step in define(*steps).steps] == [
        "transport_input",
        "resample(to=16000)",
        "mine",
        "gemini_live",
        "transport_output",
    ]


def test_a_processor_that_all_calls_would_share_is_no_step() -> None:
    with pytest.raises(TypeError, match=r"'mine', .* lambda call: IdentityFilter"):
        custom("mine", IdentityFilter())  # type: ignore[arg-type]


def test_the_shipped_definitions_are_found_by_name() -> None:
    assert {"phone_call", "practice", "reminder"} <= set(catalogue.names())
    assert catalogue.find("phone_call").name == "phone_call"
    with pytest.raises(
        catalogue.UnknownPipeline, match=r"'mine'; there are .*phone_call, .*reminder"
    ):
        catalogue.find("mine")


def test_a_definition_draws_its_sound_and_tools() -> None:
    text = catalogue.find("reminder").as_text()
    assert "gemini_live          agent 24000 Hz" in text
    assert "tools: confirm_appointment, move_appointment, hang_up" in text
    mermaid = catalogue.find("reminder").as_mermaid()
    assert mermaid.startswith("flowchart LR")
    assert 's0 -- "caller 8000 Hz" --> s1' in mermaid
