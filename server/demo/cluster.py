"""Cluster of the demos: three instances behind a load balancer, with both vendors emulated.

Real parts: three `voice-ai serve`, a Valkey.
"""

import asyncio
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from server.demo.load_balancer import LoadBalancer
from server.demo.stage import SERVE, ServerProcess, environment_between, started
from server.demo.valkey import valkey
from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import Answer, EmulatedCall, Person, TwilioEmulator
from server.emulators.twilio.person import PersonFunction
from server.http.serving import held_port

OURS = "+15550100999"
NAMES = ("A", "B", "C")
PIPELINES = re.compile(r"^voice_ai_running_pipelines (\S+)$", re.MULTILINE)
DRAIN_TIMEOUT = "1"
# A process that is killed or drained, and the streams that it had, are gone by then.
LEAVES_WITHIN_SECS = 25.0
TOLD_EVERY_SECS = 0.2


@dataclass(frozen=True, slots=True)
class Instance:
    """One `voice-ai serve`; `name` is what the demo calls it."""

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


@dataclass(frozen=True, slots=True)
class Departure:
    """The end of an instance: when it was told (the loop's time), and the calls it took along.

    `in_time`: it ended, and all its streams with it, within LEAVES_WITHIN_SECS.
    """

    at: float
    calls: tuple[EmulatedCall, ...]
    in_time: bool


@dataclass
class Cluster:
    """What the demos have; `fleet` holds the instances that take calls, by name."""

    gemini: GeminiLiveEmulator
    twilio: TwilioEmulator
    balancer: LoadBalancer
    # Of the load balancer.
    http: httpx.AsyncClient
    _environment: Mapping[str, str]
    _scratch: Path
    _stack: AsyncExitStack
    fleet: dict[str, Instance] = field(default_factory=dict)

    async def start(self, name: str) -> Instance:
        """Start an instance, and have the load balancer know it. Raises: StageError."""
        instance = await self._stack.enter_async_context(
            _instance(name, self._environment, self._scratch)
        )
        self.fleet[name] = instance
        self.balancer.instances.append(instance.address)
        return instance

    async def place(
        self, number: int, *, spread: bool = False, **body: Any
    ) -> tuple[EmulatedCall, str]:
        """Place the n-th call; the call at the emulated Twilio, and its id.

        One instance places all calls; `spread`: each one in turn.
        """
        asked = {"phone_number": f"+1555{number:07d}", **body}
        # The next connection is to the next instance.
        headers = {"Connection": "close"} if spread else {}
        answer = await self.http.post("/calls", json=asked, headers=headers)
        placed = answer.raise_for_status().json()
        (call,) = [call for call in self.twilio.calls if call.sid == placed["twilio_sid"]]
        return call, placed["id"]

    async def talking(self) -> dict[str, int]:
        """How many conversations each instance carries."""
        return {name: await instance.talking() for name, instance in self.fleet.items()}

    async def leave(self, name: str, how: signal.Signals) -> Departure:
        """Send an instance a signal that ends it, and wait for its end and that of its streams."""
        instance = self.fleet.pop(name)
        count = await instance.talking()
        before = {call.sid: streams_lost(call) for call in self.twilio.calls}
        at = asyncio.get_running_loop().time()
        instance.server.process.send_signal(how)

        def lost() -> list[EmulatedCall]:
            return [call for call in self.twilio.calls if streams_lost(call) > before[call.sid]]

        in_time = True
        try:
            async with asyncio.timeout(LEAVES_WITHIN_SECS):
                await instance.server.process.wait()
                await self.twilio.until(lambda: len(lost()) >= count)
        except TimeoutError:
            in_time = False
        if instance.server.process.returncode is not None:
            self.balancer.instances.remove(instance.address)
        return Departure(at, tuple(lost()), in_time)

    async def result(self, call_id: str, within_secs: float) -> dict[str, Any] | None:
        """The result of a call; None when it does not end in time, or nobody tells."""
        (server,) = [instance.server for instance in list(self.fleet.values())[-1:]]
        try:
            async with asyncio.timeout(within_secs):
                while True:
                    wait = {"wait": 10}
                    answer = await server.http.get(f"/calls/{call_id}/result", params=wait)
                    if answer.status_code != 202:
                        return dict(answer.raise_for_status().json())
        except (TimeoutError, httpx.HTTPError):
            return None


@asynccontextmanager
async def cluster(
    script: Script, person: PersonFunction, *, thinking_secs: float
) -> AsyncIterator[Cluster]:
    """Three instances that are ready; `person` picks up every phone.

    Raises: StageError, NoValkey.
    """
    with tempfile.TemporaryDirectory(prefix="voice-ai-demo-") as folder:
        scratch = Path(folder)
        async with (
            valkey(scratch) as redis_url,
            GeminiLiveEmulator(script, thinking_secs=thinking_secs) as gemini,
            TwilioEmulator(numbers=[OURS]) as twilio,
            LoadBalancer() as balancer,
            httpx.AsyncClient(base_url=balancer.url, timeout=30, trust_env=False) as http,
            AsyncExitStack() as stack,
        ):
            twilio.anyone = Answer(Person(person), ring_secs=1.0)
            environment = {
                **environment_between(gemini, twilio),
                "BASE_URL": balancer.url,
                "REDIS_URL": redis_url,
                "STREAM_TOKEN_SECRET": "shared by all instances",
                "DATABASE_URL": f"sqlite+aiosqlite:///{scratch / 'demo.db'}",
                "DRAIN_TIMEOUT": DRAIN_TIMEOUT,
                "ANSWER_FILLER": "false",
            }
            opened = Cluster(gemini, twilio, balancer, http, environment, scratch, stack)
            for name in NAMES:
                await opened.start(name)
            yield opened


@asynccontextmanager
async def _instance(
    name: str, environment: Mapping[str, str], scratch: Path
) -> AsyncIterator[Instance]:
    folder = scratch / name
    folder.mkdir()
    with held_port() as port:
        url = f"http://127.0.0.1:{port}"
        command = (*SERVE, "--port", str(port))
        own = {**environment, "INSTANCE_URL": url}
        async with started(command, own, folder, url, "/health/ready") as server:
            yield Instance(name, server)


def streams_lost(call: EmulatedCall) -> int:
    """How many of a call's streams are over."""
    return len(call.record.all("stream.stopped"))


def told(talking: Mapping[str, int]) -> str:
    """Who carries how many, as a sentence."""
    return ", ".join(f"{each} carries {count}" for each, count in talking.items())
