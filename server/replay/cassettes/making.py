"""Makes a scenario of a call: a folder with the caller's track, a YAML file and the cassette.

FOLDER/<name>/scenario.yaml   turns, the model's rules, and as expectations what held
FOLDER/<name>/caller.wav      the caller, sample by sample as it came
FOLDER/<name>/call.cassette   the whole call; not when it is redacted
"""

import audioop
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from agent.model_instructions import KEYS_PRESSED
from pipelines.call import catalogue
from pipelines.recording.tape import Kind
from server.cassettes.cassette import Cassette
from server.replay.cassettes.conversation import (
    Called,
    Conversation,
    Pressed,
    Rule,
    Spoken,
    conversation_of,
)
from server.replay.cassettes.heard_sound import caller_mulaw, mulaw_of
from server.replay.cassettes.redaction import Redaction

SCENARIO, TRACK, CASSETTE = "scenario.yaml", "caller.wav", "call.cassette"
RATE = 8_000
# Speech is found late and ends early, by the energy of packets.
BEFORE_SECS, AFTER_SECS = 0.3, 0.25
# What held may take so much longer.
HEAD_ROOM = 3
_HEAD = """\
# Made of a call by `voice-ai scenarios from-call`. What held in the call is expected: edit it.
"""
_KEYS_PRESSED = re.compile(re.escape(KEYS_PRESSED).replace(r"\{\}", "([0-9*#A-D ]+)"))
_PROFILE_FIELDS = {
    "greeting": "greeting",
    "system_prompt": "system_prompt",
    "voice": "voice",
    "language": "language",
    "vad": "vad_config",
    "max_duration_seconds": "max_duration_seconds",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A scenario's folder, and how many words or numbers were hidden in it."""

    folder: Path
    turns: int
    secs: float


def make_scenario(
    cassette: Cassette, folder: Path, *, name: str, redaction: Redaction | None = None
) -> Made:
    """Write the folder. Raises: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    conversation = conversation_of(cassette)
    track = audioop.ulaw2lin(caller_mulaw(cassette.messages), 2)
    slices = _slices(conversation.spoken, cassette, len(track) // 2)
    plain = _scenario(cassette, conversation, slices, name, redaction)
    if redaction is not None:
        language = str(cassette.head.profile.get("language", "en-US"))
        track = _covered(track, conversation.spoken, slices, redaction, language)
    samples = np.frombuffer(track, dtype="<i2")
    soundfile.write(folder / TRACK, samples, RATE, subtype="ULAW", format="WAV")
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    (folder / SCENARIO).write_text(_HEAD + text, encoding="utf-8")
    if redaction is None:
        shutil.copyfile(cassette.path, folder / CASSETTE)
    else:
        # Made here before without a redaction: it holds all that is hidden now.
        (folder / CASSETTE).unlink(missing_ok=True)
    return Made(folder, len(plain["turns"]), len(samples) / RATE)


_Slices = dict[int, tuple[int, int]]


def _slices(spoken: Sequence[Spoken], cassette: Cassette, length: int) -> _Slices:
    """By the index of each caller's turn, its first and last sample in the track."""
    answered = cassette.answered_at or 0.0
    arrivals = [m.at - answered for m in cassette.of(Kind.PHONE_IN) if mulaw_of(m.content)]
    per_packet = length / len(arrivals) if arrivals else 0.0

    def sample(secs: float) -> int:
        packets = int(np.searchsorted(arrivals, secs))
        return min(length, round(packets * per_packet))

    found: _Slices = {}
    floor = 0
    callers = [index for index, turn in enumerate(spoken) if turn.who == "caller"]
    for place, index in enumerate(callers):
        turn = spoken[index]
        following = spoken[callers[place + 1]].start if place + 1 < len(callers) else None
        until = turn.end + AFTER_SECS
        if following is not None:
            until = min(until, max(turn.end, following - BEFORE_SECS))
        start = max(floor, sample(turn.start - BEFORE_SECS))
        found[index] = (start, max(start, sample(until)))
        floor = found[index][1]
    return found


def _covered(
    track: bytes, spoken: Sequence[Spoken], slices: _Slices, redaction: Redaction, language: str
) -> bytes:
    """A tone over hidden words; what is in no turn cannot be judged, and becomes silence."""
    covered = bytearray(len(track))
    for index, (start, end) in slices.items():
        piece = slice(2 * start, 2 * end)
        covered[piece] = redaction.audio(track[piece], spoken[index].text, language)
    return bytes(covered)


def _scenario(
    cassette: Cassette,
    conversation: Conversation,
    slices: _Slices,
    name: str,
    redaction: Redaction | None,
) -> dict[str, Any]:
    end = cassette.end or {}
    plain: dict[str, Any] = {
        "name": name,
        "call": _call(cassette, str(end.get("end_reason")), redaction),
        "gemini": {"rules": [_rule(rule, cassette) for rule in _kept(conversation.rules)]},
        "turns": _turns(conversation, slices),
        "outcome": _outcome(conversation, end),
    }
    if redaction is not None:
        rules, outcome = plain["gemini"]["rules"], plain["outcome"]
        plain["gemini"] = {"rules": [_redacted_rule(rule, redaction) for rule in rules]}
        plain["turns"] = [_redacted_turn(turn, redaction) for turn in plain["turns"]]
        record = [_redacted_record(turn, redaction) for turn in outcome["record"]]
        plain["outcome"] = {**outcome, "record": record}
    return plain


def _redacted_rule(rule: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """What is said is redacted, and what tools are called with; names of tools are none."""
    redacted = dict(rule)
    if "hears" in rule:
        redacted["hears"] = redaction.text(rule["hears"])
    if "text_contains" in rule:
        redacted["text_contains"] = _redacted_trigger(rule["text_contains"], redaction)
    redacted["do"] = [
        {"say": redaction.agent_text(step["say"])}
        if "say" in step
        else {"call": _redacted_call(step["call"], redaction)}
        for step in rule["do"]
    ]
    return redacted


def _redacted_trigger(text: str, redaction: Redaction) -> str:
    """What the model is told as text, up to the first hidden word; keys as the caller's are."""
    if pressed := _KEYS_PRESSED.fullmatch(text):
        return KEYS_PRESSED.format(" ".join(redaction.keys(pressed[1].replace(" ", ""))))
    first, *_ = re.split(r"\[(?:name|number)\]", redaction.agent_text(text))
    return first.rstrip() or text


def _redacted_call(call: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    return {**call, **({"args": redaction.value(call["args"])} if "args" in call else {})}


def _redacted_record(turn: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    if "text_contains" not in turn:
        return dict(turn)
    hide = redaction.text if turn["who"] == "caller" else redaction.agent_text
    return {**turn, "text_contains": hide(turn["text_contains"])}


def _redacted_turn(turn: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """Words are redacted; names of events and of tools are none."""
    redacted = dict(turn)
    if "user" in turn:
        redacted["user"] = redaction.text(turn["user"])
    if "dtmf" in turn:
        redacted["dtmf"] = redaction.keys(turn["dtmf"])
    if "expect" in turn:
        redacted["expect"] = [_redacted_expectation(each, redaction) for each in turn["expect"]]
    return redacted


def _redacted_expectation(expectation: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    redacted = dict(expectation)
    if "text_contains" in redacted:
        redacted["text_contains"] = redaction.agent_text(redacted["text_contains"])
    if "calls" in redacted:
        redacted["calls"] = [_redacted_call(call, redaction) for call in redacted["calls"]]
    return redacted


def _call(cassette: Cassette, end_reason: str, redaction: Redaction | None) -> dict[str, Any]:
    head = cassette.head
    call: dict[str, Any] = {"pipeline": head.pipeline}
    if head.direction == "inbound":
        call["direction"] = "inbound"
    if redaction is None and head.phone_number.startswith("+"):
        call["number"] = head.phone_number
    usual = catalogue.find(head.pipeline).profile.model_dump(mode="json")
    for field, key in _PROFILE_FIELDS.items():
        value = head.profile.get(field)
        if value is not None and value != usual.get(field):
            if isinstance(value, Mapping):
                value = {k: v for k, v in value.items() if v is not None}
            call[key] = redaction.value(value) if redaction and isinstance(value, str) else value
    if redaction is not None and "language" in call:
        call["language"] = head.profile["language"]
    if redaction is not None and "voice" in call:
        call["voice"] = head.profile["voice"]
    if head.metadata and head.direction != "inbound":
        call["metadata"] = redaction.metadata(head.metadata) if redaction else dict(head.metadata)
    if end_reason == "caller":
        call["then"] = "hangs_up"
    return call


def _kept(rules: Sequence[Rule]) -> list[Rule]:
    """All but what the emulated model does by itself: say what it is told word for word."""
    return [r for r in rules if r.kind != "text_contains" or '"' not in r.what]


def _rule(rule: Rule, cassette: Cassette) -> dict[str, Any]:
    what = rule.what if rule.kind != "text_contains" else rule.what[:80]
    return {rule.kind: what, "do": rule.do}


def _turns(conversation: Conversation, slices: _Slices) -> list[dict[str, Any]]:
    acts: list[tuple[float, Spoken | Pressed | Called, int]] = [
        *((_happens_at(turn), turn, index) for index, turn in enumerate(conversation.spoken)),
        *((keys.start, keys, -1) for keys in conversation.pressed),
        *((called.start, called, -1) for called in conversation.called),
    ]
    turns: list[dict[str, Any]] = []
    speaks: Spoken | None = None
    for _, act, index in sorted(acts, key=lambda act: act[0]):
        if isinstance(act, Called):
            _expect(turns, {"event": "function_call", "calls": [_call_of(act)]})
        elif isinstance(act, Pressed):
            turns.append({"dtmf": act.digits})
        elif act.who == "agent":
            speaks = act
            if act.interrupted:
                _expect(turns, {"event": "bot_started_speaking"})
            elif act.text:
                _expect(turns, {"event": "response", "text_contains": act.text})
        else:
            start, end = slices[index]
            audio = {"file": TRACK, "from_ms": start * 1000 // RATE, "to_ms": end * 1000 // RATE}
            turn: dict[str, Any] = {"user": act.text, "audio": audio}
            if speaks is not None and speaks.interrupted and act.start < speaks.end + 1:
                delay = max(0, round((act.start - speaks.start - BEFORE_SECS) * 1000))
                turn["send_after"] = {"event": "bot_started_speaking", "delay_ms": delay}
                turn["expect"] = [{"event": "bot_interrupted"}]
            turns.append(turn)
    return turns


def _happens_at(turn: Spoken) -> float:
    """A `response` happens when it was heard to its end."""
    return turn.end if turn.who == "agent" and not turn.interrupted else turn.start


def _expect(turns: list[dict[str, Any]], expectation: dict[str, Any]) -> None:
    if not turns:
        turns.append({})
    turns[-1].setdefault("expect", []).append(expectation)


def _call_of(called: Called) -> dict[str, Any]:
    return {"name": called.name, **({"args": dict(called.arguments)} if called.arguments else {})}


def _outcome(conversation: Conversation, end: Mapping[str, Any]) -> dict[str, Any]:
    outcome: dict[str, Any] = {key: end[key] for key in ("status", "end_reason") if end.get(key)}
    outcome["record"] = [
        {
            "who": turn.who,
            **({} if turn.interrupted else {"text_contains": turn.text}),
            **({"interrupted": True} if turn.interrupted else {}),
        }
        for turn in conversation.spoken
    ]
    outcome |= {"gaps": 0, "cut_off_ms": 60, "altered_ms": 60}
    if conversation.response_ms:
        outcome["response_ms"] = -(-int(HEAD_ROOM * max(conversation.response_ms)) // 500) * 500
    if conversation.events:
        outcome["events"] = conversation.events
    return outcome
