"""`voice-ai worker`: runs workflows of calls until it is stopped."""

import asyncio
import os
import signal

import typer
from loguru import logger

from server.cli.environment import settings_or_exit
from server.cli.process_end import end_process


def worker() -> None:
    """Run the lives of calls in Temporal. Start as many as are needed; each may die at any time."""
    settings = settings_or_exit(None)
    if settings.temporal_address is None:
        typer.echo("TEMPORAL_ADDRESS: set it to the address of a Temporal server.", err=True)
        raise typer.Exit(2)
    from server.observability.logs import set_up_logs

    set_up_logs(settings)
    try:
        from server.temporal.worker_process import HARD_EXIT_SECS, run
    except ModuleNotFoundError as error:
        typer.echo(
            f"A worker needs the package {error.name!r}. Install it with: "
            "pip install 'voice-ai-system[temporal]'",
            err=True,
        )
        raise typer.Exit(2) from None

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stopped() -> None:
            if stop.is_set():
                os._exit(1)
            logger.info("Stopping: what is being done is finished first")
            stop.set()
            # An activity that does not end must not hold up a deploy.
            loop.call_later(HARD_EXIT_SECS, os._exit, 1)

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopped)
        await run(
            settings, stop, ready=lambda: typer.echo(f"Working for {settings.temporal_address}.")
        )

    asyncio.run(until_stopped())
    end_process(0)
