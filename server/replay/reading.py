"""Scenario files: which there are, and what scenarios they hold. docs/scenarios.md is the format.

Files written for Pipecat's scripted evals load in their own words: what those ask for and a
telephone cannot show is in `Scenario.not_checked`. Source: `pipecat.evals.scenario` and
`pipecat.evals.script` of Pipecat 1.14.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from server.replay.fields import Fields
from server.replay.problems import Findings
from server.replay.problems import ScenarioError as ScenarioError
from server.replay.reading_call import CALL_KEYS, read_call
from server.replay.reading_context import with_context
from server.replay.reading_line import read_line
from server.replay.reading_model import MODEL_KEYS, read_model
from server.replay.reading_outcome import OUTCOME_KEYS, read_outcome
from server.replay.reading_turns import read_turn
from server.replay.scenario import CallPlan, ModelPlan, Outcome, Scenario, Where
from server.replay.yaml_lines import Entry, Node, read_yaml, top_keys

SUFFIXES = (".yaml", ".yml")
CASSETTE_SUFFIX = ".cassette"

_PLAYED = ("turns", "outcome", "persona")
_OF_A_PERSONA = (
    *("goal", "simulator", "success", "metrics"),
    *("max_turns", "max_duration_s", "max_silence_s", "runs"),
)
SCENARIO_KEYS = (
    *("name", "call", "line", "gemini", "turns", "outcome", "context", "stop_on_failure"),
    *("user", "judge", "trigger_disconnect", "persona"),
    *_OF_A_PERSONA,
)


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The scenario files among these: files as they are named, and all those in folders.

    In a folder, YAML that is only there to be included, or for something else, is left out; what
    is no YAML at all is not, so that reading it says why.

    Raises: ScenarioError for a path where nothing is.
    """
    found: set[Path] = set()
    findings = Findings()
    for path in paths:
        if path.is_dir():
            found.update(file for file in path.rglob("*") if _is_scenario_file(file, path))
        elif path.is_file():
            found.add(path)
        else:
            findings.wrong(Where(path, 1), "file", "a file or a folder", "neither")
    if findings.problems:
        raise ScenarioError(findings.problems)
    return sorted(found)


def _is_scenario_file(file: Path, folder: Path) -> bool:
    inside = file.relative_to(folder).parts
    if file.suffix == CASSETTE_SUFFIX:
        return file.is_file()
    if file.suffix not in SUFFIXES or any(part.startswith(".") for part in inside):
        return False
    if not file.is_file():
        return False
    keys = top_keys(file)
    if keys is None or not keys.isdisjoint({"scenarios", *_PLAYED}):
        return True
    # A misspelt key must not make a scenario vanish.
    known = ("scenarios", *SCENARIO_KEYS)
    return "name" in keys and any(get_close_matches(k, known, cutoff=0.75) for k in keys - {"name"})


def read_scenarios(path: Path) -> list[Scenario]:
    """The scenarios of a file, in its order.

    Raises: ScenarioError, with all that is wrong with the file.
    """
    if path.suffix == CASSETTE_SUFFIX:
        return [Scenario(f"{path.stem}/cassette", Where(path, 1), cassette=path)]
    findings = Findings()
    tree = read_yaml(path, findings)
    if findings.problems:
        raise ScenarioError(findings.problems)
    top = Fields(tree, "", ("scenarios", *SCENARIO_KEYS), findings)
    scenarios: list[Scenario] = []
    if isinstance(tree.value, Mapping):
        name = top.text("name") or path.stem
        if "scenarios" in tree.value:
            scenarios = _several(top, tree.value, name, path)
        else:
            scenarios = [_scenario(tree, name, path, findings)]
    if findings.problems:
        raise ScenarioError(findings.problems)
    return scenarios


