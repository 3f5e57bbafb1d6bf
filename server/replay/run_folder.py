"""Runs on disk: what replays came to, to be compared with a later run (`--save`, `--compare`).

FOLDER/run.json    one entry a scenario: verdict, turns, response times
FOLDER/3.wav       both sides of its call
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from server.emulators.twilio.sound import write_stereo
from server.replay.results import Replay

FORMAT = 1
RUN = "run.json"
RATE = 8_000


class RunError(Exception):
    """A folder that is no run; the text says what was expected."""


@dataclass(frozen=True, slots=True)
class SavedReplay:
    """One replay of a run; `turns` as in the record, times in ms from the answer."""

    name: str
    verdict: str
    turns: tuple[dict[str, Any], ...] = ()
    response_ms: tuple[float, ...] = ()
    call_secs: float = 0.0
    wav: Path | None = field(default=None, compare=False)

    def agent_sound(self) -> bytes:
        """PCM16 at 8 kHz of the agent; empty when nobody answered."""
        if self.wav is None:
            return b""
        samples, _ = soundfile.read(self.wav, dtype="int16", always_2d=True)
        return bytes(np.ascontiguousarray(samples[:, 1]).astype("<i2").tobytes())


def save_run(replays: Sequence[Replay], folder: Path) -> None:
    """Write a run; of repeated scenarios, the first repetition. Raises: OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, replay in enumerate(replay for replay in replays if replay.repetition == 1):
        wav = None
        if replay.sound.caller or replay.sound.agent:
            wav = f"{number}.wav"
            sides = (replay.sound.caller, replay.sound.agent)
            write_stereo(folder / wav, *(np.frombuffer(side, dtype="<i2") for side in sides))
        entries.append(
            {
                "name": replay.scenario.name,
                "verdict": replay.verdict.value,
                "turns": replay.transcript,
                "response_ms": replay.response_ms,
                "call_secs": replay.call_secs,
                "wav": wav,
            }
        )
    run = {"format": FORMAT, "replays": entries}
    (folder / RUN).write_text(json.dumps(run, indent=1), encoding="utf-8")


def read_run(folder: Path) -> list[SavedReplay]:
    """Read a run. Raises: RunError."""
    path = folder / RUN
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if run["format"] != FORMAT:
            raise RunError(f"{path}: expected format {FORMAT}, got {run['format']}")
        return [
            SavedReplay(
                entry["name"],
                entry["verdict"],
                tuple(entry["turns"]),
                tuple(entry["response_ms"]),
                entry["call_secs"],
                None if entry["wav"] is None else folder / entry["wav"],
            )
            for entry in run["replays"]
        ]
    except OSError as error:
        says = f"expected a run that `--save` wrote, got none ({error.strerror})"
        raise RunError(f"{path}: {says}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: expected a run that `--save` wrote, got {error}") from None
