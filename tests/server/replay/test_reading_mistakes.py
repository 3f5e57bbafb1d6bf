"""Every mistake is told with its line, its key, what belongs there and what stands there."""

from pathlib import Path

import pytest

from server.replay.reading import ScenarioError
from server.replay.reading_expectations import SHOWN
from tests.server.replay.written import only

EVENTS = ", ".join(SHOWN)


def complaint(folder: Path, text: str) -> list[str]:
    with pytest.raises(ScenarioError) as error:
        only(folder, text)
    return [str(problem).split(":", 1)[1] for problem in error.value.problems]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "1: file: expected a mapping, got a list"),
        ("", "1: file: expected a mapping, got nothing"),
        ("name: x", "1: scenario: expected one of turns, outcome, persona, got none of them"),
        ("scenarios: []", "1: scenarios: expected a list with a scenario in it, got nothing"),
        ("scenarios:", "1: scenarios: expected a list with a scenario in it, got nothing"),
        ("scenarios: [x]", "1: scenarios[0]: expected a mapping, got 'x'"),
        ("turns: {user: a}", "1: turns: expected a list, got a mapping"),
        ("turns: [hello]", "1: turns[0]: expected a mapping, got 'hello'"),
        (
            'turns: []\n"a\\nb": 1',
            "2: a⏎b: there is no key `a⏎b`; there are scenarios, name, call, ",
        ),
        ("turns: []\nstop_on_failure: 1", "2: stop_on_failure: expected true or false, got 1"),
    ],
)
def test_the_file(tmp_path: Path, text: str, said: str) -> None:
    (found,) = complaint(tmp_path, text)
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (
            "{user: no}",
            "1: turns[0].user: expected a text, got no, which is a text in quotes only",
        ),
        ("{user: ' … '}", "1: turns[0].user: expected a text with a word in it, got ' … '"),
        ("{user: [{pause_ms: 5}]}", "1: turns[0].user: expected a text among the pauses, got none"),
        (
            "{user: [a, {pause_ms: 0}]}",
            "1: turns[0].user[1].pause_ms: expected a whole number from 1 to 86400000, got 0",
        ),
        (
            "{user: [a, {pause: 5}]}",
            "1: turns[0].user[1].pause: there is no key `pause`; did you mean `pause_ms`?",
        ),
        (
            "{user: a, dtmf: '1'}",
            "1: turns[0].dtmf: expected nothing, for the turn has `user` already, got '1'",
        ),
        (
            "{dtmf: '1', hang_up: true}",
            "1: turns[0].hang_up: expected nothing, for the turn has `dtmf` already, got true",
        ),
        (
            "{dtmf: 12A}",
            "1: turns[0].dtmf: expected keys among 0-9, * and # (in quotes, for # begins a "
            "comment), got '12A'",
        ),
        ("{dtmf: -1}", "1: turns[0].dtmf: expected keys among 0-9, * and # "),
        ("{dtmf: ''}", "1: turns[0].dtmf: expected keys among 0-9, * and # "),
        (
            "{send_after: {delay_ms: 5}}",
            "1: turns[0].send_after: expected `user`, `dtmf` or `hang_up` beside it, "
            "got nothing to send",
        ),
        (
            "{user: a, send_after: {delay_ms: 0}}",
            "1: turns[0].send_after: expected an event, or a delay_ms above 0, got neither",
        ),
        (
            "{user: a, send_after: {event: bot_speaks}}",
            f"1: turns[0].send_after.event: expected one of {EVENTS}, got 'bot_speaks' "
            "(did you mean bot_stopped_speaking?)",
        ),
        (
            "{audio: a.wav}",
            "1: turns[0].audio: expected `user` beside it, with what the recording says, "
            "got no `user`",
        ),
        (
            "{user: a, audio: gone.wav}",
            "1: turns[0].audio: expected a recording, relative to the scenario's file, "
            "got no file ",
        ),
        (f"{{user: a, audio: {'x' * 300}}}", "1: turns[0].audio: expected a recording, "),
        ("{user: a, image: [1]}", "1: turns[0].image: expected a text, got a list"),
        ("{hangup: true}", "1: turns[0].hangup: there is no key `hangup`; did you mean `hang_up`?"),
        (
            "{user: a, color: b}",
            "1: turns[0].color: there is no key `color`; there are user, audio, dtmf, ",
        ),
    ],
)
def test_a_turn(tmp_path: Path, turn: str, said: str) -> None:
    (found, *_) = complaint(tmp_path, f"turns: [{turn}]")
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("expectation", "said"),
    [
        ("{}", "event: expected the name of an event, got nothing"),
        ("{event: dances}", f"event: expected one of {EVENTS}, got 'dances'"),
        (
            "{event: respons}",
            f"event: expected one of {EVENTS}, got 'respons' (did you mean response?)",
        ),
        (
            "{event: response, within_ms: -1}",
            "within_ms: expected a whole number from 0 to 86400000, got -1",
        ),
        (
            "{event: response, within_ms: 1.5}",
            "within_ms: expected a whole number from 0 to 86400000, got 1.5",
        ),
        (
            "{event: response, within_ms: true}",
            "within_ms: expected a whole number from 0 to 86400000, got true",
        ),
        (
            "{event: response, text_contains: 5}",
            "text_contains: expected a text, got 5, which is a text in quotes only",
        ),
        (
            "{event: bot_started_speaking, text_contains: a}",
            "text_contains: expected nothing, for only user_transcription, response, llm_response, "
            "tts_response have words, got 'a'",
        ),
        (
            "{event: response, calls: [a]}",
            "calls: expected nothing, for only function_call, function_call_stopped have calls, "
            "got a list",
        ),
        (
            "{event: function_call, calls: []}",
            "calls: expected at least one function, got an empty list",
        ),
        (
            "{event: function_call, calls: [3]}",
            "calls[0]: expected a function's name or a mapping, got 3",
        ),
        (
            "{event: function_call, calls: [{nam: a}]}",
            "calls[0].nam: there is no key `nam`; did you mean `name`?",
        ),
        (
            "{event: function_call, calls: [a], name: b}",
            "name: expected nothing, for `calls` says it, got 'b'",
        ),
        ("{event: function_call, args: [1]}", "args: expected a mapping, got a list"),
        (
            "{event: response, absent: true, text_contains: a}",
            "text_contains: expected nothing, for an event that must be absent has nothing else, "
            "got 'a'",
        ),
        ("{event: response, absent: true, check_from: previous}", "check_from: expected nothing, "),
        (
            "{event: response, check_from: start}",
            "check_from: expected one of previous, turn_start, got 'start'",
        ),
        (
            "{event: response, marker: short}",
            "marker: expected nothing, for only llm_marker has a marker, got 'short'",
        ),
        (
            "{event: llm_marker, marker: tall}",
            "marker: expected one of complete, short, long, incomplete, got 'tall'",
        ),
        (
            "{event: function_call_stopped, eval: a}",
            "eval: expected nothing, for a stopped call has no words to judge, got 'a'",
        ),
        (
            "{event: response, withn_ms: 5}",
            "withn_ms: there is no key `withn_ms`; did you mean `within_ms`?",
        ),
    ],
)
def test_an_expectation(tmp_path: Path, expectation: str, said: str) -> None:
    (found,) = complaint(tmp_path, f"turns:\n  - user: a\n    expect:\n      - {expectation}")
    assert found.startswith(f"4: turns[0].expect[0].{said}")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("[]", ": expected a mapping, got a list"),
        ("{direction: sideways}", ".direction: expected one of outbound, inbound, got 'sideways'"),
        (
            "{number: 0049 30 123}",
            ".number: expected a phone number in E.164, such as +15550100123, got '0049 30 123'",
        ),
        ("{our_number: 15550100123}", ".our_number: expected a phone number in E.164, "),
        ("{ring_ms: 999999}", ".ring_ms: expected a whole number from 0 to 600000, got 999999"),
        ("{answer: maybe}", ".answer: expected one of person, busy, no_answer, rejected, "),
        (
            "{direction: inbound, answer: busy}",
            ".answer: expected nothing but `person`, for an inbound call is answered by us, "
            "got 'busy'",
        ),
        (
            "{direction: inbound, metadata: {a: 1}}",
            ".metadata: expected nothing, for only an outbound call is asked for with metadata, "
            "got a mapping",
        ),
        (
            "{caller: {voice: klingon-formal}}",
            ".caller.voice: expected one of espeak-ng's voices, such as en-us+f3, "
            "got 'klingon-formal'",
        ),
        (
            "{caller: {noise_snr_db: loud}}",
            ".caller.noise_snr_db: expected a number from -20 to 120, ",
        ),
        ("{callbacks: {lose: completed}}", ".callbacks.lose: expected a list, got 'completed'"),
        (
            "{callbacks: {lose: [done]}}",
            ".callbacks.lose[0]: expected one of initiated, ringing, answered, completed, ",
        ),
        ("{callbacks: {delay_ms: -5}}", ".callbacks.delay_ms: expected a whole number from 0 to "),
        ("{then: sleeps}", ".then: expected one of stays, hangs_up, got 'sleeps'"),
        (
            "{max_duration_seconds: 0}",
            ".max_duration_seconds: expected greater than or equal to 1, got 0",
        ),
        ("{greeting: 5}", ".greeting: expected a valid string, got 5"),
        ("{system_prompt: [1]}", ".system_prompt: expected a valid string, got a list"),
        ("{metadata: []}", ".metadata: expected a valid dictionary, got a list"),
        (
            "{vad_config: {silence_ms: 5}}",
            ".vad_config.silence_ms: there is no key `silence_ms`; did you mean "
            "`silence_duration_ms`?",
        ),
        (
            "{vad_config: {start_sensitivity: MIDDLE}}",
            ".vad_config.start_sensitivity: expected 'HIGH' or 'LOW', got 'MIDDLE'",
        ),
        ("{pipelin: x}", ".pipelin: there is no key `pipelin`; did you mean `pipeline`?"),
    ],
)
def test_the_call(tmp_path: Path, call: str, said: str) -> None:
    (found,) = complaint(tmp_path, f"turns: []\ncall: {call}")
    assert found.startswith(f"2: call{said}")


