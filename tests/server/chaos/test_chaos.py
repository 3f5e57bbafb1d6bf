"""The chaos bench: what it measures, and that our calls come through the worst kinds."""

from dataclasses import replace
from typing import Any

import pytest

from server.chaos.judge import Verdict
from server.chaos.kinds import all_kinds
from server.chaos.question import TONES, question, tones_in
from server.chaos.report import is_fine
from server.chaos.run import OURS, chosen, play

# One for each thing that has to go on; each takes a second and a half.
WORST = [
    "dropped (1007) in turn",
    "dropped (1011) in reply",
    "dropped (1011) in tool",
    "silent for ever from the question on",
    "a reply at -66 dBFS",
    "generation stops half-way",
    "goAway, then silence",
    "goAway in a tool call",
    "a poisoned handle",
    "connect hangs at the start of an inbound call",
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


GOOD = Verdict("a kind", 0, 0, 0, 2.4, 0, 1, "alive")


@pytest.mark.parametrize(
    "bad",
    [
        {"lost_ms": 40},
        {"unknown_ms": 40},
        {"doubled_ms": 40},
        {"longest_silence_secs": 2.6},
        {"replies_lost": 1},
        {"tool_runs": 0},
        {"tool_runs": 2},
        {"outcome": "no answer"},
    ],
)
def test_a_call_is_fine_when_nothing_of_it_is_wrong(bad: dict[str, Any]) -> None:
    assert is_fine(GOOD)
    assert not is_fine(replace(GOOD, **bad))


@pytest.mark.parametrize("name", WORST)
def test_a_call_comes_through(name: str) -> None:
    verdict = play(OURS, name)
    assert is_fine(verdict), verdict


@pytest.mark.long
@pytest.mark.parametrize("name", [kind.name for kind in all_kinds()])
def test_a_call_comes_through_every_kind(name: str) -> None:
    verdict = play(OURS, name)
    assert is_fine(verdict), verdict
