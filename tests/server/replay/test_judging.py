"""`eval` sentences judged over HTTP by a model that is played here."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from google import genai
from google.genai import types

from server.replay.judging import Judge
from server.replay.reading import read_scenarios
from server.replay.results import Replay, Verdict

SCENARIO = """
turns:
  - user: "When do you open?"
    expect:
      - event: response
        eval: "names a time"
"""


@contextmanager
def model(status: int, answer: dict[str, Any]) -> Iterator[tuple[genai.Client, list[str]]]:
    """A text model that gives one answer, and the prompts that it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body["contents"][0]["parts"][0]["text"])
            content = {"parts": [{"text": json.dumps(answer)}], "role": "model"}
            said = json.dumps({"candidates": [{"content": content}]}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url)), asked
        server.shutdown()


def judged(folder: Path, status: int, answer: dict[str, Any]) -> tuple[Replay, list[str]]:
    path = folder / "hours.yaml"
    path.write_text(SCENARIO)
    (scenario,) = read_scenarios(path)
    replay = Replay(scenario, Verdict.PASSED, not_checked=list(scenario.not_checked))
    replay.transcript = [{"who": "agent", "text": "At nine."}]
    with model(status, answer) as (client, asked):
        asyncio.run(Judge(client).judge_all([replay]))
    return replay, asked


def test_a_sentence_that_holds_is_checked_and_keeps_its_reason(tmp_path: Path) -> None:
    replay, asked = judged(tmp_path, 200, {"holds": True, "reason": "it says nine"})

    assert replay.verdict is Verdict.PASSED
    assert replay.not_checked == []
    assert [(j.criterion, j.holds, j.reason) for j in replay.judged] == [
        ("names a time", True, "it says nine")
    ]
    assert "At nine." in asked[0]
    assert "When do you open?" in asked[0]


def test_a_sentence_that_does_not_hold_is_a_failure_with_the_reason(tmp_path: Path) -> None:
    replay, _ = judged(tmp_path, 200, {"holds": False, "reason": "no time was named"})

    assert replay.verdict is Verdict.FAILED
    assert replay.failures[0].seen == "no time was named"
    assert replay.failures[0].where.line == 5


@pytest.mark.parametrize(("status", "answer"), [(403, {}), (200, {"something": "else"})])
def test_without_an_answer_it_stays_not_checked(
    tmp_path: Path, status: int, answer: dict[str, Any]
) -> None:
    replay, _ = judged(tmp_path, status, answer)

    assert replay.verdict is Verdict.PASSED
    assert replay.judged == []
    assert "the judge did not answer" in replay.not_checked[0].what
