"""Demo of a cluster: three instances behind a load balancer, each of which is struck.

    calls      1 2 3 4 5 6   all talk …………………………………………………………………………………… all over ─▶ judged
    instance   A · SIGKILL ╳
               B ·········· SIGSTOP ╳ its calls are taken from it  SIGCONT, silent ·················
               C ································································ SIGTERM, moves ╳

Real parts: three `voice-ai serve`, a Valkey; both vendors are emulated.
"""

import asyncio
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from server.demo.cluster_calls import GREETING, SCRIPT, Heard, guest, heard
from server.demo.load_balancer import LoadBalancer
from server.demo.stage import SERVE, ServerProcess, environment_between, started
from server.demo.valkey import valkey
from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import Answer, EmulatedCall, Person, TwilioEmulator
from server.http.serving import held_port

OURS = "+15550100999"
INSTANCES = ("A", "B", "C")
PIPELINES = re.compile(r"^voice_ai_running_pipelines (\S+)$", re.MULTILINE)
# All talk; and one is killed in the middle of the answers.
KILLED_AFTER_SECS = 6.0
FROZEN_AFTER_SECS = 4.0
DRAINED_AFTER_SECS = 4.0
DRAIN_TIMEOUT = "1"
TAKEN_WITHIN_SECS = 30.0
ENDS_WITHIN_SECS = 80.0


@dataclass(frozen=True, slots=True)
class Instance:
    """One `voice-ai serve`; `name` is what the table calls it."""

    name: str
    server: ServerProcess

    @property
    def address(self) -> str:
        """Its "host:port"."""
        return f"{self.server.http.base_url.host}:{self.server.http.base_url.port}"

    async def talking(self) -> int:
        """How many conversations it carries."""
        # A connection that is kept may just be closed by the server.
        answer = await self.server.http.get("/metrics", headers={"Connection": "close"})
        found = PIPELINES.search(answer.text)
        return int(float(found.group(1))) if found else 0


async def run_cluster(tell: Callable[[str], None], *, calls: int = 6) -> list[Heard]:
    """Let all calls talk, strike two instances, and tell what each caller heard.

    Raises: StageError, NoValkey.
    """
    with tempfile.TemporaryDirectory(prefix="voice-ai-demo-") as scratch:
        async with (
            valkey(Path(scratch)) as redis_url,
            GeminiLiveEmulator(Script.parse(SCRIPT), thinking_secs=0.3) as gemini,
            TwilioEmulator(numbers=[OURS]) as twilio,
            LoadBalancer() as balancer,
            AsyncExitStack() as stack,
        ):
            twilio.anyone = Answer(Person(guest), ring_secs=1.0)
            environment = {
                **environment_between(gemini, twilio),
                "BASE_URL": balancer.url,
                "REDIS_URL": redis_url,
                "STREAM_TOKEN_SECRET": "shared by all instances",
                "DATABASE_URL": f"sqlite+aiosqlite:///{Path(scratch) / 'demo.db'}",
                "DRAIN_TIMEOUT": DRAIN_TIMEOUT,
                "ANSWER_FILLER": "false",
            }
            instances = [
                await stack.enter_async_context(_instance(name, environment, Path(scratch)))
                for name in INSTANCES
            ]
            balancer.instances = [instance.address for instance in instances]
            tell(f"{len(instances)} instances are ready behind one load balancer")
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=balancer.url, timeout=30, trust_env=False)
            )
            return await _Play(twilio, instances, http, tell).run(calls)


@asynccontextmanager
async def _instance(
    name: str, environment: dict[str, str], scratch: Path
) -> AsyncIterator[Instance]:
    folder = scratch / name
    folder.mkdir()
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        command = (*SERVE, "--port", str(port))
        own = {**environment, "INSTANCE_URL": url}
        async with started(command, own, folder, url, "/health/ready") as server:
            yield Instance(name, server)


