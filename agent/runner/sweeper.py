"""Sweeper: takes up calls that are open in the record while nothing runs their lives."""

from datetime import timedelta

from loguru import logger
from temporalio import activity

from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import Driver
from agent.record.call_log import CallLog
from agent.record.models import now_utc
from agent.runner.workflow_client import Workflows

# Placing a call takes seconds; one that is younger may be about to get its workflow.
_YOUNG = timedelta(minutes=10)


class Sweeper:
    """The activity of the daily sweep."""

    def __init__(self, call_log: CallLog, workflows: Workflows) -> None:
        self._call_log = call_log
        self._workflows = workflows

    @activity.defn
    async def sweep(self) -> int:
        """Start a workflow for each such call, which asks Twilio how it ended."""
        taken_up = 0
        for call in await self._call_log.unfinished():
            if CallState.from_json(call.life).driver is not Driver.TEMPORAL:
                continue
            if call.created_at > now_utc() - _YOUNG or await self._workflows.lives(call.id):
                continue
            await self._workflows.begin(call, fresh=False, again=True)
            logger.bind(call_id=call.id).warning("A call that lived nowhere was taken up")
            taken_up += 1
        return taken_up
