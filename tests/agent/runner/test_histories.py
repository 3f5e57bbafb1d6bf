"""Old histories replay on today's rules, and a call costs no more than it may."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from agent.lifecycle.state import Patience
from agent.lifecycle.workflow import CallWorkflow
from agent.record.call_log import CallLog
from server.demo.temporal_server import TemporalServer
from server.temporal.worker import RESTRICTIONS
from tests.agent.runner.conftest import over_temporal
from tests.agent.runner.scripted import Ends, Phone, ScriptedMedia
from tests.agent.runner.stories import HISTORIES, STORIES, history_of, plain_outbound

KEPT = sorted(HISTORIES.glob("*.json"))

# https://docs.temporal.io/cloud/actions: those that a call has.
BILLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED: "start",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: "signal",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: "update",
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: "activity",
    EventType.EVENT_TYPE_TIMER_STARTED: "timer",
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: "search attributes",
}


@pytest.fixture
def database_server() -> None:
    """SQLite alone: histories do not know the database."""


async def replay(name: str) -> None:
    text = await asyncio.to_thread((HISTORIES / f"{name}.json").read_text)
    runner = SandboxedWorkflowRunner(RESTRICTIONS)
    replayer = Replayer(workflows=[CallWorkflow], workflow_runner=runner)
    await replayer.replay_workflow(WorkflowHistory.from_json(name, text))


def test_every_story_has_its_history():
    assert {path.stem for path in KEPT} == set(STORIES)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
async def test_a_call_that_runs_can_be_taken_up_by_todays_rules(path: Path):
    await replay(path.stem)


async def test_a_change_of_the_rules_would_be_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.lifecycle.look_ups.check_later", lambda draft: None)
    monkeypatch.setattr("agent.lifecycle.ringing.check_soon", lambda draft: None)
    with pytest.raises(workflow.NondeterminismError):
        await replay("busy")


async def test_what_a_plain_outbound_call_costs(
    temporal: TemporalServer,
    call_log: CallLog,
    phone: Phone,
    media: ScriptedMedia,
    ends: Ends,
):
    async with over_temporal(temporal, call_log, phone, media, ends, patience=Patience()) as life:
        text = await history_of(life, plain_outbound, phone)
    history = WorkflowHistory.from_json("it", text)
    actions = Counter(BILLED[e.event_type] for e in history.events if e.event_type in BILLED)
    # All local activities of one workflow task are one action.
    tasks = {
        e.marker_recorded_event_attributes.workflow_task_completed_event_id
        for e in history.events
        if e.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
    }
    actions["local activities"] = len(tasks)
    assert actions.total() <= 25, actions
    assert len(history.events) <= 80
    assert sum(event.ByteSize() for event in history.events) <= 24_000


@pytest.mark.parametrize("name", STORIES)
def test_nobodys_number_or_words_are_in_a_history(name: str):
    text = (HISTORIES / f"{name}.json").read_text()
    assert "+15550100" not in text
    assert "+15550199" not in text
