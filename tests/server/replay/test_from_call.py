"""A scenario made of a call: it holds at once, has the caller's track, and can be redacted."""

import audioop
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
import yaml

from pipelines.call import catalogue
from pipelines.recording.tape import Kind
from server.replay.cassettes.conversation import conversation_of
from server.replay.cassettes.heard_sound import both_sides, caller_mulaw
from server.replay.cassettes.redaction import NAME, NUMBER, TONE_HZ, Redaction
from server.replay.from_call import scenario_from_call
from tests.server.replay.cassettes.recorded_call import cassette_of, recorded

OWN = """
from agent.profile import AgentProfile
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
LIBRARY = PipelineDefinition(
    name="library", profile=AgentProfile(greeting="The library."), steps=PHONE_CALL.steps
)
"""
OWN_CALL = """
name: own
call: {pipeline: library, then: hangs_up}
turns: [{expect: [{event: response}]}]
"""
PERSONAL = """
name: personal
call: {pipeline: reminder, metadata: {name: Ms Lee, appointment: Tuesday at ten}}
gemini:
  rules:
    - {hears: "Are Fridays free for Anderson?", say: "Fridays are, Anna Bell. Call 555 0100, or press one to confirm."}
    - text_contains: "pressed 4 2"
      do: [{say: "Thank you. Goodbye."}, {call: {name: hang_up}}]
turns:
  - expect: [{event: response}]
  - user: "Are Fridays free for Anderson?"
    expect: [{event: response, text_contains: "Anna Bell"}]
  - dtmf: "42"
outcome: {status: completed, end_reason: agent}
"""  # noqa: E501


def test_a_scenario_of_a_call_holds_at_once(tmp_path: Path) -> None:
    said: list[str] = []
    path = recorded().path

    held = scenario_from_call(
        path, tmp_path, name="one", key=None, redacted_words=None, say=said.append
    )

    assert held, said
    folder = tmp_path / "one"
    assert (folder / "call.cassette").read_bytes() == path.read_bytes()
    assert (folder / "call.trace.json").exists()
    track, rate = soundfile.read(folder / "caller.wav", dtype="int16")
    assert rate == 8_000
    assert track.tobytes() == audioop.ulaw2lin(caller_mulaw(recorded().messages), 2)
    made = yaml.safe_load((folder / "scenario.yaml").read_text())
    assert made["call"]["pipeline"] == "reminder"
    assert made["outcome"]["end_reason"] == "agent"
    asked = [
        each["calls"][0] for t in made["turns"] for each in t.get("expect", ()) if "calls" in each
    ]
    assert {"name": "move_appointment", "args": {"wish": "Friday"}} in asked
    assert any(turn.get("dtmf") == "42" for turn in made["turns"])
    assert any("send_after" in turn for turn in made["turns"])


def test_texts_lose_names_and_numbers_but_no_other_words() -> None:
    redaction = Redaction({"name": "Ms Lee", "appointment": "Tuesday at ten"}, ["zebra"])

    hidden = redaction.text("Ms Lee, this is Anna. Call 555 0100 or nine nine, on Friday, zebra?")

    assert hidden == f"Ms {NAME}, this is {NAME}. Call {NUMBER} or {NUMBER}, on Friday, {NAME}?"
    assert redaction.text("What should I bring? I'm late.") == "What should I bring? I'm late."


def test_a_redacted_scenario_holds_at_once_and_keeps_what_the_pipeline_says(tmp_path: Path) -> None:
    said: list[str] = []
    path = cassette_of(PERSONAL, tmp_path).path
    (tmp_path / "one").mkdir()
    # It was made once without.
    (tmp_path / "one" / "call.cassette").write_bytes(path.read_bytes())

    held = scenario_from_call(
        path, tmp_path, name="one", key=None, redacted_words=[], say=said.append
    )

    assert held, said
    assert {file.name for file in (tmp_path / "one").iterdir()} == {"scenario.yaml", "caller.wav"}
    text = (tmp_path / "one" / "scenario.yaml").read_text()
    for personal in ("Lee", "Tuesday at ten", "Anderson", "Anna", "Bell", "555", "42", "4 2"):
        assert personal not in text
    made = yaml.safe_load(text)
    greeting = made["turns"][0]["expect"][0]["text_contains"]
    assert "Press one to confirm it, or two to change it." in greeting
    assert made["turns"][1]["user"] == f"Are Fridays free for {NAME}?"


