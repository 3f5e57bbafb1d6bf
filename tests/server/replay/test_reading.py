"""What a file says comes out as values: calls, models, turns, outcomes, and what is not checked."""

from dataclasses import fields
from pathlib import Path

import pytest
import soundfile

from server.emulators.gemini_live import ConnectFault
from server.replay.reading_outcome import LIMITS, OUTCOME_KEYS
from server.replay.scenario import CallPlan, ModelPlan, Outcome, ToolCall, Where
from tests.server.replay.written import only


def test_what_is_left_out_is_as_the_values_have_it(tmp_path: Path) -> None:
    scenario = only(tmp_path, "turns: [{user: Hello.}]")
    assert scenario.call == CallPlan()
    assert scenario.model == ModelPlan()
    assert scenario.outcome == Outcome()
    assert scenario.not_checked == ()
    assert scenario.stop_on_failure


def test_a_call(tmp_path: Path) -> None:
    scenario = only(
        tmp_path,
        """\
        turns: []
        call:
          number: +15550100777
          our_number: "+15550100888"
          ring_ms: 0
          answer: voicemail
          caller: {voice: en-us+f3, noise_snr_db: 20}
          callbacks: {lose: [completed, stream-stopped], delay_ms: 500, twice: true}
          then: hangs_up
          pipeline: reminder
          vad_config: {silence_duration_ms: 600}
          metadata: {name: Ms Lee}
        """,
    )
    assert scenario.call == CallPlan(
        number="+15550100777",
        our_number="+15550100888",
        ring_ms=0,
        answer="voicemail",
        request={
            "pipeline": "reminder",
            "vad_config": {"silence_duration_ms": 600},
            "metadata": {"name": "Ms Lee"},
        },
        voice="en-us+f3",
        noise_snr_db=20.0,
        stays=False,
        callbacks_lost=frozenset({"completed", "stream-stopped"}),
        callbacks_delay_ms=500,
        callbacks_twice=True,
    )


def test_a_model(tmp_path: Path) -> None:
    scenario = only(
        tmp_path,
        """\
        turns: []
        gemini:
          setup_ms: 2000
          thinking_ms: 0
          language: en-GB
          rules:
            - {hears: hello, say: Good day.}
          refuse:
            - {http_status: 503, connects: [1, 2]}
            - {close: 1008, reason: no such model, connects: 3}
            - {stall: true}
          faults:
            - {at_ms: 3000, drop: 1006}
            - {at_ms: 4000, go_away: 900}
            - {at_ms: 5000, lose_stream: true}
        """,
    )
    model = scenario.model
    assert (model.setup_ms, model.thinking_ms) == (2000, 0)
    assert model.script == {
        "language": "en-GB",
        "rules": [{"hears": "hello", "say": "Good day."}],
    }
    assert [ConnectFault(**fault) for fault in model.connect_faults] == [
        ConnectFault(http_status=503, connects=frozenset({1, 2})),
        ConnectFault(close=1008, reason="no such model", connects=frozenset({3})),
        ConnectFault(stall=True),
    ]
    assert [(f.where.line, f.kind, f.at_ms, f.code, f.left_ms) for f in model.faults] == [
        (13, "drop", 3000, 1006, 10_000),
        (14, "go_away", 4000, 1011, 900),
        (15, "lose_stream", 5000, 1011, 10_000),
    ]