def _several(top: Fields, entries: Mapping[str, Entry], name: str, path: Path) -> list[Scenario]:
    defaults = {key: entry for key, entry in entries.items() if key not in ("name", "scenarios")}
    scenarios: dict[str, Scenario] = {}
    items = top.items("scenarios")
    node = top.node("scenarios")
    if node is None or node.value == ():
        top.wrong("scenarios", "a list with a scenario in it", "nothing")
    for at, item in items:
        own = Fields(item, at, SCENARIO_KEYS, top.findings)
        if not isinstance(item.value, Mapping):
            continue
        called = own.text("name") or at
        if not own.has("name"):
            own.wrong("name", "a name")
        if called in scenarios:
            first = scenarios[called].where.line
            own.wrong("name", "a name of its own", f"that of the scenario in line {first}")
        # A scenario replaces a default whole; nothing is merged.
        merged = Node(item.where, {**defaults, **item.value})
        scenarios[called] = _scenario(merged, f"{name}/{called}", path, top.findings)
    return list(scenarios.values())


def _scenario(node: Node, name: str, path: Path, findings: Findings) -> Scenario:
    own = Findings(problems=findings.problems)
    # Unknown keys were noted where they stand, at the top of the file or in the scenario.
    every = node.value if isinstance(node.value, Mapping) else {}
    fields = Fields(node, "", tuple(every), own)
    if not any(fields.has(key) for key in _PLAYED):
        findings.wrong(node.where, "scenario", f"one of {', '.join(_PLAYED)}", "none of them")
    call = _call(fields)
    gemini = fields.mapping("gemini", MODEL_KEYS)
    outcome = fields.mapping("outcome", OUTCOME_KEYS)
    scenario = Scenario(
        name=name,
        where=node.where,
        call=call,
        line=read_line(fields),
        model=ModelPlan() if gemini is None else read_model(gemini),
        turns=tuple(read_turn(item, at, path.parent, own) for at, item in fields.items("turns")),
        outcome=Outcome() if outcome is None else read_outcome(outcome),
        stop_on_failure=fields.yes_no("stop_on_failure", True),
    )
    _check_surroundings(fields)
    if fields.has("persona"):
        scenario = _without_persona(scenario, fields)
    else:
        for key in _OF_A_PERSONA:
            if fields.has(key):
                fields.leave_out(key, f"{key}: only a caller with a persona has it")
    notes = sorted(own.not_checked, key=lambda note: (str(note.where.path), note.where.line))
    return replace(scenario, not_checked=tuple(notes))


def _call(fields: Fields) -> CallPlan:
    given = fields.mapping("call", CALL_KEYS)
    call = CallPlan() if given is None else read_call(given)
    return replace(call, request=with_context(call.request, fields, call.direction))


def _check_surroundings(fields: Fields) -> None:
    """Pipecat's blocks about who speaks and who judges: at a phone both speak, nobody judges."""
    user = fields.mapping("user", ("modality", "speech"))
    if user is not None:
        typed = user.choice("modality", ("audio", "text"), "text") == "text"
        if typed and user.has("modality"):
            user.leave_out("modality", "user: at a phone, what the caller says is spoken")
        if user.free_mapping("speech") is not None:
            user.leave_out("speech", "user.speech: the caller's voice is that of `call.caller`")
    judge = fields.mapping("judge", ("modality", "eval", "transcription"))
    if judge is not None:
        typed = judge.choice("modality", ("audio", "text"), "text") == "text"
        if typed and judge.has("modality"):
            judge.leave_out("modality", "judge: at a phone, what the agent says is spoken")
        if judge.free_mapping("eval") is not None:
            judge.leave_out("eval", "judge.eval: no model judges the replies")
        if judge.free_mapping("transcription") is not None:
            judge.leave_out("transcription", "judge.transcription: the replay has ears of its own")
    if fields.yes_no("trigger_disconnect", None) is not None:
        what = "trigger_disconnect: who hangs up says the call itself"
        fields.leave_out("trigger_disconnect", what)


def _without_persona(scenario: Scenario, fields: Fields) -> Scenario:
    """A caller whom a model plays cannot be replayed: nothing of the scenario is checked."""
    if fields.has("turns"):
        fields.wrong("turns", "turns or a persona, not both")
    fields.text("persona")
    fields.leave_out("persona", "persona: a caller played by a model is never the same twice")
    if fields.has("outcome"):
        fields.leave_out("outcome", "outcome: nobody talks in this call")
    return replace(scenario, turns=(), outcome=Outcome())
