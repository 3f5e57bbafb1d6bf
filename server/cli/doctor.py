"""`voice-ai doctor`: looks at what is configured, says what is wrong and what to do."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from loguru import logger

if TYPE_CHECKING:
    from server.doctor.findings import Finding

_MARKS = {"ok": ("✔", "green"), "warn": ("!", "yellow"), "fail": ("✘", "red"), "skip": ("-", "dim")}
_PLAIN_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL", "skip": "-   "}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check the settings, and all that they lead to.

    That is database, Twilio, Gemini, addresses and this machine. Places no call, changes
    nothing and prints no secret. The exit code is 1 when something is wrong; warnings leave it
    0.
    """
    # Pipecat introduces itself on import.
    logger.disable("pipecat")
    from server.dev.state_folder import address_of_dev
    from server.doctor.examine import diagnose

    findings = diagnose(Path(".env"), dev_url=address_of_dev())
    failed = sum(it.mark == "fail" for it in findings)
    if as_json:
        told = {"ok": not failed, "findings": [asdict(it) for it in findings]}
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _print(findings)
    if failed:
        raise typer.Exit(1)


def _print(findings: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    from server.cli.call_page import console
    from server.observability.printable import printable

    out = console()
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for it in findings:
        sign, style = _MARKS[it.mark]
        mark = Text(sign if out.is_terminal else _PLAIN_MARKS[it.mark], style=style)
        grid.add_row(mark, it.name, Text(printable(it.says)))
        if it.do:
            grid.add_row("", "", Text(f"{'→' if out.is_terminal else '->'} {printable(it.do)}"))
    out.print(grid)
    counts = {mark: sum(it.mark == mark for it in findings) for mark in ("fail", "warn")}
    out.print()
    if not any(counts.values()):
        out.print(Text("Everything that was looked at is well."))
    else:
        out.print(Text(f"{counts['fail']} wrong, {counts['warn']} to look at."))
