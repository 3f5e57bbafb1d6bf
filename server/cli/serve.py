"""`voice-ai serve`: runs the server until it is interrupted."""

import asyncio
from typing import Annotated

import typer
from loguru import logger

from server.cli.environment import echo, echo_lines, settings_or_exit
from server.settings.settings import Settings, SettingsError, names_that_differ


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; PORT or 8000 by default.")
    ] = None,
) -> None:
    """Serve the API, Twilio's webhooks and media streams. Migrates the database first."""
    settings = settings_or_exit(port)

    # What follows brings the vendors' SDKs along: `--help` and a wrong setting need not wait for
    # them, and what they log on import shall already be in our form.
    from server.observability.logs import set_up_logs

    set_up_logs(settings)
    if differ := names_that_differ():
        logger.warning(
            "The environment says otherwise than .env, and wins", names=", ".join(differ)
        )
    from pipelines.call.catalogue import BrokenPipeline
    from pipelines.gemini.live_config import warm_up
    from server.app import create_app
    from server.http.serving import AnnouncedServer, configure, listen, run
    from server.observability.gc_policy import settle

    _check_the_way_to_twilio(settings)
    try:
        app = create_app(settings)
        bound = listen(host, settings.port)
    except (SettingsError, BrokenPipeline) as error:
        echo_lines(error, err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        echo(f"Cannot listen on {host}:{settings.port}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None
    _migrate(settings.database_url)
    warm_up()
    settle()
    with bound:
        address, number = bound.getsockname()[:2]
        says = f"Listening on http://{address}:{number} (as {settings.base_url})."
        server = AnnouncedServer(configure(app), announce=lambda: typer.echo(says))
        run(server, bound)
    if not server.started:
        raise typer.Exit(3)
    if server.is_broken:
        raise typer.Exit(1)


def _check_the_way_to_twilio(settings: Settings) -> None:
    """The proxy and the certificates of the environment; wrong ones end the command."""
    if not settings.twilio_is_configured:
        return
    from server.twilio.rest_http import REST_ROOT, TwilioHttp

    try:
        TwilioHttp(settings.twilio_api_base_url or REST_ROOT, timeout_secs=1, connections=1)
    except (OSError, ValueError) as error:
        echo(f"Twilio's REST API cannot be asked: {error}", err=True)
        raise typer.Exit(2) from None


def _migrate(database_url: str) -> None:
    """Bring the database to the newest schema; one that cannot be used ends the command."""
    from server.migrations import upgrade

    try:
        asyncio.run(upgrade(database_url))
    # Each database, driver and Alembic has its own kinds of errors.
    except Exception as error:
        logger.opt(exception=error).debug("The database cannot be used")
        cause = getattr(error, "orig", None) or error
        says = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        echo(f"DATABASE_URL: the database cannot be used: {says}", err=True)
        raise typer.Exit(1) from None
