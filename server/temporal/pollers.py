"""Counts the workers that take workflow tasks of calls."""

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest

from agent.lifecycle.workflow import CALL_QUEUE
from server.settings.settings import Settings
from server.temporal.connection import connector


async def count_pollers(settings: Settings) -> int:
    """How many workers polled the queue of calls in the last minutes.

    Raises: RuntimeError when the server cannot be reached, RPCError when it has no such namespace.
    """
    client = await connector(settings.model_copy(update={"temporal_metrics_address": None}))()
    service, namespace = client.workflow_service, client.namespace
    await service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    request = DescribeTaskQueueRequest(
        namespace=namespace,
        task_queue=TaskQueue(name=CALL_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    return len((await service.describe_task_queue(request)).pollers)
