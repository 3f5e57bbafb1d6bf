"""What an agent is told, with what the request brings."""

from string import Template

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.profile import FILLED_AT_MOST, AgentProfile, TooLong

WORDS = st.sampled_from(["$name", "${name}", "$", "$$", "$other", "Hello ", "name", "{", "}"])


@given(st.lists(WORDS, max_size=6).map("".join))
def test_names_are_filled_and_all_else_stays_as_it_is_written(text: str) -> None:
    profile = AgentProfile(system_prompt=text, greeting=text).filled_with({"name": "Ms Lee"})
    assert (
        profile.system_prompt == profile.greeting == Template(text).safe_substitute(name="Ms Lee")
    )


def test_what_would_be_too_long_is_refused() -> None:
    profile = AgentProfile(system_prompt="$a" * 10)
    with pytest.raises(TooLong):
        profile.filled_with({"a": "x" * (FILLED_AT_MOST // 10)})