@dataclass
class _Play:
    twilio: TwilioEmulator
    instances: list[Instance]
    http: httpx.AsyncClient
    tell: Callable[[str], None]

    async def run(self, count: int) -> list[Heard]:
        ids = {}
        for number in range(count):
            body = {"phone_number": f"+1555{number:07d}", "greeting": GREETING}
            answer = (await self.http.post("/calls", json=body)).raise_for_status().json()
            ids[answer["twilio_sid"]] = answer["id"]
        self.tell(f"{count} calls are placed")
        for call in self.twilio.calls:
            await call.happened("stream.started")
        struck: dict[str, list[str]] = {sid: [] for sid in ids}
        await asyncio.sleep(KILLED_AFTER_SECS)
        fleet = {instance.name: instance for instance in self.instances}
        await self._strike(fleet, signal.SIGKILL, "killed", struck)
        await asyncio.sleep(FROZEN_AFTER_SECS)
        await self._freeze(fleet, struck)
        await asyncio.sleep(DRAINED_AFTER_SECS)
        await self._strike(fleet, signal.SIGTERM, "drained", struck)
        (left,) = fleet.values()
        async with asyncio.timeout(ENDS_WITHIN_SECS):
            return [
                heard(call, await self._result(left, ids[call.sid]), ", ".join(struck[call.sid]))
                for call in self.twilio.calls
            ]

    async def _strike(
        self,
        fleet: dict[str, Instance],
        how: signal.Signals,
        word: str,
        struck: dict[str, list[str]],
    ) -> None:
        """Strike the instance that carries the most calls, and notice which calls lost a stream."""
        talking = await self._talking(fleet)
        name = max(talking, key=lambda name: talking[name])
        before = {call.sid: _stopped(call) for call in self.twilio.calls}
        instance = fleet.pop(name)
        self.tell(f"{_told(talking)}: {name} is {word} ({how.name})")
        instance.server.process.send_signal(how)
        await instance.server.process.wait()
        await self.twilio.until(
            lambda: (
                sum(_stopped(call) > before[call.sid] for call in self.twilio.calls)
                >= talking[name]
            )
        )
        for call in self.twilio.calls:
            if _stopped(call) > before[call.sid]:
                struck[call.sid].append(word)

    async def _freeze(self, fleet: dict[str, Instance], struck: dict[str, list[str]]) -> None:
        """Freeze the instance that carries the most calls until all are taken, and wake it."""
        talking = await self._talking(fleet)
        name = max(talking, key=lambda name: talking[name])
        (other,) = (each for each in fleet if each != name)
        lives = sum(not call.state.is_over for call in self.twilio.calls)
        before = {call.sid: _stopped(call) for call in self.twilio.calls}
        process = fleet[name].server.process
        self.tell(f"{_told(talking)}: {name} is frozen (SIGSTOP)")
        process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(TAKEN_WITHIN_SECS):
                while await fleet[other].talking() < lives:
                    await asyncio.sleep(0.2)
                    lives = sum(not call.state.is_over for call in self.twilio.calls)
        finally:
            process.send_signal(signal.SIGCONT)
        self.tell(f"{name} wakes (SIGCONT): {other} has its calls")
        for call in self.twilio.calls:
            if _stopped(call) > before[call.sid] and not call.state.is_over:
                struck[call.sid].append("frozen")

    async def _talking(self, fleet: dict[str, Instance]) -> dict[str, int]:
        return {name: await instance.talking() for name, instance in fleet.items()}

    async def _result(self, left: Instance, call_id: str) -> dict[str, Any]:
        while True:
            answer = await left.server.http.get(f"/calls/{call_id}/result", params={"wait": 10})
            if answer.status_code != 202:
                return dict(answer.raise_for_status().json())


def _told(talking: dict[str, int]) -> str:
    return ", ".join(f"{each} carries {count}" for each, count in talking.items())


def _stopped(call: EmulatedCall) -> int:
    return len(call.record.all("stream.stopped"))
