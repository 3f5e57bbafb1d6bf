"""Worker of the calls' workflows: opens its own clients, and stops in grace.

SIGTERM ─▶ no new tasks ─▶ activities end, at most GRACE ─▶ exit ─▶ another worker goes on
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from loguru import logger
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleSpec,
)
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from agent.clock import Clock
from agent.lifecycle.sweep_workflow import SWEEP_EVERY, SWEEP_ID, SweepWorkflow
from agent.lifecycle.workflow import CALL_QUEUE, CallWorkflow, media_queue
from agent.ports import Telephone
from agent.record.call_log import CallLog
from agent.runner.activities import CallActivities, MediaActivities
from agent.runner.phone_requests import REQUEST_SECS, PhoneRequests
from agent.runner.sweeper import Sweeper
from agent.runner.workflow_client import Workflows, WorkflowsAway
from server.about import own_version
from server.settings.settings import Settings

# Longer than the longest activity.
GRACE = timedelta(seconds=REQUEST_SECS + 15)
DEPLOYMENT = "voice-ai"
# The rules are pure; loading them anew for each call would take 17 ms of CPU.
RESTRICTIONS = SandboxRestrictions.default.with_passthrough_modules("agent.lifecycle")
RETRY_SECS = 2.0


def call_worker(
    client: Client,
    settings: Settings,
    call_log: CallLog,
    telephone: Telephone,
    workflows: Workflows,
    clock: Clock,
) -> Worker:
    """A worker that runs workflows of calls, and their requests to the record and to Twilio."""
    activities = CallActivities(call_log, PhoneRequests(telephone, call_log, clock))
    return Worker(
        client,
        task_queue=CALL_QUEUE,
        workflows=[CallWorkflow, SweepWorkflow],
        activities=[*activities.all, Sweeper(call_log, workflows).sweep],
        graceful_shutdown_timeout=GRACE,
        deployment_config=_deployment(settings),
        workflow_runner=SandboxedWorkflowRunner(RESTRICTIONS),
    )


def media_worker(client: Client, instance: str, activities: MediaActivities) -> Worker:
    """A worker for what must happen on this instance."""
    version = WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=own_version())
    return Worker(
        client,
        task_queue=media_queue(instance),
        deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=False),
        activities=activities.all,
        graceful_shutdown_timeout=timedelta(seconds=5),
    )


async def keep_running(
    workflows: Workflows,
    make: Callable[[Client], Worker],
    *,
    once: Callable[[Client], Awaitable[None]] | None = None,
) -> None:
    """Run a worker until cancelled, and start it again when Temporal was away."""
    while True:
        try:
            client = await workflows.client()
            if once is not None:
                await once(client)
            worker = make(client)
            logger.info("A Temporal worker runs", queue=worker.task_queue)
            await worker.run()
        except (RuntimeError, RPCError, WorkflowsAway) as error:
            logger.warning("A Temporal worker waits for the server", why=str(error))
        await asyncio.sleep(RETRY_SECS)


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Keep a worker running inside; on exit it stops in its own grace."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def schedule_sweep(client: Client) -> None:
    """Have calls that live nowhere looked for once a day; one schedule for all workers."""
    action = ScheduleActionStartWorkflow(SweepWorkflow.run, id=SWEEP_ID, task_queue=CALL_QUEUE)
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=SWEEP_EVERY)])
    with contextlib.suppress(ScheduleAlreadyRunningError):
        await client.create_schedule(SWEEP_ID, Schedule(action=action, spec=spec))


def _deployment(settings: Settings) -> WorkerDeploymentConfig:
    """With TEMPORAL_BUILD_ID, calls stay with the build that they began with.

    Without it, the version names the worker: the SDK's own default reads every loaded module.
    """
    build_id = settings.temporal_build_id
    version = WorkerDeploymentVersion(
        deployment_name=DEPLOYMENT, build_id=build_id or own_version()
    )
    return WorkerDeploymentConfig(
        version=version,
        use_worker_versioning=build_id is not None,
        default_versioning_behavior=(
            VersioningBehavior.PINNED if build_id else VersioningBehavior.UNSPECIFIED
        ),
    )
