"""Serves in this process, or in several workers behind one port (`voice-ai serve --workers N`).

Workers accept from one listening socket, which they inherit, rather than from a SO_REUSEPORT socket
each: connections then wait in one queue, so that none is lost with a worker that dies, none is kept
waiting by one that is frozen, and the port stays bound while a worker starts again.
"""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import typer
from fastapi import FastAPI

from server.app import create_app
from server.cli.environment import echo
from server.http.serving import AnnouncedServer, configure, listen, run
from server.http.worker_processes import WorkerProcesses
from server.settings.settings import Settings


def why_no_workers(settings: Settings) -> str | None:
    """Why several workers cannot serve with these settings; None when they can."""
    if settings.redis_url is None:
        return "REDIS_URL is missing; workers find each other's calls there."
    if settings.ecs_agent_uri is not None:
        return "not in ECS, where protection from a stop is the whole task's; run more tasks."
    return None


def serve_alone(
    app: FastAPI, settings: Settings, *bound: socket.socket, announce: Callable[[], None]
) -> None:
    """Serve until a signal comes. Raises: typer.Exit when it did not start, or broke."""
    server = AnnouncedServer(configure(app), announce=announce, drain_secs=settings.drain_timeout)
    run(server, *bound)
    if not server.started:
        raise typer.Exit(3)
    if server.is_broken:
        raise typer.Exit(1)


def serve_workers(
    count: int, settings: Settings, bound: socket.socket, says: str, *, with_worker: bool
) -> None:
    """Serve by so many processes until a signal comes. Raises: typer.Exit when they do not start.

    Each has an address of its own beside the shared one, where the others pass calls on to it.
    """

    def serve(number: int, ready: Callable[[], None]) -> int:
        host = urlsplit(settings.instance_url or "").hostname or "127.0.0.1"
        with listen(host, 0) as own:
            mine = settings_of_worker(settings, number, host, own.getsockname()[1])
            app = create_app(mine, with_worker=with_worker)
            try:
                serve_alone(app, mine, bound, own, announce=ready)
            except typer.Exit as ended:
                return ended.exit_code
        return 0

    workers = WorkerProcesses(count, serve, lambda: typer.echo(f"{says[:-1]}, {count} workers."))
    code = workers.run()
    if workers.failure is not None:
        echo(workers.failure, err=True)
        raise typer.Exit(code)


def settings_of_worker(settings: Settings, number: int, host: str, port: int) -> Settings:
    """The settings of one worker: its own address, and its own ports of metrics."""
    return settings.model_copy(
        update={
            "instance_url": f"http://{f'[{host}]' if ':' in host else host}:{port}",
            "metrics_address": _port_of(settings.metrics_address, number),
            "temporal_metrics_address": _port_of(settings.temporal_metrics_address, number),
        }
    )


def _port_of(address: str | None, number: int) -> str | None:
    """Worker 0 has the port of the setting, the next ones those behind it."""
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + number}" if int(port) else address
