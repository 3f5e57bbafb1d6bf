"""FrozenWatch: whose calls it takes, and whose it leaves alone; on live calls of a real Valkey."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agent.lifecycle.events import ConversationEnded, Placed, StreamStarted, TwilioStatus
from agent.lifecycle.rules import decide
from agent.lifecycle.state import CallState, new_call
from agent.lifecycle.statuses import Direction
from agent.live_calls import InstanceReport
from agent.live_calls_in_redis import LiveCallsInRedis
from agent.record.call_log import NoSuchCall
from agent.record.models import Call
from server.emulators.gemini_live.certificate import make_certificate
from server.http.serving import listen
from server.relay.frozen_watch import FrozenWatch
from tests.pipelines.scripted_pipeline import a_call
from tests.server.conftest import redis_url

__all__ = ["redis_url"]

TALKS = (
    Placed(0.0, inbound=True, twilio_sid="CA1"),
    TwilioStatus(1.0, "in-progress", "CA1"),
    StreamStarted(1.0, "MZ1", "frozen"),
)
# What ends a call, or hands it on.
OVER = {
    "ended": TwilioStatus(2.0, "completed", "CA1"),
    "transferred": ConversationEnded(2.0, "agent", transfer_to="+15550100"),
}


@dataclass
class Life:
    """Records of calls, as far as a watch reads them."""

    states: dict[str, CallState] = field(default_factory=dict)

    def talks(self, call_id: str, *more: Any) -> None:
        state = new_call(Direction.INBOUND)
        for event in (*TALKS, *more):
            state, _ = decide(state, event)
        self.states[call_id] = state

    async def record(self, call_id: str) -> Call:
        if call_id not in self.states:
            raise NoSuchCall(call_id)
        call = a_call(call_id)
        call.set_life(self.states[call_id])
        call.twilio_sid = "CA1"
        return call

    async def state(self, call_id: str) -> CallState:
        return self.states[call_id]


@dataclass
class Phone:
    redirected: list[tuple[str, str]] = field(default_factory=list)
    # Whether the call is in progress at Twilio.
    talks: bool = True

    async def redirect(self, twilio_sid: str, call_id: str) -> bool:
        self.redirected.append((twilio_sid, call_id))
        return self.talks


@dataclass
class Stage:
    """Calls of an instance that reports no more, and of one that does."""

    live_calls: LiveCallsInRedis
    life: Life = field(default_factory=Life)
    phone: Phone = field(default_factory=Phone)
    counted: list[tuple[str, str]] = field(default_factory=list)

    def watch(self, instance: str = "here", packets: dict[str, int] | None = None) -> FrozenWatch:
        life: Any = self.life
        phone: Any = self.phone
        return FrozenWatch(
            self.live_calls,
            life,
            phone,
            instance,
            lambda: packets or {},
            lambda *labels: self.counted.append(labels),
        )

    async def falls_silent(self, url: str | None, *call_ids: str) -> None:
        """The instance reports once, and its leases run out."""
        report = InstanceReport(len(call_ids), 9, url=url)
        await self.live_calls.report("frozen", report, call_ids)
        while len(await self.live_calls.stranded()) < len(call_ids):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
async def stage(redis_url: str) -> AsyncIterator[Stage]:
    async with Redis.from_url(redis_url) as redis:
        yield Stage(LiveCallsInRedis(redis, lease_secs=0.05))


@contextlib.contextmanager
def silent() -> Any:
    """The address of somebody who accepts connections, and answers none."""
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


async def test_a_call_is_taken_once_however_many_look(stage: Stage) -> None:
    stage.life.talks("c1")
    with silent() as url:
        await stage.falls_silent(url, "c1")
        watches = [stage.watch(f"i{number}") for number in range(3)]
        await asyncio.gather(*(watch.look() for watch in watches))
        await asyncio.gather(*(watch.close() for watch in watches))
    assert stage.phone.redirected == [("CA1", "c1")]
    assert stage.counted == [("frozen", "pulled")]


async def test_a_call_that_twilio_has_ended_is_counted_as_refused(stage: Stage) -> None:
    stage.life.talks("c1")
    stage.phone.talks = False
    await stage.falls_silent("http://127.0.0.1:9", "c1")
    watch = stage.watch()
    await watch.look()
    await watch.close()
    assert stage.counted == [("frozen", "refused")]


@pytest.mark.parametrize("how", OVER)
async def test_a_call_that_needs_no_stream_is_left_alone(stage: Stage, how: str) -> None:
    stage.life.talks("c1")
    stage.life.talks("c2", OVER[how])
    await stage.falls_silent("http://127.0.0.1:9", "c1", "c2", "erased")
    watch = stage.watch()
    await watch.look()
    await watch.close()
    assert stage.phone.redirected == [("CA1", "c1")]


async def test_a_call_that_another_instance_has_is_left_alone(stage: Stage, redis_url: str) -> None:
    stage.life.talks("c1")
    await stage.falls_silent("http://127.0.0.1:9", "c1")
    async with Redis.from_url(redis_url) as redis:
        await LiveCallsInRedis(redis).claim("c1", "another")
    watch = stage.watch()
    await watch.look()
    await watch.close()
    assert stage.phone.redirected == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_instance_that_answers_is_only_cut_off_from_redis(
    stage: Stage, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = None
    if scheme == "https":
        certificate = make_certificate(tmp_path)
        tls = certificate.server_context()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    stage.life.talks("c1")
    async with await asyncio.start_server(answers, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        await stage.falls_silent(f"{scheme}://127.0.0.1:{port}", "c1")
        watch = stage.watch()
        await watch.look()
        await watch.look()
        await watch.close()
    assert stage.phone.redirected == []


async def test_one_without_an_address_has_to_be_silent_twice(stage: Stage) -> None:
    stage.life.talks("c1")
    await stage.falls_silent(None, "c1")
    watch = stage.watch()
    await watch.look()
    assert stage.phone.redirected == []
    await watch.look()
    await watch.close()
    assert stage.phone.redirected == [("CA1", "c1")]


async def test_a_stream_that_is_stuck_where_it_is_passed_on_is_opened_anew(
    stage: Stage, redis_url: str
) -> None:
    packets = {"stuck": 50, "talks": 50, "lost": 50}
    for call_id in packets:
        stage.life.talks(call_id)
    async with Redis.from_url(redis_url) as redis:
        live_calls = LiveCallsInRedis(redis)
        for call_id, owner in (("stuck", "here"), ("talks", "here"), ("lost", "another")):
            await live_calls.claim(call_id, owner)
    watch = stage.watch(packets=packets)
    for _ in range(3):
        assert stage.phone.redirected == []
        await watch.look()
        packets["talks"] += 50
    await watch.close()
    assert stage.phone.redirected == [("CA1", "stuck")]
    assert stage.counted == [("stuck", "pulled")]
