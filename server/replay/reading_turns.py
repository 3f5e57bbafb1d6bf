"""The turns of a call, from a file: what the caller does, when, and what is expected of it."""

import os
from collections.abc import Mapping
from pathlib import Path

import soundfile

from server.replay.fields import Fields, text_of
from server.replay.problems import Findings
from server.replay.reading_expectations import NOT_SHOWN, event_of, read_expectation
from server.replay.scenario import Expectation, SendAfter, Turn
from server.replay.yaml_lines import Node

KEYPAD = frozenset("0123456789*#")
_LONGEST_MS = 86_400_000

_KEYS = ("user", "audio", "dtmf", "hang_up", "send_after", "expect", "image")


def read_turn(node: Node, name: str, folder: Path, findings: Findings) -> Turn:
    """One item of `turns`. `folder` is the scenario file's, where recordings are looked for."""
    fields = Fields(node, name, _KEYS, findings)
    parts = _said(fields)
    audio, audio_ms = _recording(fields, folder)
    dtmf = _keys_pressed(fields)
    hang_up = fields.yes_no("hang_up", False)
    done = [key for key in ("user", "dtmf", "hang_up") if fields.has(key)]
    if not hang_up and "hang_up" in done:
        done.remove("hang_up")
    if len(done) > 1:
        fields.wrong(done[1], f"nothing, for the turn has `{done[0]}` already")
    if fields.has("send_after") and not done:
        fields.wrong("send_after", "`user`, `dtmf` or `hang_up` beside it", "nothing to send")
    if fields.text("image") is not None:
        fields.leave_out("image", "image: a telephone sends no images")
    expected = [read_expectation(item, at, findings) for at, item in fields.items("expect")]
    expect = tuple(expectation for expectation in expected if expectation is not None)
    if dtmf is not None:
        expect = _without_transcription(expect, findings)
    return Turn(
        where=fields.where,
        parts=parts,
        audio=audio,
        audio_ms=audio_ms,
        dtmf=dtmf,
        hang_up=hang_up,
        send_after=_send_after(fields),
        expect=expect,
    )


def _without_transcription(
    expect: tuple[Expectation, ...], findings: Findings
) -> tuple[Expectation, ...]:
    """Keys become a text of their own in the bot; nothing at a phone or a model shows it."""
    for expectation in expect:
        if expectation.event == "user_transcription":
            what = "user_transcription of keys: what is pressed is nowhere transcribed as speech"
            findings.leave_out(expectation.where, what)
    return tuple(one for one in expect if one.event != "user_transcription")


def _said(fields: Fields) -> tuple[str | int, ...]:
    node = fields.node("user")
    if node is None:
        return ()
    if isinstance(node.value, tuple):
        parts = [_part(item, name, fields.findings) for name, item in fields.items("user")]
        # What is wrong with a part was noted.
        if None not in parts and not any(isinstance(part, str) for part in parts):
            fields.wrong("user", "a text among the pauses", "none")
        return tuple(part for part in parts if part is not None)
    text = _spoken(node, fields.path("user"), fields.findings)
    return () if text is None else (text,)


def _part(node: Node, name: str, findings: Findings) -> str | int | None:
    if not isinstance(node.value, Mapping):
        return _spoken(node, name, findings)
    fields = Fields(node, name, ("pause_ms",), findings)
    if not fields.has("pause_ms"):
        fields.wrong("pause_ms", "a pause in ms")
    return fields.whole("pause_ms", None, least=1)


def _spoken(node: Node, name: str, findings: Findings) -> str | None:
    text = text_of(node, name, findings)
    if text is not None and not any(character.isalnum() for character in text):
        findings.wrong(node.where, name, "a text with a word in it", node.shown())
        return None
    return None if text is None else text.strip()


def _keys_pressed(fields: Fields) -> str | None:
    node = fields.node("dtmf")
    if node is None:
        return None
    # Digits may stand without quotes.
    if isinstance(node.value, str | int) and node.raw and set(node.raw) <= KEYPAD:
        return node.raw
    fields.wrong("dtmf", "keys among 0-9, * and # (in quotes, for # begins a comment)")
    return None


def _recording(fields: Fields, folder: Path) -> tuple[Path | None, tuple[int, int] | None]:
    """The file, and the part of it that is played (ms); `audio` is a path, or names both."""
    node = fields.node("audio")
    if node is None:
        return None, None
    part = None
    if isinstance(node.value, Mapping):
        of = fields.mapping("audio", ("file", "from_ms", "to_ms"))
        assert of is not None
        text = of.text("file")
        start, end = of.whole("from_ms", 0), of.whole("to_ms", None)
        if text is None and not of.has("file"):
            of.wrong("file", "a recording, relative to the scenario's file")
        if end is not None and end <= start:
            of.wrong("to_ms", f"more than from_ms, which is {start}")
        part = (start, _LONGEST_MS if end is None else end)
    else:
        text = fields.text("audio")
    if text is None:
        return None, None
    user = fields.node("user")
    if user is None:
        fields.wrong("audio", "`user` beside it, with what the recording says", "no `user`")
    elif isinstance(user.value, tuple):
        fields.wrong("audio", "a text in `user`, for a recording has its own pauses", "a list")
    path = Path(os.path.normpath(folder / text))
    problem = _unplayable(path)
    if problem is not None:
        fields.wrong("audio", "a recording, relative to the scenario's file", problem)
        return None, None
    return path, part


def _unplayable(path: Path) -> str | None:
    """Why a file cannot be played; None: it can, at any rate and with any number of channels."""
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        return f"no file {path}"
    try:
        soundfile.info(path)
    except (RuntimeError, OSError):
        return f"a file that is no sound: {path}"
    return None


def _send_after(fields: Fields) -> SendAfter | None:
    after = fields.mapping("send_after", ("event", "delay_ms"))
    if after is None:
        return None
    event = event_of(after)
    delay_ms = after.whole("delay_ms", 0)
    if event is not None and event in NOT_SHOWN:
        after.leave_out("event", f"send_after {event}: {NOT_SHOWN[event]}; it is sent as usual")
        return None
    if not after.has("event") and delay_ms == 0:
        findings = after.findings
        findings.wrong(after.where, after.name, "an event, or a delay_ms above 0", "neither")
    return SendAfter(after.where, event, delay_ms)
