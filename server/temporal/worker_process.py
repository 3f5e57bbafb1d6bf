"""Runs a worker with clients of its own: the record, Twilio, Temporal."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from loguru import logger
from temporalio.service import RPCError

from agent.clock import loop_clock
from agent.record.call_log import CallLog, open_engine
from agent.runner.workflow_client import Workflows, WorkflowsAway
from server.migrations import upgrade
from server.settings.settings import Settings
from server.temporal import search_attributes
from server.temporal.connection import connector
from server.temporal.worker import GRACE, RETRY_SECS, call_worker, schedule_sweep
from server.twilio.open_telephone import open_telephone

HARD_EXIT_SECS = GRACE.total_seconds() + 5.0


async def run(settings: Settings, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Work until `stop` is set; `ready` is called when the worker runs."""
    async with AsyncExitStack() as stack:
        await upgrade(settings.database_url)
        engine = open_engine(settings.database_url, settings.db_pool_size)
        stack.push_async_callback(engine.dispose)
        call_log = CallLog(engine)
        telephone = open_telephone(settings, call_log)
        stack.callback(telephone.close)
        workflows = Workflows(connector(settings), "worker", search_attributes.register)
        while not stop.is_set():
            try:
                client = await workflows.client()
                await schedule_sweep(client)
                worker = call_worker(client, settings, call_log, telephone, workflows, loop_clock())
                async with worker:
                    ready()
                    await stop.wait()
            except (WorkflowsAway, RPCError, RuntimeError) as error:
                logger.warning("Temporal cannot be reached", why=str(error))
                await _wait(stop, RETRY_SECS)


async def _wait(stop: asyncio.Event, secs: float) -> None:
    try:
        async with asyncio.timeout(secs):
            await stop.wait()
    except TimeoutError:
        pass
