"""Options that several `voice-ai bench` commands have, and the file that each can write."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli.environment import echo, echo_lines

if TYPE_CHECKING:
    from server.bench.systems import System

JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write everything to this file, too.")
]
Calls = Annotated[int, typer.Option(min=1, max=500, help="Calls at once.")]
Priority = Annotated[
    bool, typer.Option(help="Run ahead of all other work on this machine, where that is allowed.")
]
Pin = Annotated[
    bool, typer.Option(help="Keep the server to a core of its own, where there are two.")
]


def chosen_systems(names: list[str] | None, usual: "tuple[System, ...]") -> "tuple[System, ...]":
    """The systems of `--system`, each once; `usual` when there is none.

    Raises: typer.BadParameter for a name that is not known.
    """
    from server.bench.systems import System

    try:
        return tuple(dict.fromkeys(System(name) for name in names or usual))
    except ValueError:
        given, known = ", ".join(names or ()), ", ".join(System)
        raise typer.BadParameter(f"--system {given}: there are {known}") from None


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """A bench that cannot run ends the command with a sentence that says why."""
    from server.bench.machine import NoPriority
    from server.demo.stage import StageError
    from server.demo.valkey import NoValkey

    try:
        yield
    except NoPriority as error:
        echo(f"--priority: {error}.", err=True)
    except NoValkey as error:
        echo(f"A Valkey is needed: {error}.", err=True)
    except StageError as error:
        echo_lines(f"The server did not start:\n{error}", err=True)
    else:
        return
    raise typer.Exit(1)


def write_json(file: Path | None, told: dict[str, Any]) -> None:
    """Write what was measured, and make the folder for it; nothing without a file."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
