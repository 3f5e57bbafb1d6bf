"""`voice-ai calls`: look at the calls of a running server, end and erase them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.api_client import CallsApi, KeyOption, ServerOption
from server.cli.environment import echo, echo_entry

app = typer.Typer(help="Look at calls, end and erase them.", no_args_is_help=True)


CallId = Annotated[str, typer.Argument(help="The call's id, or how it begins.")]


@app.command("list")
def list_calls(
    status: Annotated[str | None, typer.Option(help="Only calls with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """The latest calls, newest first."""
    from server.cli.call_page import print_calls

    params: dict[str, Any] = {"limit": limit} | ({"status": status} if status else {})
    with CallsApi(server, api_key) as api:
        print_calls(api.get("/calls", params).json()["calls"])


@app.command()
def show(call_id: CallId, server: ServerOption = None, api_key: KeyOption = None) -> None:
    """How one call ended, what was said and done, and its cost."""
    from server.cli.call_page import print_call

    with CallsApi(server, api_key) as api:
        path = f"/calls/{api.call_id(call_id)}"
        call = api.get(path).json()
        turns = api.get(f"{path}/transcript").json()["turns"]
        print_call(call, turns, api.every(f"{path}/events", "events"))


@app.command()
def transcript(call_id: CallId, server: ServerOption = None, api_key: KeyOption = None) -> None:
    """What was said, as it was heard."""
    with CallsApi(server, api_key) as api:
        print_turns(api.get(f"/calls/{api.call_id(call_id)}/transcript").json()["turns"])


@app.command()
def recording(
    call_id: CallId,
    to: Annotated[Path | None, typer.Option(help="The file; ID.wav by default.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """Fetch the recording of an ended call.

    The caller is left, the agent right.
    """
    with CallsApi(server, api_key) as api:
        call_id = api.call_id(call_id)
        path = to or Path(f"{call_id}.wav")
        byte_count = api.download(f"/calls/{call_id}/recording", path)
    echo(f"{path}: {byte_count} bytes")


@app.command("hang-up")
def hang_up(call_id: CallId, server: ServerOption = None, api_key: KeyOption = None) -> None:
    """End a call; one that has ended already is fine."""
    with CallsApi(server, api_key) as api:
        api.post(f"/calls/{api.call_id(call_id)}/terminate")


@app.command()
def move(
    call_id: CallId,
    to: Annotated[
        str | None,
        typer.Option(help="The instance, as `voice-ai instances` names it; by default, any other."),
    ] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """Have another instance go on with a call.

    It does so from a moment in which neither side speaks.
    """
    with CallsApi(server, api_key) as api:
        whole_id = api.call_id(call_id)
        goes_to = api.post(f"/calls/{whole_id}/move", {"instance": to}).json()["instance"]
    echo(f"{whole_id} goes to {goes_to or 'the instance that its next stream reaches'}")


@app.command()
def erase(
    call_id: CallId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """Erase an ended call with all that was kept of it.

    Its recording goes, too.
    """
    with CallsApi(server, api_key) as api:
        whole_id = api.call_id(call_id)
        if not yes:
            typer.confirm(f"Erase the call {whole_id} for good?", abort=True)
        api.delete(f"/calls/{whole_id}")
    echo(f"{whole_id} erased")


def print_turns(turns: list[dict[str, Any]], *, answered_after_secs: float = 0.0) -> None:
    """What was said, with the seconds from the answer, or from so many seconds before it."""
    for turn in turns:
        cut = " …" if turn["interrupted"] else ""
        at = answered_after_secs + turn["start_ms"] / 1000
        echo_entry(f"{at:7.1f} s  {turn['who']:<6}  ", f"{turn['text']}{cut}")
