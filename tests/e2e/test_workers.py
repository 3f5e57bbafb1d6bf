"""`voice-ai serve --workers`: several processes behind one port are instances like any others."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis
from twilio.request_validator import RequestValidator

from agent.live_calls_in_redis import LiveCallsInRedis
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Handset, TwilioEmulator
from server.http.serving import held_port, listen
from tests.e2e.conftest import GREETING, OPENING, THANKS, turns
from tests.server.conftest import Running, redis_url
from tests.server.process_template import ForkedProcess, ProcessTemplate

__all__ = ["redis_url"]
pytestmark = pytest.mark.real_time


@dataclass
class Workers:
    """A parent and two workers behind one port."""

    server: Running
    parent: ForkedProcess
    live_calls: LiveCallsInRedis

    @property
    def pids(self) -> set[int]:
        """The workers' process ids."""
        return children_of(self.parent.pid)


def children_of(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 (another process tells nobody)
        await asyncio.sleep(0.02)


@pytest.fixture
async def workers(
    gemini: GeminiLiveEmulator,
    twilio: TwilioEmulator,
    redis_url: str,
    tmp_path: Path,
    process_template: ProcessTemplate,
) -> AsyncIterator[Workers]:
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            **gemini.environment(),
            **twilio.environment(),
            "GEMINI_API_KEY": "no-key",
            "REDIS_URL": redis_url,
            "BASE_URL": url,
            "ANSWER_FILLER": "false",
        }
        async with (
            process_template.running(
                *("serve", "--port", str(port), "--workers", "2"),
                folder=tmp_path,
                environment=environment,
            ) as parent,
            httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http,
            Redis.from_url(redis_url) as redis,
        ):
            assert b"2 workers" in await parent.stdout.readline()
            server = Running(url, http, RequestValidator(twilio.auth_token))
            yield Workers(server, parent, LiveCallsInRedis(redis))
            with contextlib.suppress(ProcessLookupError):
                parent.terminate()
                parent.terminate()
            await parent.wait()


async def test_a_worker_that_is_killed_comes_back_and_its_call_goes_on(
    workers: Workers, twilio: TwilioEmulator, gemini: GeminiLiveEmulator
) -> None:
    before = workers.pids
    names = set(await workers.live_calls.instances())
    assert len(before) == len(names) == 2

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        (owner,) = (await workers.live_calls.all()).values()
        os.kill(await pid_of(owner), signal.SIGKILL)
        (this,) = twilio.calls
        await twilio.until(lambda: len(this.record.all("stream.started")) > 1)
        await phone.say(OPENING)
        await phone.hears_speech()
        await phone.listen_until_silence()
        await phone.say(THANKS)
        await phone.until_hung_up()

    async def pid_of(instance: str) -> int:
        port = int(instance.rpartition(":")[2])
        (pid,) = [pid for pid in before if port in listening_ports(pid)]
        return pid

    twilio.anyone = person
    call = await workers.server.place(greeting=GREETING)
    await twilio.calls[0].settled()
    answer = await workers.server.http.get(f"/calls/{call['id']}/result", params={"wait": 10})
    assert answer.json()["end_reason"] == "agent"
    assert turns(answer.json())[0] == ("agent", GREETING, False)
    await until(lambda: len(workers.pids) == 2)
    assert len(workers.pids & before) == 1
    while len(set(await workers.live_calls.instances()) - names) != 1:
        await workers.server.http.get("/health/live")


def listening_ports(pid: int) -> set[int]:
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(entry))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        int(fields[1].rpartition(":")[2], 16)
        for fields in lines
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes
    }


async def test_the_first_signal_drains_all_workers(
    workers: Workers, twilio: TwilioEmulator
) -> None:
    talking = asyncio.Event()

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        talking.set()
        await phone.say(THANKS)
        await phone.until_hung_up()

    twilio.anyone = person
    await workers.server.place(greeting=GREETING)
    call = await twilio.call_placed()
    await talking.wait()
    workers.parent.terminate()
    await call.settled()
    assert len(call.record.all("stream.started")) == 1
    assert await workers.parent.wait() == 0


async def test_the_second_signal_ends_all_workers(workers: Workers, twilio: TwilioEmulator) -> None:
    talking = asyncio.Event()

    async def person(phone: Handset) -> None:
        talking.set()
        await phone.until_hung_up()

    twilio.anyone = person
    await workers.server.place(greeting=GREETING)
    await talking.wait()
    pids = workers.pids
    workers.parent.terminate()
    workers.parent.send_signal(signal.SIGINT)
    assert await workers.parent.wait() == 0
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_workers_end_with_their_parent(workers: Workers) -> None:
    pids = workers.pids
    workers.parent.kill()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_worker_that_never_starts_ends_them_all(
    process_template: ProcessTemplate, tmp_path: Path, redis_url: str
) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        ended = await process_template.run(
            *("serve", "--port", "0", "--workers", "2"),
            folder=tmp_path,
            environment={
                **os.environ,
                "REDIS_URL": redis_url,
                # Somebody else listens there.
                "METRICS_ADDRESS": f"127.0.0.1:{taken.getsockname()[1]}",
            },
        )
    assert ended.returncode == 1
    assert "3 times before it was ready (exit code 3)" in ended.stderr


@pytest.mark.parametrize(
    ("environment", "why"),
    [({}, "REDIS_URL"), ({"REDIS_URL": "redis://h", "ECS_AGENT_URI": "http://h"}, "ECS")],
)
async def test_workers_that_cannot_work_together_are_refused(
    process_template: ProcessTemplate, tmp_path: Path, environment: dict[str, str], why: str
) -> None:
    ended = await process_template.run(
        *("serve", "--workers", "2"), folder=tmp_path, environment=os.environ | environment
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("--workers 2: ")
    assert why in line
