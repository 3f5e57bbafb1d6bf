"""`voice-ai serve`: the server, until it is told to stop."""

from typing import Annotated

import typer

from server.cli.environment import settings_or_exit
from server.settings import SettingsError


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; PORT or 8000 by default.")
    ] = None,
) -> None:
    """Serve the API, Twilio's webhooks and media streams. Migrates the database first."""
    settings = settings_or_exit()

    # What follows brings the vendors' SDKs along: `--help` and a wrong setting need not wait for
    # them, and what they log on import shall already be in our form.
    from server.logs import set_up_logs

    set_up_logs(settings)
    from server.app import create_app
    from server.serving import AnnouncedServer, configure, listen

    try:
        app = create_app(settings)
        bound = listen(host, settings.port if port is None else port)
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"Cannot listen on {host}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None
    with bound:
        address, number = bound.getsockname()[:2]
        says = f"Listening on http://{address}:{number} (as {settings.base_url})."
        server = AnnouncedServer(configure(app), announce=lambda: typer.echo(says))
        server.run(sockets=[bound])
    if not server.started:
        raise typer.Exit(3)