def test_a_call_of_a_pipeline_of_ones_own_becomes_a_scenario(tmp_path: Path) -> None:
    (tmp_path / "library_calls.py").write_text(OWN)
    pipelines = (str(tmp_path / "library_calls.py"),)
    said: list[str] = []
    path = cassette_of(OWN_CALL, tmp_path, pipelines).path
    catalogue.use(())

    held = scenario_from_call(
        path,
        tmp_path,
        name="one",
        key=None,
        redacted_words=None,
        say=said.append,
        pipelines=pipelines,
    )

    catalogue.use(())
    assert held, said


def test_long_numbers_and_nested_names_are_hidden_too() -> None:
    redaction = Redaction({"customer": {"names": ["Lee"]}, "account": 471100})

    arguments = {"phone": 5550100, "again": [5550100, -20261], "persons": 4, "asks": True}
    assert redaction.value(arguments) == {
        "phone": 1111111,
        "again": [1111111, -22222],
        "persons": 4,
        "asks": True,
    }
    places = {"sum": 1250.5, "rate": 0.5, "at": -0.127758, "whole": 5550100.0, "hundred": 100.0}
    assert redaction.value(places) == {
        "sum": 3333.3,
        "rate": 0.5,
        "at": -4.444444,
        "whole": 1111111.0,
        "hundred": 100.0,
    }
    hidden = {"customer": {"names": [NAME]}, "account": NUMBER}
    assert redaction.metadata({"customer": {"names": ["Lee"]}, "account": 471100}) == hidden
    assert redaction.text("lee speaking") == f"{NAME} speaking"


def test_messages_that_our_side_refused_are_passed_over() -> None:
    bad = ["{", "[1]", '{"event": 7}', '{"event": "media"}', '{"event": "dtmf", "dtmf": "x"}']
    first, *rest = recorded().messages
    refused = [replace(first, kind=Kind.PHONE_IN, content=text) for text in bad]
    cassette = replace(recorded(), messages=(first, *refused, *rest))

    assert caller_mulaw(cassette.messages) == caller_mulaw(recorded().messages)
    assert conversation_of(cassette) == conversation_of(recorded())
    assert both_sides(cassette.messages, 0.0) == both_sides(recorded().messages, 0.0)


def test_a_number_stays_only_between_the_words_of_the_pipeline() -> None:
    own = ["$name, press one to confirm, two for Acme."]
    redaction = Redaction({"town": "press on the left"}, own=own)

    kept = "Lee, press one to confirm, two for Acme. I called Acme."
    assert redaction.agent_text(kept) == kept
    assert redaction.agent_text("One, two, the one") == f"{NUMBER}, {NUMBER}, {NAME} {NUMBER}"
    assert [redaction.keys(keys) for keys in ("1", "42", "4711", "42")] == ["1", "00", "1111", "00"]


def test_a_tone_lies_over_the_hidden_word_alone() -> None:
    from server.emulators.speech import speak

    pcm = speak("My name is Anderson and I am late", voice="en-us+f3", rate=8_000)
    text = "My name is Anderson and I am late"

    covered = Redaction({}).audio(pcm, text, "en-US")

    before, after = (np.frombuffer(sound, dtype="<i2").astype(float) for sound in (pcm, covered))
    changed = np.flatnonzero(before != after)
    start, end = changed[0] / len(before), changed[-1] / len(before)
    assert 0.1 < start < 0.4 < end < 0.75
    piece = after[changed[0] : changed[-1]]
    loudest = np.argmax(np.abs(np.fft.rfft(piece))) * 8_000 / len(piece)
    assert abs(loudest - TONE_HZ) < 10
