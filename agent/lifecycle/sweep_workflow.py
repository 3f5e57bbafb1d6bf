"""SweepWorkflow: once a day, looks for calls that are open in the record and live nowhere."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

SWEEP_ID = "voice-ai-sweep"
SWEEP_EVERY = timedelta(days=1)


@workflow.defn(name="sweep")
class SweepWorkflow:
    """Has one activity do it. Returns how many calls were taken up."""

    @workflow.run
    async def run(self) -> int:
        """Sweep."""
        taken_up: int = await workflow.execute_activity(
            "sweep",
            start_to_close_timeout=timedelta(minutes=10),
            retry_policy=RetryPolicy(maximum_attempts=5),
        )
        return taken_up
