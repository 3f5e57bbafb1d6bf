"""Scripted parts around a call's life, and its two drivers."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from agent.lifecycle.events import Placed
from agent.lifecycle.state import Patience
from agent.lifecycle.workflow import CALL_QUEUE
from agent.ports import CallLifecycle
from agent.record.call_log import CallLog
from agent.record.models import Call
from agent.runner.local_runner import LocalRunner
from agent.runner.temporal_runner import TemporalRunner
from server.demo.temporal_server import TemporalServer
from server.settings.settings import Settings
from server.temporal.lifecycle import TemporalLifecycle
from tests.agent.runner.scripted import CALM, QUICK, Ends, Phone, ScriptedMedia, eventually


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


async def until_workers_poll(client: Client) -> None:
    """Wait until a worker of this test takes workflow tasks."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=CALL_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    mine = f"{os.getpid()}@"

    async def polls() -> bool:
        described = await client.workflow_service.describe_task_queue(request)
        return any(poller.identity.startswith(mine) for poller in described.pollers)

    await eventually(polls)


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
    patience: Patience = CALM,
    begin_secs: float = 60.0,
    tell_now_secs: float = 30.0,
    leave: bool = False,
) -> AsyncIterator[TemporalRunner]:
    """A server's lifecycle with its workers, on a Temporal server that runs.

    `leave`: workflows go on after it; otherwise they are terminated.
    """
    local = LocalRunner(call_log, phone, media, patience=patience, on_end=ends)
    settings = Settings(temporal_address=temporal.address)
    lifecycle = TemporalLifecycle.make(
        settings,
        local,
        call_log,
        instance,
        ends,
        patience,
        begin_secs=begin_secs,
        tell_now_secs=tell_now_secs,
    )
    own = OverTemporal(lifecycle)
    await lifecycle.runner.resume()
    try:
        async with lifecycle.working(media, phone, with_calls=with_calls):
            try:
                if with_calls:
                    await until_workers_poll(await lifecycle.workflows.client())
                yield lifecycle.runner
            finally:
                phone.open.set()
                media.open.set()
                if not leave:
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
