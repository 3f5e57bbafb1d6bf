"""Calls as a person reads them: whole at 80 columns, on a terminal and in a pipe; and the cost."""

import contextlib
import fcntl
import os
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from server.calls.schemas import CALL_EXAMPLE, TURNS_EXAMPLE
from server.cli.call_cost import cost_of
from server.cli.call_page import print_call, print_calls
from server.cli.call_wait import NOBODY_SPOKE, why_it_failed

NO_LATENCY = {
    "first_sound_ms": None,
    "response_ms": {"p50": None, "max": None, "each": []},
    "barge_in_ms": [],
    "share_ms": {},
}
CALL: dict[str, Any] = {
    **CALL_EXAMPLE,
    "error": None,
    "latency": NO_LATENCY,
    "recording": False,
    "usage": [
        {"direction": "input", "modality": "audio", "tokens": 1_000_000},
        {"direction": "output", "modality": "audio", "tokens": 1000},
        {"direction": "output", "modality": "smell", "tokens": 5},
    ],
}


def event(number: int, secs: float, kind: str, **detail: Any) -> dict[str, Any]:
    return {"id": number, "at": f"2026-01-05T10:00:{secs:09.6f}Z", "kind": kind, "detail": detail}


EVENTS = [
    event(1, 0.25, "life.placed", inbound=False),
    event(2, 9.5, "tool.answered", name="look", ok=False, ms=12, why="ConnectionError: db down"),
    event(3, 9.0, "tool.called", name="look", arguments={"day": "monday", "words": "long " * 30}),
]


@contextmanager
def terminal(columns: int) -> Iterator[list[str]]:
    """Standard output as a terminal of this width; its lines are there afterwards."""
    reading, writing = os.openpty()
    fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    kept, lines, said = sys.stdout, [], bytearray()

    def read() -> None:
        # What is written comes in pieces, and an error behind the last one.
        with contextlib.suppress(OSError):
            while piece := os.read(reading, 65_536):
                said.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    sys.stdout = os.fdopen(writing, "w")
    try:
        yield lines
    finally:
        sys.stdout.close()
        sys.stdout = kept
        reader.join()
        os.close(reading)
    lines += said.decode().splitlines()


def shown(call: dict[str, Any] = CALL) -> None:
    print_calls([call])
    print_call(call, TURNS_EXAMPLE, EVENTS)


def check(lines: list[str], columns: int) -> None:
    assert max(len(line) for line in lines) <= columns
    text = "\n".join(lines)
    assert "0d9c5a4e  01-05 10:00:00  out  +15550100123" in text
    assert "Are you open today?" in text
    assert "failed after 12 ms: ConnectionError: db down" in text
    assert "recording" in text
    assert "false" in text
    assert "False" not in text
    assert "Hello! How can … (interrupted)" in text
    events = text[text.rindex("events") :]
    assert events.index("tool.called") < events.index("tool.answered")
    assert "8.750 s" in events


def test_in_a_pipe_it_is_80_columns_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown()
    check(capsys.readouterr().out.splitlines(), 80)


def test_on_a_terminal_it_is_as_wide_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with terminal(80) as lines:
        shown()
    check(lines, 80)


def test_a_long_address_is_folded_and_lost_nowhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    address = "sip:" + "a-long-name" * 8 + "@example.com"
    print_calls([CALL | {"phone_number": address}])
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert address in "".join(line[30:52].strip() for line in lines)


def test_the_cost_is_of_tokens_and_of_minutes_that_have_begun() -> None:
    cost = cost_of(CALL)
    assert cost.gemini == pytest.approx(3.0 + 0.012)
    assert cost.minutes == 2  # of 66 seconds
    assert cost.twilio == pytest.approx(2 * (0.014 + 0.0044))
    assert cost.unpriced == ("output smell",)
    unanswered = cost_of(CALL | {"duration_seconds": None, "usage": []})
    assert (unanswered.gemini, unanswered.twilio) == (0, 0)


@pytest.mark.parametrize(
    ("status", "reason", "error", "turns", "says"),
    [
        ("completed", "agent", None, TURNS_EXAMPLE, []),
        ("completed", "caller", None, TURNS_EXAMPLE, []),
        ("completed", "caller", None, [], [NOBODY_SPOKE]),
        ("completed", "no_model", "certificate", [], ["The model could not be reached", "certif"]),
        ("completed", "system", "Twilio has not reached", [], ["Something failed", "Twilio has"]),
        ("busy", "caller", None, [], ["The line was busy."]),
        ("no_answer", "caller", None, [], ["Nobody answered."]),
        ("failed", "system", "Twilio refused", [], ["Something failed", "Twilio refused"]),
    ],
)
def test_a_conversation_that_did_not_take_place_is_told_in_words(
    status: str, reason: str, error: str | None, turns: list[Any], says: list[str]
) -> None:
    call = {"status": status, "end_reason": reason, "error": error, "turns": turns}
    sentences = why_it_failed(call)
    assert len(sentences) == len(says)
    for sentence, begins in zip(sentences, says, strict=True):
        assert sentence.startswith(begins)
