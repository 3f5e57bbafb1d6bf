"""Runs the demo: one call, printed line by line as it is spoken, then judged."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from server.demo.conversation import METADATA, SCRIPT, person
from server.demo.report import Report, report
from server.demo.stage import server_process
from server.emulators.gemini_live import GeminiLiveEmulator, Script, Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import Answer, EmulatedCall, Person, TwilioEmulator
from server.emulators.twilio.record import Moment

OURS, THEIRS = "+15550100999", "+15550100123"
RING_SECS = 1.5
# Gemini as it was measured: opening a session, and thinking before each answer.
SETUP_SECS, THINKING_SECS = 0.8, 0.3

Tell = Callable[[str, str], None]


async def run_demo(folder: Path, tell: Tell, settings: Mapping[str, str] | None = None) -> Report:
    """Live through the conversation; `tell(who, what)` hears each line as it is spoken.

    `settings` are more settings of the server.

    Leaves `demo.wav` (caller left, agent right) and `demo.txt` in `folder`.

    Raises: StageError when the server does not start.
    """
    told = _Told(tell)
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
            async with server_process(gemini, twilio, Path(scratch), settings) as api:
                view = await _call(api, twilio)
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


class _Told:
    """Turns what the emulators notice into lines for a person."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._answered = False
        # What was made ready while the phone rang: nobody hears it before the answer.
        self._prepared: list[str] = []

    def phone(self, _: EmulatedCall, moment: Moment) -> None:
        match moment.kind:
            case "ringing":
                self._tell("phone", "rings")
            case "in-progress":
                self._tell("phone", "is picked up")
                self._answered = True
                for words in self._prepared:
                    self._tell("agent", words)
            case "caller.says":
                self._tell("caller", str(moment.detail["text"]))
            case "clear":
                self._tell("server", "barge-in: what was not heard yet is taken back")
            case "completed":
                self._tell("phone", "the line is closed")

    def model(self, _: Session, event: Event) -> None:
        if event.kind == "says" and self._answered:
            self._tell("agent", str(event.message))
        elif event.kind == "says":
            self._prepared.append(str(event.message))
        elif event.kind == "toolCall":
            for called in event.message["functionCalls"]:
                self._tell("tool", f"{called['name']}({_arguments(called['args'])})")


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
