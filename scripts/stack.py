"""Runs the services of docker-compose.yml as processes, and one call through them: `make stack`.

The order is the compose file's; each service has to listen, or to end well, before those that
depend on it start. Then both vendors are the emulators, a call is placed by the API, and Prometheus
is asked for its metrics, and for what every panel of the dashboards asks. Exit code 0: all is well.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from compose_processes import REPO, Service, Stack, Unavailable, panel_queries

FILES = ("docker-compose.yml", "docker-compose.demo.yml")
WITHIN_SECS = 120.0
STOPS_WITHIN_SECS = 15.0
CALLED = "+15550100123"
# Found in Prometheus once the call is over.
PROOF = (
    'voice_ai_calls_total{status="completed", end_reason!="no_model"} > 0',
    "voice_ai_first_sound_seconds_count > 0",
    "voice_ai_turn_response_seconds_count > 0",
    'voice_ai_ready{check="database"} == 1',
)


class StackError(Exception):
    """A service did not start, died, or the call did not go as it should."""


async def main() -> None:
    """Start everything, place the call, ask Prometheus, stop everything. Raises: StackError."""
    began = time.monotonic()
    task = asyncio.current_task()
    assert task is not None
    # No process is left behind.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="voice-ai-stack-") as scratch:
        stack = Stack(Path(scratch), *FILES)
        # Who is reached from outside has to be known before it starts, last.
        missing = {"nginx"} if shutil.which("nginx") is None else set()
        async with AsyncExitStack() as running:
            for name in stack.in_order():
                service = prepared(stack, name, missing)
                if service is not None:
                    since = time.monotonic()
                    await running.enter_async_context(started(service, stack))
                    tell(
                        name, f"{' '.join(described(service))}  ({time.monotonic() - since:.1f} s)"
                    )
            front = "app" if "nginx" in missing else "nginx"
            async with httpx.AsyncClient(trust_env=False, timeout=40) as http:
                try:
                    await call(http, f"http://{stack.addresses[front]}:8000")
                    await ask(http, stack, missing)
                except StackError as error:
                    logs = [stack.folder / f"{name}.log" for name in ("app", "worker")]
                    said = [words_of(log.stem, log) for log in logs if log.exists()]
                    raise StackError("\n\n".join([str(error), *said])) from None
    tell("stack", f"all is well after {time.monotonic() - began:.0f} s")


def prepared(stack: Stack, name: str, missing: set[str]) -> Service | None:
    """The service; None when it cannot run here, which is said."""
    if name.startswith("temporal-") or (name == "worker" and "temporal" in missing):
        # The dev server has its schema and the namespace from the start.
        return None
    try:
        service = stack.service(name)
    except Unavailable as why:
        missing.add(name)
        tell(name, f"left out: {why}")
        return None
    environment = dict(service.environment)
    if "temporal" in missing:
        environment.pop("TEMPORAL_ADDRESS", None)
    if "nginx" in missing and "BASE_URL" in environment:
        environment["BASE_URL"] = f"http://{stack.addresses['app']}:8000"
    return Service(name, service.command, environment, service.user, service.port)


@asynccontextmanager
async def started(service: Service, stack: Stack) -> AsyncIterator[None]:
    """The service, once it listens; a job, once it has ended. Raises: StackError."""
    log = stack.folder / f"{service.name}.log"
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *service.command,
            env={**kept, "HOME": str(stack.folder), **service.environment},
            cwd=stack.folder,
            stdout=said,
            stderr=said,
            user=service.user,
        )
    try:
        async with asyncio.timeout(WITHIN_SECS):
            if service.port is None:
                if await process.wait():
                    raise StackError(words_of(service.name, log))
            else:
                await listening(process, service, stack.addresses[service.name], log)
        if service.name == "secrets":
            translate_secrets(stack)
        yield
        if service.port is not None and process.returncode is not None:
            raise StackError(words_of(service.name, log))
    except TimeoutError:
        raise StackError(words_of(service.name, log)) from None
    finally:
        await stop(process)


async def listening(
    process: asyncio.subprocess.Process, service: Service, address: str, log: Path
) -> None:
    """Return once the service takes connections. Raises: StackError when it has died."""
    while True:
        if process.returncode is not None:
            raise StackError(words_of(service.name, log))
        try:
            _, writer = await asyncio.open_connection(address, service.port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def translate_secrets(stack: Stack) -> None:
    """The address of PostgreSQL in the file that the job wrote."""
    path = stack.mounted("app", "/run/secrets") / "database_url"
    path.chmod(0o600)
    path.write_text(stack.here("app", path.read_text()))


async def stop(process: asyncio.subprocess.Process) -> None:
    """Ask the process to end, and kill one that does not."""
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOPS_WITHIN_SECS)
    except TimeoutError:
        process.kill()
        await process.wait()


async def call(http: httpx.AsyncClient, base_url: str) -> None:
    """Place a call, and wait for its end. Raises: StackError."""
    ready = await http.get(f"{base_url}/health/ready")
    if not ready.is_success:
        raise StackError(f"not ready: {ready.text}")
    placed = await http.post(f"{base_url}/calls", json={"phone_number": CALLED})
    if not placed.is_success:
        raise StackError(f"POST /calls: {placed.status_code} {placed.text}")
    address = f"{base_url}/calls/{placed.json()['id']}/result"
    result = await http.get(address, params={"wait": 30})
    if result.status_code == 202:
        # A machine that does much else plays it slower than it was meant.
        result = await http.get(address, params={"wait": 30})
    view = result.json()
    if "status" not in view:
        raise StackError(f"GET {address}: {result.status_code} {result.text}")
    tell("call", f"{view['status']}, ended by {view['end_reason']}")
    for turn in view["turns"]:
        tell(turn["who"], turn["text"])
    if result.status_code != 200 or view["status"] != "completed" or len(view["turns"]) < 2:
        raise StackError(f"the call did not go as it should: {result.text[:2000]}")


async def ask(http: httpx.AsyncClient, stack: Stack, missing: set[str]) -> None:
    """Find the call in Prometheus, and run what every panel asks. Raises: StackError."""
    if "prometheus" in missing:
        text = (await http.get(f"http://{stack.addresses['app']}:8000/metrics")).text
        if "voice_ai_first_sound_seconds_count 1.0" not in text:
            raise StackError("the call is not in /metrics")
        tell("metrics", "the call is in /metrics; install prometheus to have it asked for there")
        return
    base_url = f"http://{stack.addresses['prometheus']}:9090"
    for query in PROOF:
        await found(http, base_url, query)
        tell("prometheus", query)
    panels = list(panel_queries())
    with_data = [title for title, query in panels if await answer(http, base_url, query)]
    tell("grafana", f"{len(panels)} queries of panels are answered, {len(with_data)} with data")


async def found(http: httpx.AsyncClient, base_url: str, query: str) -> None:
    """Return once the query has a result. Raises: StackError."""
    give_up = time.monotonic() + 15
    while not await answer(http, base_url, query):
        if time.monotonic() > give_up:
            raise StackError(f"Prometheus does not know: {query}")
        await asyncio.sleep(0.3)


async def answer(http: httpx.AsyncClient, base_url: str, query: str) -> list[Any]:
    """What Prometheus answers. Raises: StackError when it refuses the query."""
    said = (await http.get(f"{base_url}/api/v1/query", params={"query": query})).json()
    if said["status"] != "success":
        raise StackError(f"Prometheus: {said['error']}: {query}")
    results: list[Any] = said["data"]["result"]
    return results


def words_of(name: str, log: Path) -> str:
    """The end of what a service said."""
    return f"{name}:\n{log.read_text(errors='replace')[-3000:]}"


def described(service: Service) -> list[str]:
    """The command as a person would look for it."""
    program, *arguments = service.command
    return [Path(program).name, *arguments[:3]]


def tell(who: str, what: str) -> None:
    """Print one line."""
    print(f"{who:<12} {what}", flush=True)


if __name__ == "__main__":
    os.chdir(REPO)
    try:
        asyncio.run(main())
    except StackError as error:
        sys.exit(f"FAILED: {error}")
