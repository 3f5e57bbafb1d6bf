"""Runs the demo: one call, printed line by line as it is spoken, then judged."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from server.demo.conversation import METADATA, SCRIPT, person
from server.demo.conversation_lines import ConversationLines, Tell
from server.demo.report import Report, report
from server.demo.stage import server_process
from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import Answer, EmulatedCall, Person, TwilioEmulator

OURS, THEIRS = "+15550100999", "+15550100123"
RING_SECS = 1.5
# Gemini as it was measured: opening a session, and thinking before each answer.
SETUP_SECS, THINKING_SECS = 0.8, 0.3


async def run_demo(folder: Path, tell: Tell, settings: Mapping[str, str] | None = None) -> Report:
    """Live through the conversation; `tell(who, what)` hears each line as it is spoken.

    `settings` are more settings of the server.

    Leaves `demo.wav` (caller left, agent right) and `demo.txt` in `folder`.

    Raises: StageError when the server does not start.
    """
    told = ConversationLines(tell)
    async with (
        GeminiLiveEmulator(
            Script.parse(SCRIPT),
            setup_secs=SETUP_SECS,
            thinking_secs=THINKING_SECS,
            on_event=told.model,
        ) as gemini,
        TwilioEmulator(numbers=[OURS], on_moment=told.phone) as twilio,
    ):
        twilio.people[THEIRS] = Answer(Person(person), ring_secs=RING_SECS)
        with tempfile.TemporaryDirectory(prefix="voice-ai-demo-") as scratch:
            async with server_process(gemini, twilio, Path(scratch), settings) as server:
                view = await _call(server.http, twilio)
        call, session = twilio.calls[0], gemini.sessions[0]
    _leave(folder, call, view)
    return report(call, session, view)


async def _call(api: httpx.AsyncClient, twilio: TwilioEmulator) -> dict[str, Any]:
    body = {"phone_number": THEIRS, "pipeline": "reminder", "metadata": METADATA}
    placed = (await api.post("/calls", json=body)).raise_for_status().json()
    await (await twilio.call_placed()).settled()
    answer = await api.get(f"/calls/{placed['id']}/result", params={"wait": 5})
    result: dict[str, Any] = answer.raise_for_status().json()
    return result


def _leave(folder: Path, call: EmulatedCall, view: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    call.write_wav(folder / "demo.wav")
    (folder / "demo.txt").write_text(_transcript(view["turns"]), encoding="utf-8")


def _transcript(turns: list[dict[str, Any]]) -> str:
    lines = [
        f"{turn['start_ms'] / 1000:6.2f} s  {turn['who']:<6}  {turn['text']}"
        + ("  (interrupted)" if turn["interrupted"] else "")
        for turn in turns
    ]
    return "\n".join(lines) + "\n"
