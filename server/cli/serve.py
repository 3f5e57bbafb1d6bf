"""`voice-ai serve`: runs the server until it is interrupted."""

from pathlib import Path
from typing import Annotated

import typer
from loguru import logger

from server.cli.environment import echo, echo_lines, settings_or_exit
from server.cli.migrate import migrate_or_exit
from server.settings.settings import Settings, SettingsError, names_that_differ


def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; PORT or 8000 by default.")
    ] = None,
    with_worker: Annotated[
        bool, typer.Option(help="Run workflows of calls, too, when TEMPORAL_ADDRESS is set.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes behind the one port, an instance each.")
    ] = 1,
    env_file: Annotated[Path, typer.Option(help="The file of settings to read.")] = Path(".env"),
) -> None:
    """Serve the API, Twilio's webhooks and media streams. Migrates the database first."""
    settings = settings_or_exit(port, env_file)

    # What follows brings the vendors' SDKs along: `--help` and a wrong setting need not wait for
    # them, and what they log on import shall already be in our form.
    from server.observability.logs import set_up_logs

    set_up_logs(settings)
    if differ := names_that_differ(env_file):
        logger.warning(
            "The environment says otherwise than .env, and wins", names=", ".join(differ)
        )
    from pipelines.call.catalogue import BrokenPipeline
    from pipelines.gemini.live_config import warm_up
    from server.app import create_app
    from server.cli.serve_processes import serve_alone, serve_workers, why_no_workers
    from server.cli.start_report import log_start, start_facts
    from server.http.serving import listen
    from server.observability.gc_policy import settle

    _check_the_way_to_twilio(settings)
    if workers > 1 and (missing := why_no_workers(settings)):
        echo(f"--workers {workers}: {missing}", err=True)
        raise typer.Exit(2)
    try:
        app = create_app(settings, with_worker=with_worker)
        bound = listen(host, settings.port)
    except (SettingsError, BrokenPipeline) as error:
        echo_lines(error, err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        echo(f"Cannot listen on {host}:{settings.port}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None
    is_new = _is_new(settings.database_url)
    migrate_or_exit(settings.database_url)
    log_start(start_facts(settings, is_new=is_new, host=host))
    warm_up()
    settle()
    with bound:
        address, number = bound.getsockname()[:2]
        at = f"http://{address}:{number}"
        says = f"Listening on {at}"
        if settings.base_url != at:
            says += f" (as {settings.base_url})."
        if workers > 1:
            serve_workers(workers, settings, bound, says, with_worker=with_worker)
        else:
            serve_alone(app, settings, bound, announce=lambda: typer.echo(says))


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


def _is_new(database_url: str) -> bool:
    """Whether the database is a file that is not there yet."""
    from agent.record.database_url import sqlite_file

    path = sqlite_file(database_url)
    return path is not None and not path.exists()
