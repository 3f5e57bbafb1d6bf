"""Waits for a call's end: prints what happens and what is said meanwhile, and how it went."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import typer

from server.cli.api_client import CallsApi
from server.cli.calls import print_turns
from server.cli.environment import echo

WAIT_AT_ONCE_SECS = 1
_REASONS = {
    "no_model": "The model could not be reached, so the person heard an apology.",
    "system": "Something failed on our side, so the conversation did not take place.",
}
_STATUSES = {
    "busy": "The line was busy.",
    "no_answer": "Nobody answered.",
    "canceled": "The call was canceled before anybody answered.",
    "failed": "The call could not be connected.",
}
NOBODY_SPOKE = "The call was answered, but nobody said a word."


def wait_for_the_end(api: CallsApi, call_id: str) -> None:
    """Print progress (to standard error) and turns until the call ends, in seconds from placing it.

    The command ends with exit code 1 when the conversation did not take place.
    """
    began, status = time.monotonic(), ""
    printed: list[dict[str, Any]] = []
    while True:
        answer = api.get(
            f"/calls/{call_id}/result", {"wait": WAIT_AT_ONCE_SECS}, timeout=WAIT_AT_ONCE_SECS + 30
        )
        call = answer.json()
        answered_after = _secs_until(call, "answered_at") or 0.0
        if answer.status_code == 200:
            break
        if call["status"] != status:
            status = call["status"]
            at = answered_after if status == "in_progress" else time.monotonic() - began
            _print_status(at, status)
        if status == "in_progress":
            turns = api.get(f"/calls/{call_id}/transcript").json()["turns"]
            new = [turn for turn in turns if turn not in printed]
            print_turns(new, answered_after_secs=answered_after)
            printed = turns
    if call["answered_at"] and status != "in_progress":
        _print_status(answered_after, "in_progress")
    new = [turn for turn in call["turns"] if turn not in printed]
    print_turns(new, answered_after_secs=answered_after)
    _print_status(_secs_until(call, "ended_at") or time.monotonic() - began, call["status"])
    reason = f" ({call['end_reason']})" if call["end_reason"] else ""
    echo(f"{call['id']} {call['status']}{reason}")
    if trouble := why_it_failed(call):
        for sentence in trouble:
            echo(sentence, err=True)
        raise typer.Exit(1)


def _secs_until(call: Mapping[str, Any], moment: str) -> float | None:
    """The seconds from placing the call to this moment, both by the server's clock."""
    if call[moment] is None:
        return None
    lasted = datetime.fromisoformat(call[moment]) - datetime.fromisoformat(call["created_at"])
    return lasted.total_seconds()


def _print_status(at_secs: float, status: str) -> None:
    echo(f"{at_secs:7.1f} s  {status.replace('_', ' ')}", err=True)


def why_it_failed(call: Mapping[str, Any]) -> list[str]:
    """Why the conversation did not take place, in sentences; empty: it did."""
    said = [_REASONS.get(call["end_reason"] or "") or _STATUSES.get(call["status"]), call["error"]]
    found = [sentence for sentence in said if sentence]
    if not found and not call["turns"]:
        return [NOBODY_SPOKE]
    return found
