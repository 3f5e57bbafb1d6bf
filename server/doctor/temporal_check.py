"""Checks Temporal, where it is set: whether it answers, and whether a worker takes calls."""

import asyncio
from importlib import import_module
from typing import Any

from server.doctor.findings import Finding, fail, ok, reason, skip
from server.settings.settings import Settings

NAME = "temporal"
CALL_QUEUE = "calls"
WITHIN_SECS = 5.0


async def check_temporal(settings: Settings) -> list[Finding]:
    """Ask for the namespace, and for who polls the queue of calls."""
    address = settings.temporal_address
    if address is None:
        return [skip(NAME, "TEMPORAL_ADDRESS is not set: calls live in the server's process")]
    try:
        client_module = import_module("temporalio.client")
    except ModuleNotFoundError:
        do = "Install it: pip install 'voice-ai-system[temporal]'"
        return [fail(NAME, "the package 'temporalio' is not installed", do)]
    shown = f"{address}, namespace {settings.temporal_namespace}"
    try:
        async with asyncio.timeout(WITHIN_SECS):
            client = await client_module.Client.connect(
                address, namespace=settings.temporal_namespace
            )
            await _describe_namespace(client, settings.temporal_namespace)
            pollers = await _pollers(client, settings.temporal_namespace)
    except Exception as error:  # temporalio raises RuntimeError, and RPCError of its own
        do = "Start Temporal, or correct TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE."
        return [fail(NAME, f"{shown} cannot be used: {reason(error)}", do)]
    if not pollers:
        do = "Start `voice-ai worker` or `voice-ai serve` with these settings."
        return [fail(NAME, f"{shown}: no worker takes calls", do)]
    return [ok(NAME, f"{shown}, {pollers} worker{'s' if pollers > 1 else ''}")]


async def _describe_namespace(client: Any, namespace: str) -> None:
    service = import_module("temporalio.api.workflowservice.v1")
    await client.workflow_service.describe_namespace(
        service.DescribeNamespaceRequest(namespace=namespace)
    )


async def _pollers(client: Any, namespace: str) -> int:
    service = import_module("temporalio.api.workflowservice.v1")
    queue = import_module("temporalio.api.taskqueue.v1").TaskQueue(name=CALL_QUEUE)
    kind = import_module("temporalio.api.enums.v1").TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    described = await client.workflow_service.describe_task_queue(
        service.DescribeTaskQueueRequest(
            namespace=namespace, task_queue=queue, task_queue_type=kind
        )
    )
    return len(described.pollers)
