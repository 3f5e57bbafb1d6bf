"""`voice-ai bench audio`: what the line does to sound, by itself."""

import json
from pathlib import Path
from typing import Annotated

import typer


def audio(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write everything to this file, too.")
    ] = None,
) -> None:
    """What the line does to sound: level, frequencies, noise, folded sound, delay, the end.

    Beside soxr's settings. The exit code is 1 when ours is not as good as it has to be.
    """
    # It brings Pipecat along, which `--help` need not wait for.
    from rich.console import Console

    from server.bench.audio_report import OURS, audio_as_json, measure_all, print_audio, verdicts

    result = measure_all()
    print_audio(result, Console())
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(audio_as_json(result), indent=2) + "\n", encoding="utf-8")
    if not all(one.passed for one in verdicts(result[OURS])):
        raise typer.Exit(1)
