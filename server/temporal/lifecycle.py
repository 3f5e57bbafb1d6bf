"""Opens the lifecycle over Temporal: the runner, and the workers that live in the server."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from agent.lifecycle.state import Patience
from agent.ports import CallMedia, Telephone
from agent.record.call_log import CallLog
from agent.record.models import Call
from agent.runner.activities import MediaActivities
from agent.runner.local_runner import LocalRunner
from agent.runner.temporal_runner import TemporalRunner
from agent.runner.workflow_client import Workflows
from server.settings.settings import Settings
from server.temporal import search_attributes
from server.temporal.connection import connector
from server.temporal.worker import call_worker, keep_running, media_worker, running, schedule_sweep


@dataclass(frozen=True)
class TemporalLifecycle:
    """The runner of a server that uses Temporal, and what its workers need."""

    settings: Settings
    workflows: Workflows
    runner: TemporalRunner
    call_log: CallLog
    instance: str

    @classmethod
    def make(
        cls,
        settings: Settings,
        local: LocalRunner,
        call_log: CallLog,
        instance: str,
        on_end: Callable[[Call], None],
        patience: Patience | None = None,
        **timeouts: float,
    ) -> "TemporalLifecycle":
        """A lifecycle that is not connected yet; `timeouts` are those of its runner."""
        workflows = Workflows(connector(settings), instance, search_attributes.register)
        runner = TemporalRunner(
            workflows,
            local,
            call_log,
            instance=instance,
            patience=patience,
            on_end=on_end,
            **timeouts,
        )
        return cls(settings, workflows, runner, call_log, instance)

    @contextlib.asynccontextmanager
    async def working(
        self, media: CallMedia, telephone: Telephone, *, with_calls: bool
    ) -> AsyncIterator[None]:
        """Work for this instance inside, and for the lives of calls `with_calls`."""
        activities = MediaActivities(media, self.runner.call_is_over)
        async with contextlib.AsyncExitStack() as stack:
            of_instance = keep_running(
                self.workflows, lambda client: media_worker(client, self.instance, activities)
            )
            await stack.enter_async_context(running(of_instance))
            if with_calls:
                of_calls = keep_running(
                    self.workflows,
                    lambda client: call_worker(
                        client,
                        self.settings,
                        self.call_log,
                        telephone,
                        self.workflows,
                        self.runner.now,
                    ),
                    once=schedule_sweep,
                )
                await stack.enter_async_context(running(of_calls))
            yield
