"""Calls as a person reads them: whole at 80 columns, on a terminal and in a pipe; and the cost."""

import asyncio
import contextlib
import fcntl
import os
import struct
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from server.calls.schemas import CALL_EXAMPLE, TURNS_EXAMPLE
from server.cli.call_cost import cost_of
from server.cli.call_page import print_call, print_calls
from server.cli.call_wait import NOBODY_SPOKE, wait_for_the_end, why_it_failed
from server.cli.calls import print_turns
from server.cli.conversation_clock import ConversationClock

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


def spoken() -> list[str]:
    """A long turn as `calls transcript` prints it, and as `demo` and `dev` do."""
    words = "We are open every day from noon to eleven in the evening, until midnight on Fridays."
    turn = {"start_ms": 1000, "who": "agent", "text": words, "interrupted": False}

    async def tell() -> None:
        ConversationClock()("agent", words)

    print_turns([turn])
    asyncio.run(tell())
    return words.split()


def test_long_turns_are_broken_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    with terminal(80) as lines:
        words = spoken()
    assert len(lines) == 4
    assert max(len(line) for line in lines) <= 80
    for head, first, rest in (
        ("    1.0 s  agent   ", *lines[:2]),
        ("  0.00 s  agent   ", *lines[2:]),
    ):
        assert first.startswith(head)
        assert rest.startswith(" " * len(head))
        assert (first.removeprefix(head) + " " + rest.strip()).split() == words


def test_a_turn_is_one_line_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    spoken()
    assert len(capsys.readouterr().out.splitlines()) == 2


class Api:
    """A calls API that answers with these results, one after the other."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self._results = [*results]
        self._now: dict[str, Any] = {}

    def get(self, path: str, *_: object, **__: object) -> Any:
        """The next result, or the turns of this one."""
        if not path.endswith("/transcript"):
            self._now = self._results.pop(0)
        status = 200 if self._now["ended_at"] else 202
        return SimpleNamespace(status_code=status, json=lambda: self._now)


def test_who_waits_for_a_call_sees_one_clock_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    talking = CALL | {
        "status": "in_progress",
        "ended_at": None,
        "turns": [{"who": "agent", "text": "Hello", "start_ms": 60, "interrupted": False}],
    }
    later = {"who": "caller", "text": "Hi", "start_ms": 1500, "interrupted": False}
    ended = CALL | {"turns": [*talking["turns"], later]}
    api: Any = Api(
        CALL | {"status": "ringing", "answered_at": None, "ended_at": None}, talking, ended
    )
    wait_for_the_end(api, CALL["id"])
    said = capsys.readouterr()
    out = [line.split(maxsplit=2) for line in said.out.splitlines()[:2]]
    assert out == [["6.1", "s", "agent   Hello"], ["7.5", "s", "caller  Hi"]]
    statuses = [line.split(maxsplit=2) for line in said.err.splitlines()]
    assert statuses[1:] == [["6.0", "s", "in progress"], ["72.0", "s", "completed"]]
    assert statuses[0][2] == "ringing"


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
