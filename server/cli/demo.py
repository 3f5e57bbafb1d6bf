"""`voice-ai demo`: hear one whole conversation, without any credential."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from server.cli.conversation_clock import ConversationClock
from server.cli.environment import echo, echo_lines, exit_without_package, make_folder_or_exit


def demo(
    out: Annotated[Path, typer.Option(help="Where demo.wav and demo.txt are put.")] = Path("out"),
) -> None:
    """Have one call between emulators and the real server.

    It takes as long as a call does, and needs no credential.
    """
    try:
        from server.demo.run import run_demo
        from server.demo.stage import StageError
    except ModuleNotFoundError as error:
        exit_without_package("The demo", error)

    make_folder_or_exit(out)
    try:
        report = asyncio.run(run_demo(out, ConversationClock()))
    except StageError as error:
        echo_lines(f"The server did not start:\n{error}", err=True)
        raise typer.Exit(1) from None
    typer.echo()
    width = max(len(figure.name) for figure in report.figures)
    for figure in report.figures:
        echo(f"  {figure.name:<{width}}  {figure.value}")
    typer.echo(
        f"\n  {out / 'demo.wav'}: caller left, agent right\n  {out / 'demo.txt'}: transcript"
    )
    for sentence in report.wrong:
        echo(f"WRONG: {sentence}", err=True)
    if report.wrong:
        raise typer.Exit(1)
