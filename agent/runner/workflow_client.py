"""Workflows: the calls' workflows at a Temporal server, as an instance starts and tells them.

place     update-with-start   one round trip: starts, deduplicates, waits for Twilio's answer
tell      signal-with-start   no worker needs to live
tell_now  update              returns when the record has it
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from agent.lifecycle.told import Told
from agent.lifecycle.workflow import (
    CALL_QUEUE,
    DIRECTION,
    PIPELINE,
    STATUS,
    CallStart,
    CallWorkflow,
)
from agent.record.models import Call

# What a webhook or the media side waits for Temporal.
_RPC_SECS = 2.0
_CONNECT_SECS = 5.0
_ANSWERS = {
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.ALREADY_EXISTS,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.UNIMPLEMENTED,
}


class WorkflowsAway(Exception):
    """Temporal cannot be reached, or no worker answers. What was asked may still happen."""


class CallIsOver(Exception):
    """The call's workflow has ended, or there is none."""


class Workflows:
    """Starts and tells the workflows of calls. `instance` prepares calls and carries streams.

    `connect` opens the client, and is tried again while it fails; `is_searchable` says whether its
    namespace has the search attributes.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Client]],
        instance: str,
        is_searchable: Callable[[Client], Awaitable[bool]],
    ) -> None:
        self._connect = connect
        self._is_searchable = is_searchable
        self._client: Client | None = None
        self._instance = instance
        self._searchable = False
        self.reachable = False

    async def client(self) -> Client:
        """The client. Raises: WorkflowsAway."""
        if self._client is None:
            try:
                async with asyncio.timeout(_CONNECT_SECS):
                    client = await self._connect()
                    self._searchable = await self._is_searchable(client)
                    self._client = client
            except (RuntimeError, TimeoutError, RPCError) as error:
                self.reachable = False
                raise WorkflowsAway(f"Temporal cannot be reached: {error}") from error
        return self._client

    async def check(self) -> None:
        """Ask whether the server serves. Raises: WorkflowsAway."""
        client = await self.client()
        async with self._asking():
            await client.service_client.check_health(timeout=timedelta(seconds=_RPC_SECS))

    async def place(self, call: Call) -> None:
        """Start the life of a placed call, and return when Twilio has answered the dial.

        The same for a call whose workflow lives already. Raises: WorkflowsAway, CallIsOver.
        """
        client = await self.client()
        start = WithStartWorkflowOperation(
            CallWorkflow.run,
            self._start(call.id, fresh=True),
            id=call.id,
            task_queue=CALL_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            search_attributes=self._attributes(call),
        )
        try:
            async with self._asking():
                await client.execute_update_with_start_workflow(
                    CallWorkflow.dialled, start_workflow_operation=start
                )
        except (CallIsOver, WorkflowsAway):
            await _look_at_failure(start)
            raise

    async def until_dialled(self, call_id: str) -> None:
        """Wait for Twilio's answer to the dial. Raises: WorkflowsAway, CallIsOver."""
        client = await self.client()
        async with self._asking():
            await client.get_workflow_handle(call_id).execute_update(CallWorkflow.dialled)

    async def begin(self, call: Call, *, fresh: bool, again: bool = False) -> None:
        """Start the life of a call, unless it has a workflow.

        `again`: also when its workflow has ended before its call. Raises: WorkflowsAway.
        """
        client = await self.client()
        reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
        try:
            async with self._asking():
                await client.start_workflow(
                    CallWorkflow.run,
                    self._start(call.id, fresh=fresh),
                    id=call.id,
                    task_queue=CALL_QUEUE,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE if again else reuse,
                    search_attributes=self._attributes(call),
                    rpc_timeout=timedelta(seconds=_RPC_SECS),
                )
        except CallIsOver:
            return

    async def tell(self, call_id: str, told: Sequence[Told]) -> None:
        """Tell a call's workflow of events, in order. Raises: WorkflowsAway, CallIsOver."""
        client = await self.client()
        async with self._asking():
            await client.start_workflow(
                CallWorkflow.run,
                self._start(call_id),
                id=call_id,
                task_queue=CALL_QUEUE,
                start_signal="tell",
                start_signal_args=[list(told)],
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                rpc_timeout=timedelta(seconds=_RPC_SECS),
            )

    async def tell_now(self, call_id: str, told: Sequence[Told], timeout: float) -> None:
        """Tell a call's workflow of events, and return when the record has them.

        Raises: WorkflowsAway, also when no worker answers in time; CallIsOver.
        """
        client = await self.client()
        async with self._asking(timeout):
            await client.get_workflow_handle(call_id).execute_update(
                CallWorkflow.tell_now, list(told)
            )

    async def lives(self, call_id: str) -> bool:
        """Whether the call's workflow is running. Raises: WorkflowsAway."""
        client = await self.client()
        try:
            async with self._asking():
                described = await client.get_workflow_handle(call_id).describe()
        except CallIsOver:
            return False
        return described.status is WorkflowExecutionStatus.RUNNING

    async def until_over(self, call_id: str) -> None:
        """Wait until the call's workflow has ended. Raises: WorkflowsAway, CallIsOver."""
        client = await self.client()
        try:
            async with self._asking():
                await client.get_workflow_handle(call_id).result()
        except WorkflowFailureError as error:
            raise CallIsOver(call_id) from error

    def _start(self, call_id: str, *, fresh: bool = False) -> CallStart:
        return CallStart(call_id, self._instance, fresh=fresh, searchable=self._searchable)

    def _attributes(self, call: Call) -> TypedSearchAttributes:
        if not self._searchable:
            return TypedSearchAttributes.empty
        return TypedSearchAttributes(
            [
                SearchAttributePair(STATUS, call.status.value),
                SearchAttributePair(DIRECTION, call.direction.value),
                SearchAttributePair(PIPELINE, call.pipeline),
            ]
        )

    @asynccontextmanager
    async def _asking(self, timeout: float | None = None) -> AsyncIterator[None]:
        """Tell Temporal's answers from its absence."""
        try:
            async with asyncio.timeout(timeout):
                yield
        except (WorkflowAlreadyStartedError, WorkflowUpdateFailedError) as error:
            self.reachable = True
            raise CallIsOver(str(error)) from error
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                self.reachable = True
                raise CallIsOver(str(error)) from error
            if error.status in _ANSWERS:
                raise
            self.reachable = False
            raise WorkflowsAway(f"Temporal cannot be reached: {error.message}") from error
        except (WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError) as error:
            raise WorkflowsAway("no worker has answered in time") from error
        self.reachable = True


async def _look_at_failure(start: WithStartWorkflowOperation[CallWorkflow, str]) -> None:
    """The SDK keeps its error in a future, too, and asyncio logs one that nobody looks at."""
    looking = asyncio.create_task(start.workflow_handle())
    for looked in (await asyncio.wait({looking}, timeout=1.0))[0]:
        if not looked.cancelled():
            looked.exception()
    looking.cancel()
