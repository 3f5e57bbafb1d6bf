"""`voice-ai serve`: the server, until it is told to stop."""

from typing import Annotated

import typer
import uvicorn

from server.cli.environment import settings_or_exit


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; PORT or 8000 by default.")
    ] = None,
) -> None:
    """Serve the API, Twilio's webhooks and media streams. Migrates the database first."""
    settings = settings_or_exit()

    # They bring the vendors' SDKs along, which `--help` and a wrong setting need not wait for.
    from server.app import create_app
    from server.logs import set_up_logs
    from server.serving import configure, listen

    set_up_logs(settings)
    try:
        bound = listen(host, settings.port if port is None else port)
    except OSError as error:
        typer.echo(f"Cannot listen on {host}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None
    with bound:
        address, number = bound.getsockname()[:2]
        typer.echo(f"Listening on http://{address}:{number} (as {settings.base_url}).")
        server = uvicorn.Server(configure(create_app(settings)))
        server.run(sockets=[bound])
    if not server.started:
        raise typer.Exit(3)