@pytest.mark.parametrize(
    ("gemini", "said"),
    [
        (
            "setup_ms: soon",
            "2: gemini.setup_ms: expected a whole number from 0 to 86400000, got 'soon'",
        ),
        (
            "rules: hello",
            "2: gemini.rules: expected the emulator's script, got a list belongs here",
        ),
        (
            "rules:\n    - hears: a\n      say: b\n    - hears: c\n      sya: d",
            "6: gemini.rules[1].sya: expected the emulator's script, got unknown; there are ",
        ),
        (
            "rules:\n    - hears: a\n      do:\n        - say: b\n        - drop: now",
            "6: gemini.rules[0].do[1].drop: expected the emulator's script, got drop is a "
            "close code, or true for a dead network",
        ),
        (
            "rules:\n    - text_matches: '('\n      say: b",
            "3: gemini.rules[0].text_matches: expected ",
        ),
        (
            "rules:\n    - text_matches: 'a{99999999999999999999}'\n      say: b",
            "2: gemini.rules: expected the emulator's script, got the repetition "
            "number is too large",
        ),
        (
            "language: [1]",
            "2: gemini.language: expected the emulator's script, got a text belongs here",
        ),
        (
            "refuse: [{}]",
            "2: gemini.refuse[0]: expected one of http_status, close, stall, got none of them",
        ),
        (
            "refuse: [{close: 1008, stall: true}]",
            "2: gemini.refuse[0].stall: expected nothing, for there is `close`, got true",
        ),
        ("refuse: [{stall: false}]", "2: gemini.refuse[0].stall: expected true, got false"),
        (
            "refuse: [{http_status: 200}]",
            "2: gemini.refuse[0].http_status: expected a whole number from 400 to 599, got 200",
        ),
        (
            "refuse: [{close: 1008, connects: [0]}]",
            "2: gemini.refuse[0].connects: expected numbers of connects, counted from 1, "
            "got a list",
        ),
        (
            "faults: [{drop: 1011}]",
            "2: gemini.faults[0].at_ms: expected milliseconds from the answer, ",
        ),
        (
            "faults: [{at_ms: 5}]",
            "2: gemini.faults[0]: expected one of drop, go_away, stall, garbage, ",
        ),
        (
            "faults: [{at_ms: 5, drop: 1011, garbage: true}]",
            "2: gemini.faults[0].garbage: expected nothing, for there is `drop`, got true",
        ),
        ("faults: [{at_ms: 5, garbage: no}]", "2: gemini.faults[0].garbage: expected true, got no"),
        (
            "faults: [{at_ms: 5, drop: 12}]",
            "2: gemini.faults[0].drop: expected a whole number from 1000 to 4999, got 12",
        ),
    ],
)
def test_the_model(tmp_path: Path, gemini: str, said: str) -> None:
    (found,) = complaint(tmp_path, f"gemini:\n  {gemini}\nturns: []")
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (
            "{status: ringing}",
            "status: expected one of completed, failed, no_answer, busy, canceled, ",
        ),
        ("{end_reason: bored}", "end_reason: expected one of caller, agent, api, limit, silence, "),
        ("{record: agent}", "record: expected a list, got 'agent'"),
        ("{record: [{}]}", "record[0].who: expected caller or agent, got nothing"),
        ("{record: [{who: bot}]}", "record[0].who: expected one of caller, agent, got 'bot'"),
        (
            "{record: [{who: agent, interrupted: 1}]}",
            "record[0].interrupted: expected true or false, got 1",
        ),
        ("{heard: [5]}", "heard[0]: expected a text, got 5, which is a text in quotes only"),
        ("{gaps: few}", "gaps: expected a number from 0 to 8.64e+07, got 'few'"),
        ("{dead_air_ms: -1}", "dead_air_ms: expected a number from 0 to 8.64e+07, got -1"),
        ("{events: twilio.status}", "events: expected a list, got 'twilio.status'"),
        ("{dead_air: 5}", "dead_air: there is no key `dead_air`; did you mean `dead_air_ms`?"),
    ],
)
def test_the_outcome(tmp_path: Path, outcome: str, said: str) -> None:
    (found,) = complaint(tmp_path, f"outcome: {outcome}")
    assert found.startswith(f"1: outcome.{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("context: hello", "2: context: expected a list, got 'hello'"),
        (
            "context: [hello]",
            "2: context[0]: expected a message with role and content, got 'hello'",
        ),
        (
            f"context: [{{role: system, content: {'x' * 32_001}}}]",
            "2: context: expected a prompt that the server takes: value should have at most 32000",
        ),
        ("user: {modality: video}", "2: user.modality: expected one of audio, text, got 'video'"),
        ("user: {speech: kokoro}", "2: user.speech: expected a mapping, got 'kokoro'"),
        ("judge: {evla: {}}", "2: judge.evla: there is no key `evla`; did you mean `eval`?"),
        ("trigger_disconnect: 5", "2: trigger_disconnect: expected true or false, got 5"),
        ("persona: Robin", "1: turns: expected turns or a persona, not both, got a list"),
    ],
)
def test_what_stands_around_the_turns(tmp_path: Path, text: str, said: str) -> None:
    (found,) = complaint(tmp_path, f"turns: []\n{text}")
    assert found.startswith(said)
