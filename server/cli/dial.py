"""`voice-ai dial`: place a call by a running server."""

from typing import Annotated, Any

import typer

from server.cli.api_client import CallsApi, KeyOption, ServerOption
from server.cli.call_wait import wait_for_the_end
from server.cli.environment import echo


def dial(
    phone_number: Annotated[str, typer.Argument(help="Whom to call, such as +15550100123.")],
    greeting: Annotated[str | None, typer.Option(help="The agent's first words.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="See `voice-ai pipelines`.")] = None,
    voice: Annotated[str | None, typer.Option(help="One of Gemini's voices.")] = None,
    language: Annotated[str | None, typer.Option(help="Such as en-US.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help='Fills $NAME in prompt and greeting: name="Ms Lee". May be repeated.',
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end and print what was said.")
    ] = False,
    server: ServerOption = None,
    api_key: KeyOption = None,
) -> None:
    """Call a number. With --wait, the exit code is 0 only when the conversation took place."""
    asked: dict[str, Any] = {
        "phone_number": phone_number,
        "greeting": greeting,
        "system_prompt": prompt,
        "pipeline": pipeline,
        "voice": voice,
        "language": language,
        "metadata": read_metadata(metadata),
    }
    body = {name: value for name, value in asked.items() if value is not None}
    warn_of_unfilled(asked["metadata"], greeting=greeting, prompt=prompt)
    with CallsApi(server, api_key) as api:
        call = api.post("/calls", body).json()
        echo(f"{call['id']} {call['status']}")
        if call["error"]:
            echo(call["error"], err=True)
            raise typer.Exit(1)
        if wait:
            wait_for_the_end(api, call["id"])


def warn_of_unfilled(metadata: dict[str, str] | None, **texts: str | None) -> None:
    """Say which `$name` of these texts, by their option's name, no metadata is for."""
    from agent.profile import placeholder_names

    for option, text in texts.items():
        for name in placeholder_names(text or ""):
            if name not in (metadata or {}):
                echo(
                    f"Warning: no --metadata is named {name!r}: ${name} of --{option} stays as it "
                    "is written.",
                    err=True,
                )


def read_metadata(pairs: list[str] | None) -> dict[str, str] | None:
    """The metadata of a call from `NAME=VALUE` options; None without any.

    Raises: typer.BadParameter.
    """
    read: dict[str, str] = {}
    for pair in pairs or []:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise typer.BadParameter(
                f'NAME=VALUE is needed, such as name="Ms Lee", not {pair!r}',
                param_hint="--metadata",
            )
        if name.strip() in read:
            raise typer.BadParameter(f"{name.strip()!r} twice", param_hint="--metadata")
        read[name.strip()] = value
    return read or None
