"""`voice-ai bench audio`: what the line does to sound, by itself."""

import typer

from server.cli.bench_options import JsonFile, write_json


def audio(json_file: JsonFile = None) -> None:
    """What the line does to sound.

    Level, frequencies, noise, folded sound, delay and the end, beside soxr's settings. The exit
    code is 1 when ours is not as good as it has to be.
    """
    # It brings Pipecat along, which `--help` need not wait for.
    from rich.console import Console

    from server.bench.audio_report import OURS, audio_as_json, measure_all, print_audio, verdicts

    result = measure_all()
    print_audio(result, Console())
    write_json(json_file, audio_as_json(result))
    if not all(one.passed for one in verdicts(result[OURS])):
        raise typer.Exit(1)
