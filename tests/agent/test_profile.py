"""What an agent is told, with what the request brings."""

from string import Template

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.profile import FILLED_AT_MOST, AgentProfile, NotNameable, NotSpeakable, TooLong

WORDS = st.sampled_from(["$name", "${name}", "$", "$$", "$other", "Hello ", "name", "{", "}"])


@given(st.lists(WORDS, max_size=6).map("".join))
def test_names_are_filled_and_all_else_stays_as_it_is_written(text: str) -> None:
    profile = AgentProfile(system_prompt=text, greeting=text).filled_with({"name": "Ms Lee"})
    assert (
        profile.system_prompt == profile.greeting == Template(text).safe_substitute(name="Ms Lee")
    )


@pytest.mark.parametrize(
    ("text", "metadata", "filled"),
    [
        ("$größe, ${größe}", {"größe": "XL"}, "XL, XL"),
        ("$gro\u0308ße", {"größe": "XL"}, "XL"),
        ("$größe", {"gro\u0308ße": "XL"}, "XL"),
        ("$имя!", {"имя": "Lee"}, "Lee!"),
        ("${first name}", {"first name": "Ada"}, "Ada"),
        ("${ name }", {"name": "Ada"}, "Ada"),
        ("${customer.name-2}", {"customer.name-2": "Ada"}, "Ada"),
        ("$n of ${5}", {"n": 3, "5": 4.5}, "3 of 4.5"),
        ("$a", {"a": "$b", "b": "no"}, "$b"),
        ("$name", {"name": "Lee", "other": None}, "Lee"),
        ("$$name $5 $", {"name": None}, "$name $5 $"),
    ],
)
def test_every_name_that_can_be_written_is_filled(
    text: str, metadata: dict[str, object], filled: str
) -> None:
    assert AgentProfile(greeting=text).filled_with(metadata).greeting == filled


@pytest.mark.parametrize("value", [None, True, {}, [], float("nan"), float("inf"), b"x"])
def test_a_value_that_cannot_be_spoken_is_refused_with_its_name(value: object) -> None:
    with pytest.raises(NotSpeakable, match="'name' is"):
        AgentProfile(greeting="Hello $name.").filled_with({"name": value})


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("$first name", "first name", r"\${first name}"),
        ("$first-name", "first-name", r"\${first-name}"),
        ("$5", "5", r"\$\{5\}"),
        ("$नाम", "नाम", r"\${नाम}"),
        ("$Name", "name", r"there is no 'Name', but 'name'"),
        ("${a}b}", "a}b", "cannot be a placeholder"),
        ("${a\nb}", "a\nb", "cannot be a placeholder"),
    ],
)
def test_a_name_that_is_not_found_as_it_is_written_is_refused(
    text: str, name: str, says: str
) -> None:
    with pytest.raises(NotNameable, match=says):
        AgentProfile(greeting=text).filled_with({name: "x"})


def test_what_would_be_too_long_is_refused() -> None:
    profile = AgentProfile(system_prompt="$a" * 10)
    with pytest.raises(TooLong):
        profile.filled_with({"a": "x" * (FILLED_AT_MOST // 10)})
