"""`voice-ai calls`: look at the calls of a running server, and end them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.api_client import CallsApi, KeyOption, ServerOption
from server.cli.environment import echo
from server.cli.latency_chart import draw, shows_blocks

app = typer.Typer(help="Look at calls, and end them.", no_args_is_help=True)


def _part_of_an_address(call_id: str) -> str:
    if not (call_id.isascii() and call_id.isalnum()):
        echo(f"There is no call with this id: {call_id!r}.", err=True)
        raise typer.Exit(1)
    return call_id


CallId = Annotated[str, typer.Argument(help="The call's id.", callback=_part_of_an_address)]


@app.command("list")
def list_calls(
    status: Annotated[str | None, typer.Option(help="Only calls with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 20,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """The latest calls, newest first."""
    params: dict[str, Any] = {"limit": limit} | ({"status": status} if status else {})
    with CallsApi(server, api_key) as api:
        page = api.get("/calls", params).json()
    for call in page["calls"]:
        lasted = call["duration_seconds"]
        told = (
            call["id"],
            call["created_at"][:19].replace("T", " "),
            f"{call['direction']:<8}",
            f"{call['phone_number']:<16}",
            f"{call['status']:<11}",
            f"{call['end_reason'] or '':<8}",
            "" if lasted is None else f"{lasted:.0f} s",
        )
        echo("  ".join(told).rstrip())


@app.command()
def show(call_id: CallId, server: ServerOption = None, api_key: KeyOption = None) -> None:
    """One call, field by field, how fast it was, and what happened in it."""
    with CallsApi(server, api_key) as api:
        call = api.get(f"/calls/{call_id}").json()
        events = api.get(f"/calls/{call_id}/events").json()["events"]
    latency = call.pop("latency")
    for name, value in call.items():
        if value not in (None, {}):
            echo(f"{name:<17} {value}")
    for line in draw(latency, blocks=shows_blocks()):
        echo(line)
    for event in events:
        detail = " ".join(f"{key}={value}" for key, value in event["detail"].items())
        echo(f"{event['at'][11:23]}  {event['kind']:<20} {detail}".rstrip())


@app.command()
def transcript(call_id: CallId, server: ServerOption = None, api_key: KeyOption = None) -> None:
    """What was said, as it was heard."""
    with CallsApi(server, api_key) as api:
        print_turns(api.get(f"/calls/{call_id}/transcript").json()["turns"])


@app.command()
def recording(
    call_id: CallId,
    to: Annotated[Path | None, typer.Option(help="The file; ID.wav by default.")] = None,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """Fetch the recording of an ended call: the caller left, the agent right."""
    path = to or Path(f"{call_id}.wav")
    with CallsApi(server, api_key) as api:
        byte_count = api.download(f"/calls/{call_id}/recording", path)
    echo(f"{path}: {byte_count} bytes")


@app.command("hang-up")
def hang_up(call_id: CallId, server: ServerOption = None, api_key: KeyOption = None) -> None:
    """End a call; one that has ended already is fine."""
    with CallsApi(server, api_key) as api:
        api.post(f"/calls/{call_id}/terminate")


def print_turns(turns: list[dict[str, Any]]) -> None:
    """What was said, one line a turn, with the seconds from the answer."""
    for turn in turns:
        cut = " …" if turn["interrupted"] else ""
        echo(f"{turn['start_ms'] / 1000:7.1f} s  {turn['who']:<6}  {turn['text']}{cut}")
