"""Scripts: what they may say, and how a wrong one is refused."""

from pathlib import Path
from typing import Any

import pytest

from agent.model_instructions import ASK_WHETHER_THERE, BYE_TO_LIMIT, BYE_TO_SILENCE
from server.emulators.gemini_live import Script, ScriptError
from server.emulators.gemini_live.conversation import Conversation
from server.emulators.gemini_live.script import word_for_word
from server.emulators.gemini_live.steps import (
    Call,
    Drop,
    FunctionCall,
    Garbage,
    GoAway,
    Pause,
    Say,
    Stall,
)


def rules(*given: dict[str, Any], **more: Any) -> Script:
    return Script.parse({"rules": list(given), **more})


def test_the_default_script_is_complete() -> None:
    script = Script.default()
    conversation = Conversation()
    assert conversation.heard(script, "what are your opening hours")
    assert conversation.heard(script, "thank you goodbye") == (
        Say("Thank you for calling. Goodbye!"),
        Call((FunctionCall("hang_up", optional=True),)),
    )
    assert conversation.heard(script, None) == (Say("I am sorry, I did not catch that."),)
    assert conversation.read(script, "The caller pressed 5.") == (Say("You pressed 5."),)
    for instruction in (ASK_WHETHER_THERE, BYE_TO_SILENCE, BYE_TO_LIMIT):
        assert conversation.read(script, instruction)


def test_every_kind_of_step() -> None:
    script = rules(
        {
            "text_contains": "go",
            "do": [
                {"say": "Hm.", "cut_after_secs": 0.5},
                {"pause_secs": 1},
                {"call": "look"},
                {"call": [{"name": "a", "args": {"x": 1}}, {"name": "b", "optional": True}]},
                {"go_away": 5},
                {"drop": 1008, "reason": "No."},
                {"drop": True},
                {"stall": True},
                {"garbage": True},
                {"garbage": "<html>"},
            ],
        }
    )
    assert script.rules[0].steps == (
        Say("Hm.", 0.5),
        Pause(1.0),
        Call((FunctionCall("look"),)),
        Call((FunctionCall("a", {"x": 1}), FunctionCall("b", optional=True))),
        GoAway(5.0),
        Drop(1008, "No."),
        Drop(None),
        Stall(),
        Garbage(),
        Garbage("<html>"),
    )


def test_rules_are_tried_in_order_and_used_up() -> None:
    script = rules(
        {"hears": "Hello", "say": "First.", "times": 1},
        {"hears": ["Hello!", "Hi"], "say": "Second."},
        {"hears": "*", "say": "Last."},
    )
    conversation = Conversation()
    said = [conversation.heard(script, heard) for heard in ("Hello", "Hello", "Bye", None)]
    assert said == [(Say("First."),), (Say("Second."),), (Say("Last."),), (Say("Last."),)]
    assert Conversation().heard(script, "Hello") == (Say("First."),)


def test_texts_fill_in_groups_everywhere() -> None:
    call = {"name": "press", "args": {"keys": [r"\1"], "all": {"of": r"\g<key>"}}}
    script = rules({"text_matches": r"pressed (?P<key>\d)", "say": r"A \1.", "call": call})
    assert Conversation().read(script, "She pressed 4 again.") == (
        Say("A 4."),
        Call((FunctionCall("press", {"keys": ["4"], "all": {"of": "4"}}),)),
    )


def test_text_contains_is_plain_text_in_any_case() -> None:
    script = rules({"text_contains": "Time (now)", "say": "Noon."})
    assert Conversation().read(script, "what TIME (NOW)?") == (Say("Noon."),)
    assert Conversation().read(script, "time now") is None


