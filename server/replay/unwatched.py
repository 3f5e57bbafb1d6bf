"""What is left of a scenario where the model is none of ours, so that nobody can watch it.

The real Gemini, and whatever model a running server has, show only what reaches the phone and the
server's record.
"""

from dataclasses import replace

from server.replay.scenario import Expectation, NotChecked, Scenario, Turn

# Events that only the emulated model tells of.
_OF_THE_MODEL = frozenset(
    {
        *("vad_user_started_speaking", "vad_user_stopped_speaking", "user_transcription"),
        *("llm_started", "llm_response"),
    }
)
_MODEL = "only the emulated model can be watched"


def unwatched(scenario: Scenario, *, by_other_server: bool) -> Scenario:
    """The scenario without what cannot be seen or caused; `not_checked` says what was left out.

    `by_other_server`: an instance that runs plays it, with the settings it has.
    """
    left_out = list(scenario.not_checked)
    call, model = scenario.call, scenario.model
    if by_other_server and call.direction == "inbound" and call.request:
        asked = ", ".join(sorted(call.request))
        what = f"the server answers as its own INBOUND_NUMBERS say, not by {asked}"
        left_out.append(NotChecked(scenario.where, what))
    if model.connect_faults:
        left_out.append(NotChecked(scenario.where, "only the emulated model can refuse a session"))
    for fault in model.faults:
        if fault.kind != "lose_stream":
            what = f"a {fault.kind} can be caused of the emulated model alone"
            left_out.append(NotChecked(fault.where, what))
    faults = tuple(fault for fault in model.faults if fault.kind == "lose_stream")
    return replace(
        scenario,
        model=replace(model, connect_faults=(), faults=faults),
        turns=tuple(_turn(turn, left_out) for turn in scenario.turns),
        not_checked=tuple(left_out),
    )


def _turn(turn: Turn, left_out: list[NotChecked]) -> Turn:
    if turn.send_after is not None and turn.send_after.event in _OF_THE_MODEL:
        what = f"{turn.send_after.event} to send after: {_MODEL}"
        left_out.append(NotChecked(turn.send_after.where, what))
        turn = replace(turn, send_after=None)
    expect = tuple(kept for e in turn.expect if (kept := _expectation(e, left_out)) is not None)
    return replace(turn, expect=expect)


def _expectation(expectation: Expectation, left_out: list[NotChecked]) -> Expectation | None:
    if expectation.event in _OF_THE_MODEL:
        left_out.append(NotChecked(expectation.where, f"{expectation.event}: {_MODEL}"))
        return None
    if expectation.event != "function_call_stopped":
        return expectation
    calls = []
    for call in expectation.calls:
        args = dict(call.args or {})
        if args.pop("cancelled", None) is not None:
            what = f"whether a call was cancelled: {_MODEL}"
            left_out.append(NotChecked(expectation.where, what))
        calls.append(replace(call, args=args or None))
    return replace(expectation, calls=tuple(calls))
