"""A scenario made of a call: it holds at once, has the caller's track, and can be redacted."""

import audioop
from pathlib import Path

import numpy as np
import soundfile
import yaml

from server.replay.cassettes.heard_sound import caller_mulaw
from server.replay.cassettes.redaction import NAME, NUMBER, TONE_HZ, Redaction
from server.replay.from_call import scenario_from_call
from tests.server.replay.cassettes.recorded_call import recorded


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