def test_turns(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hello.wav", [0.0] * 160, 16_000)
    scenario = only(
        tmp_path,
        """\
        turns:
          - user: [Well, {pause_ms: 900}, good day.]
          - {user: Hello., audio: ./hello.wav}
          - dtmf: 012
          - dtmf: 12
            send_after: {delay_ms: 400}
          - hang_up: true
            send_after: {event: bot_started_speaking, delay_ms: 10}
          - {hang_up: false, user: Bye.}
        """,
    )
    paused, played, zero, twelve, gone, stayed = scenario.turns
    assert paused.parts == ("Well", 900, "good day.")
    assert paused.text == "Well good day."
    assert (played.audio, played.text) == (tmp_path / "hello.wav", "Hello.")
    assert (zero.dtmf, twelve.dtmf) == ("012", "12")
    assert twelve.send_after is not None
    assert (twelve.send_after.event, twelve.send_after.delay_ms) == (None, 400)
    assert gone.hang_up
    assert gone.send_after is not None
    assert gone.send_after.event == "bot_started_speaking"
    assert gone.send_after.where == Where(tmp_path / "call.yaml", 8)
    assert (stayed.hang_up, stayed.text) == (False, "Bye.")


def test_expectations(tmp_path: Path) -> None:
    scenario = only(
        tmp_path,
        """\
        turns:
          - user: Book it.
            expect:
              - event: function_call
              - {event: function_call, name: book, args: {people: 2}}
              - event: function_call_stopped
                calls: [book, {name: tell, args: {cancelled: false}}]
              - event: response
                text_contains: booked
                text_excludes: sorry
                within_ms: 2500
                check_from: turn_start
              - {event: bot_interrupted, absent: true}
        """,
    )
    some, booked, stopped, response, absent = scenario.turns[0].expect
    assert (some.where.line, some.calls, some.within_ms) == (4, (), 60_000)
    assert booked.calls == (ToolCall("book", {"people": 2}),)
    assert stopped.calls == (ToolCall("book"), ToolCall("tell", {"cancelled": False}))
    assert (response.text_contains, response.text_excludes) == ("booked", "sorry")
    assert (response.within_ms, response.from_turn_start) == (2500, True)
    assert (absent.event, absent.absent) == ("bot_interrupted", True)


def test_an_outcome(tmp_path: Path) -> None:
    scenario = only(
        tmp_path,
        """\
        outcome:
          status: completed
          end_reason: agent
          record:
            - {who: agent, text_contains: hello}
            - {who: caller, interrupted: true}
          heard: [Hello there.]
          gaps: 0
          added_ms: 150.5
          events: [twilio.status, tool.called]
        """,
    )
    outcome = scenario.outcome
    assert outcome.status is not None
    assert (outcome.status.value, outcome.status.where.line) == ("completed", 2)
    assert outcome.end_reason is not None
    assert outcome.end_reason.value == "agent"
    assert outcome.record is not None
    assert [(t.where.line, t.who, t.interrupted) for t in outcome.record] == [
        (5, "agent", None),
        (6, "caller", True),
    ]
    assert [(s.where.line, s.text) for s in outcome.heard] == [(7, "Hello there.")]
    assert outcome.gaps is not None
    assert (outcome.gaps.most, outcome.gaps.where.line) == (0, 8)
    assert outcome.added_ms is not None
    assert outcome.added_ms.most == 150.5
    assert [fact.value for fact in outcome.events] == ["twilio.status", "tool.called"]


def test_no_record_at_all_can_be_demanded(tmp_path: Path) -> None:
    assert only(tmp_path, "outcome: {record: []}").outcome.record == ()


def test_all_that_an_outcome_can_demand_can_be_written() -> None:
    assert {*OUTCOME_KEYS, "record_where"} == {field.name for field in fields(Outcome)}


@pytest.mark.parametrize("limit", LIMITS)
def test_every_limit_is_read(tmp_path: Path, limit: str) -> None:
    outcome = only(tmp_path, f"outcome: {{{limit}: 7}}").outcome
    given = {f.name: getattr(outcome, f.name) for f in fields(Outcome) if getattr(outcome, f.name)}
    assert list(given) == [limit]
    assert given[limit].most == 7


CONTEXT = """\
turns: []
context:
  - {role: system, content: Be brief.}
  - {role: developer, content: [{type: text, text: Speak French.}]}
  - {role: user, content: Hello.}
  - {role: assistant, content: Bonjour.}
"""


def test_a_context_is_the_prompt_of_the_call(tmp_path: Path) -> None:
    scenario = only(tmp_path, CONTEXT)
    prompt = scenario.call.request["system_prompt"]
    assert prompt.startswith("Be brief.\nSpeak French.\n")
    assert prompt.endswith("\nCaller: Hello.\nYou: Bonjour.")
    assert scenario.not_checked == ()


def test_a_prompt_of_the_call_stands_before_the_context(tmp_path: Path) -> None:
    scenario = only(tmp_path, CONTEXT + "call: {system_prompt: Be kind.}\n")
    prompt = scenario.call.request["system_prompt"]
    assert prompt.startswith("Be kind.\n")
    assert prompt.endswith("\nCaller: Hello.\nYou: Bonjour.")
    assert "Be brief." not in prompt
    assert [note.where.line for note in scenario.not_checked] == [3, 4]


def test_what_cannot_be_in_a_prompt_is_not_checked(tmp_path: Path) -> None:
    scenario = only(
        tmp_path,
        """\
        turns: []
        context:
          - {role: user, content: Hello.}
          - {role: user, content: [{type: image_url, image_url: {url: x}}]}
          - {role: assistant, tool_calls: [{id: a}]}
          - {role: tool, content: done}
        """,
    )
    assert scenario.call.request == {}
    assert [note.where.line for note in scenario.not_checked] == [2, 4, 5, 6]


def test_keys_of_a_persona_in_a_script_are_not_checked(tmp_path: Path) -> None:
    scenario = only(tmp_path, "turns: [{user: Hello.}]\ngoal: to book\nmax_turns: 3")
    assert [note.where.line for note in scenario.not_checked] == [2, 3]


def test_nothing_of_a_simulated_caller_is_checked(tmp_path: Path) -> None:
    scenario = only(tmp_path, "persona: Robin\ngoal: to book\noutcome: {status: completed}")
    assert (scenario.turns, scenario.outcome) == ((), Outcome())
    assert [note.where.line for note in scenario.not_checked] == [1, 3]
