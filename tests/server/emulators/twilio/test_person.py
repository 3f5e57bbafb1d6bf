from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.emulators.gemini_live import Script
from server.emulators.gemini_live.conversation import Conversation
from server.emulators.gemini_live.steps import Call
from server.emulators.speech import speak
from server.emulators.twilio import (
    HangUp,
    Pause,
    Person,
    PersonError,
    Play,
    Press,
    Say,
    WaitForAgent,
)
from server.emulators.twilio.sound import write_stereo


def test_reads_every_action_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "question.wav").write_bytes(b"")
    (tmp_path / "person.yaml").write_text(
        """
voice: en-us+m2
snr_db: 20
script:
  - wait_for_agent: start
  - wait_for_agent: {to: end, quiet_secs: 1}
  - say: What are your opening hours?
  - pause: 0.5
  - press: "12#"
  - play: {path: question.wav, text: A question}
  - hang_up
"""
    )
    person = Person.load(tmp_path / "person.yaml")
    assert person.voice == "en-us+m2"
    assert person.snr_db == 20.0
    assert person.script == [
        WaitForAgent("start"),
        WaitForAgent("end", 1.0),
        Say("What are your opening hours?"),
        Pause(0.5),
        Press("12#"),
        Play(tmp_path / "question.wav", "A question"),
        HangUp(),
    ]


def test_the_default_person_talks_with_the_default_model() -> None:
    script, conversation = Script.default(), Conversation()
    person = Person.default().script
    assert not callable(person)
    said = [action.text for action in person if isinstance(action, Say)]
    assert said
    heard = [script.ears.hear(speak(text, rate=16_000), 16_000) for text in said]
    assert None not in heard
    *_, last = (conversation.heard(script, sentence) for sentence in heard)
    assert last is not None
    assert any(isinstance(step, Call) for step in last)


@pytest.mark.parametrize(
    ("described", "where"),
    [
        ([], "mapping"),
        ({"scrpt": []}, "scrpt"),
        ({"script": "say hello"}, "script"),
        ({"snr_db": "loud"}, "snr_db"),
        ({"script": [{"say": ""}]}, r"script\[0\].say"),
        ({"script": ["hang_up", {"sing": "la"}]}, r"script\[1\].sing"),
        ({"script": [{"press": "1x"}]}, r"script\[0\].press"),
        ({"script": [{"pause": -1}]}, r"script\[0\].pause"),
        ({"script": [{"wait_for_agent": "middle"}]}, r"script\[0\].wait_for_agent"),
        ({"script": [{"play": "nowhere.wav"}]}, r"script\[0\].play"),
        ({"script": [{"say": "a", "pause": 1}]}, r"script\[0\]"),
    ],
)
def test_says_where_a_description_is_wrong(described: Any, where: str) -> None:
    with pytest.raises(PersonError, match=where):
        Person.parse(described)


def test_yaml_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "person.yaml"
    path.write_text("script: [")
    with pytest.raises(PersonError, match=r"person\.yaml"):
        Person.load(path)


def test_a_stereo_wav_is_no_recording_of_a_voice(tmp_path: Path) -> None:
    from server.emulators.twilio.sound import read_wav

    side = np.zeros(80, dtype=np.int16)
    write_stereo(tmp_path / "both.wav", side, side)
    with pytest.raises(ValueError, match="mono"):
        read_wav(tmp_path / "both.wav")