@pytest.mark.parametrize("wrapper", [None, "result", "output"])
def test_tool_results_match_a_part_and_fill_in_fields(wrapper: str | None) -> None:
    script = rules(
        {
            "tool_result": "look",
            "where": {"who": {"name": "Ann"}, "open": True},
            "say": "{who.name} at {time}, {unknown}.",
        },
        {"tool_result": "look", "say": "Nothing."},
    )
    answer = {"who": {"name": "Ann", "age": 7}, "open": True, "time": 9}
    response = answer if wrapper is None else {wrapper: answer}
    assert Conversation().learnt(script, "look", response) == (Say("Ann at 9, {unknown}."),)
    assert Conversation().learnt(script, "look", {"result": "none"}) == (Say("Nothing."),)
    assert Conversation().learnt(script, "other", response) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[Say this, word for word: "Hello there."]', "Hello there."),
        ('Say it word for word: “She said "hi".”', 'She said "hi".'),
        ('word for word: "He said "go" and went."', 'He said "go" and went.'),
        ('word for word:\n"Two\nlines."', "Two\nlines."),
    ],
)
def test_words_to_be_said_exactly_are(text: str, said: str) -> None:
    assert word_for_word(text) == (Say(said, quoted=True),)
    assert Conversation().read(Script(), text) == (Say(said, quoted=True),)


@pytest.mark.parametrize("text", ["Say hello.", 'Say "hello".', "word for word: hello", ""])
def test_nothing_else_is(text: str) -> None:
    assert word_for_word(text) is None


def test_rules_come_before_words_to_be_said_exactly() -> None:
    script = rules({"text_contains": "word for word", "say": "No."})
    assert Conversation().read(script, 'word for word: "Yes."') == (Say("No."),)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rule": []}, "rule: unknown"),
    ({"rules": {}}, "rules: a list"),
    ({"rules": [{}]}, r"rules\[0\]: a rule has one of"),
    ({"rules": [{"hears": "a", "text_contains": "b", "say": "c"}]}, "one of"),
    ({"rules": [{"hears": "a"}]}, "something to say"),
    ({"rules": [{"hears": "a", "say": ""}]}, r"rules\[0\].say: a text"),
    ({"rules": [{"hears": [], "say": "a"}]}, r"rules\[0\].hears: there is no sentence"),
    ({"rules": [{"hears": "?!", "say": "a"}]}, "no word"),
    ({"rules": [{"text_matches": "(", "say": "a"}]}, "not a regular expression"),
    ({"rules": [{"hears": "a", "say": "b", "where": {}}]}, "only a tool_result"),
    ({"rules": [{"hears": "a", "say": "b", "do": []}]}, "either do or say"),
    ({"rules": [{"hears": "a", "do": [{"sing": "la"}]}]}, r"do\[0\].sing: unknown"),
    ({"rules": [{"hears": "a", "do": [{"say": "b", "stall": True}]}]}, "a step is one of"),
    ({"rules": [{"hears": "a", "do": [{"pause_secs": -1}]}]}, "number of seconds"),
    ({"rules": [{"hears": "a", "do": [{"drop": "now"}]}]}, "close code"),
    ({"rules": [{"hears": "a", "do": [{"say": "b", "rate": 1}]}]}, "a rate in Hz"),
    ({"rules": [{"hears": "a", "do": [{"say": "b", "mime_type": ""}]}]}, "a text belongs"),
    ({"rules": [{"hears": "a", "do": [{"stall": True, "rate": 8000}]}]}, "only say has rate"),
    ({"rules": [{"hears": "a", "do": [{"send": 1, "text_frame": 2}]}]}, "true or false"),
    ({"rules": [{"hears": "a", "do": [{"send": {1, 2}}]}]}, "a JSON value"),
    ({"rules": [{"hears": "a", "call": []}]}, "no function"),
    ({"rules": [{"hears": "a", "call": {"args": {}}}]}, r"call.name: a text"),
    ({"rules": [{"hears": "a", "say": "b", "times": 0}]}, "from 1 on"),
    ({"connects": [{"connect": 1}]}, "one of http_status"),
    ({"language": "xx-XX", "rules": [{"hears": "a", "say": "b"}]}, "no voice named"),
]


@pytest.mark.parametrize(("script", "complaint"), WRONG)
def test_a_wrong_script_is_refused(script: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScriptError, match=complaint):
        Script.parse(script)


def test_a_wrong_file_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text("rules:\n  - hears: hello\n    say: hi\n  - hears: bye\n    sya: bye\n")
    with pytest.raises(ScriptError, match=r"script\.yaml:5: rules\[1\]\.sya: unknown"):
        Script.load(path)
    path.write_text("rules: [")
    with pytest.raises(ScriptError, match=r"script\.yaml(.|\n)*line 1"):
        Script.load(path)
    path.write_text("")
    assert Script.load(path) == Script()
