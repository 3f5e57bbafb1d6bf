"""The chaos bench: what it measures, and that our calls come through the worst kinds."""

import pytest

from server.chaos.kinds import all_kinds
from server.chaos.question import TONES, question, tones_in
from server.chaos.report import is_fine
from server.chaos.run import OURS, chosen, play

WORST = [
    "dropped (1007) in turn",
    "dropped (1011) in tool",
    "silent for ever from the question on",
    "goAway, then silence",
]


def test_every_tone_of_the_question_is_found_again() -> None:
    pcm = question(16_000)
    assert tones_in(pcm, 16_000) == dict.fromkeys(range(TONES), 1)
    cut = pcm[: len(pcm) // 2]
    assert set(tones_in(cut, 16_000)) == set(range(TONES // 2))
    assert set(tones_in(pcm + bytes(32_000) + pcm, 16_000).values()) == {2}
    assert tones_in(bytes(64_000), 16_000) == {}


def test_there_are_at_least_fifty_kinds_each_with_a_name_of_its_own() -> None:
    names = [kind.name for kind in all_kinds()]
    assert len(names) == len(set(names)) >= 50
    assert [kind.name for kind in chosen("1007 in|poisoned")]


@pytest.mark.parametrize("name", WORST)
def test_a_call_comes_through(name: str) -> None:
    verdict = play(OURS, name)
    assert is_fine(verdict), verdict
    assert verdict.tool_runs in (None, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", [kind.name for kind in all_kinds()])
def test_a_call_comes_through_every_kind(name: str) -> None:
    verdict = play(OURS, name)
    assert is_fine(verdict), verdict
