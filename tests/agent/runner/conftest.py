"""Scripted parts around a call's life, and its two drivers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from agent.lifecycle.events import Placed
from agent.lifecycle.state import Patience
from agent.ports import CallLifecycle
from agent.record.call_log import CallLog
from agent.record.models import Call
from agent.runner.local_runner import LocalRunner
from agent.runner.temporal_runner import TemporalRunner
from server.settings.settings import Settings
from server.temporal.lifecycle import TemporalLifecycle
from tests.agent.runner.scripted import QUICK, Ends, Phone, ScriptedMedia
from tests.temporal import TemporalServer


@pytest.fixture
def phone() -> Phone:
    return Phone()


@pytest.fixture
def media() -> ScriptedMedia:
    return ScriptedMedia()


@pytest.fixture
def ends() -> Ends:
    return Ends()


class OverTemporal:
    """A lifecycle over Temporal whose calls do not outlive the test."""

    def __init__(self, lifecycle: TemporalLifecycle) -> None:
        self.lifecycle = lifecycle
        self.runner = lifecycle.runner
        self._placed: list[str] = []
        self._place = self.runner.place
        self.runner.place = self.place  # type: ignore[method-assign]

    async def place(self, call: Call, event: Placed) -> Call:
        self._placed.append(call.id)
        return await self._place(call, event)

    async def end(self) -> None:
        """Terminate what still lives: the next test has another telephone."""
        client = await self.lifecycle.workflows.client()
        for call_id in self._placed:
            with contextlib.suppress(Exception):
                await client.get_workflow_handle(call_id).terminate()


@contextlib.asynccontextmanager
async def over_temporal(
    temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
    *,
    instance: str = "here",
    with_calls: bool = True,
    patience: Patience = QUICK,
) -> AsyncIterator[TemporalRunner]:
    """A server's lifecycle with its workers, on a Temporal server that runs."""
    local = LocalRunner(call_log, phone, media, patience=patience, on_end=ends)
    settings = Settings(temporal_address=temporal.address)
    lifecycle = TemporalLifecycle.make(settings, local, call_log, instance, ends, patience)
    own = OverTemporal(lifecycle)
    await lifecycle.runner.resume()
    try:
        async with lifecycle.working(media, phone, with_calls=with_calls):
            try:
                yield lifecycle.runner
            finally:
                phone.open.set()
                media.open.set()
                await own.end()
    finally:
        await lifecycle.runner.close()


@pytest.fixture(params=["local", "temporal"])
async def life(
    request: pytest.FixtureRequest,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
) -> AsyncIterator[CallLifecycle]:
    """The life of calls, by either driver."""
    if request.param == "local":
        runner = LocalRunner(call_log, phone, media, patience=QUICK, on_end=ends)
        yield runner
        phone.open.set()
        media.open.set()
        await runner.close()
        return
    temporal = await asyncio.to_thread(request.getfixturevalue, "temporal")
    async with over_temporal(temporal, call_log, phone, media, ends) as life:
        yield life
