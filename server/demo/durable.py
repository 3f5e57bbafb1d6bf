"""Demo of durable lives: many calls over Temporal, whose worker is killed in the middle.

    20 calls placed ──▶ 8 of them over ─▶ SIGKILL of the worker … another one ──▶ all over ─▶ judged

Real parts: a Temporal server, `voice-ai serve`, `voice-ai worker`; both vendors are emulated.
"""

import asyncio
import contextlib
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory

from server.demo.durable_calls import Kind, Planned, a_callback_plan, a_fault, plan
from server.demo.stage import StageError, server_process
from server.demo.temporal_server import TemporalServer
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import TwilioEmulator
from server.emulators.twilio.faults import RestFault

OURS = "+15550100999"
WORK = (sys.executable, "-c", "from server.cli.main import app; app()", "worker")
# Over so many calls, a worker is killed.
OVER_AT_THE_KILL = 0.3
# Faults that wait for a request, of all kinds.
FAULTS_AT_ONCE = 12
# A dial that was lost is looked for with growing pauses, while Twilio's answers fail.
ENDS_WITHIN_SECS = 240.0
NOT_DIALLED = ("failed", "system")
# What the record says of a dial that may not have reached Twilio.
LOST = frozenset({"life.dial_unclear"})
LOST_BY_FAULTS = LOST | {"life.dial_failed"}
# Longer than a request to Twilio that hangs, and than the death of a worker in it.
SETTLED_WITHIN_SECS = 60.0

BILLED = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call's history costs: billed actions, events, bytes."""

    actions: int
    events: int
    size_bytes: int

    @classmethod
    def of(cls, history: WorkflowHistory) -> "Cost":
        """Count. All local activities of one workflow task are one action.

        Source: https://docs.temporal.io/cloud/actions
        """
        local = {
            event.marker_recorded_event_attributes.workflow_task_completed_event_id
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
        }
        billed = sum(event.event_type in BILLED for event in history.events)
        size = sum(event.ByteSize() for event in history.events)
        return cls(billed + len(local), len(history.events), size)


@dataclass(frozen=True, slots=True)
class Lived:
    """One call as it was planned and as it went."""

    planned: Planned
    status: str
    end_reason: str | None
    at_twilio: str | None
    dialled: int
    endings: int
    cost: Cost | None
    # Its worker died in the dial, or Twilio refused it as it was told to.
    dial_was_lost: bool

    @property
    def problem(self) -> str | None:
        """What is wrong with it, in a few words."""
        if self.dialled > 1:
            return f"dialled {self.dialled} times"
        if self.endings != 1:
            return f"ended {self.endings} times" if self.endings else "never ended"
        # Only Twilio knows whether a worker that died had dialled: a dial is never repeated.
        never_dialled = self.dial_was_lost and self.dialled == 0
        ends = (NOT_DIALLED,) if never_dialled else self.planned.kind.ends
        if (self.status, self.end_reason) not in ends:
            return "ended otherwise than planned"
        if self.at_twilio is not None and self.at_twilio.replace("-", "_") != self.status:
            return f"Twilio says {self.at_twilio}"
        return None


@dataclass(frozen=True, slots=True)
class Durable:
    """The lives of all calls, and how many workflows were still open at the end."""

    calls: list[Lived]
    stuck: int

    @property
    def problems(self) -> list[str]:
        """Every sentence that says what went wrong."""
        found = [
            f"{lived.planned.number} ({lived.planned.kind.name}): {lived.problem}"
            for lived in self.calls
            if lived.problem
        ]
        if self.stuck:
            found.append(f"{self.stuck} workflows are stuck")
        return found


async def run_durable(
    tell: Callable[[str], None], *, calls: int = 20, faults: bool = False, seed: int = 1
) -> Durable:
    """Let all calls live; `tell` hears what is done.

    `faults`: Twilio's REST API fails now and then, and its callbacks are lost, late or doubled.

    Raises: StageError, NoTemporalServer.
    """
    dice = random.Random(seed)  # noqa: S311
    # Twilio takes one call a second by default; a short demo does not wait for that.
    planned = plan(calls, dice, a_second=1 if faults else 4)
    with tempfile.TemporaryDirectory(prefix="voice-ai-demo-") as scratch:
        folder = Path(scratch)
        async with (
            _temporal(folder) as temporal,
            GeminiLiveEmulator() as gemini,
            TwilioEmulator(numbers=[OURS]) as twilio,
        ):
            for one in planned:
                twilio.people[one.number] = one.kind.behaviour
            more = {
                "TEMPORAL_ADDRESS": temporal.address,
                "RING_TIMEOUT_SECONDS": "5",
                "MAX_CONCURRENT_CALLS": str(calls),
                "DAILY_CALL_LIMIT": str(calls + 1),
                "PREWARM_LIMIT": "20",
            }
            async with server_process(gemini, twilio, folder, more) as server:
                tell(f"{calls} calls are placed")
                stage = _Stage(server.http, server.environment, folder, twilio, tell)
                client = await Client.connect(temporal.address)
                views = await stage.live(planned, client, dice if faults else None)
                lost = LOST_BY_FAULTS if faults else LOST
                return await _judge(planned, views, twilio, server.http, client, lost)


@asynccontextmanager
async def _temporal(folder: Path) -> AsyncIterator[TemporalServer]:
    server = TemporalServer(folder / "temporal.db")
    try:
        await asyncio.to_thread(server.start)
        yield server
    finally:
        server.stop()


@dataclass
class _Stage:
    http: httpx.AsyncClient
    environment: Mapping[str, str]
    folder: Path
    twilio: TwilioEmulator
    tell: Callable[[str], None]

    async def live(
        self, planned: list[Planned], client: Client, dice: random.Random | None
    ) -> list[Any]:
        over = 0

        async def one(call: Planned) -> Any:
            nonlocal over
            view = await self._one(call)
            over += 1
            return view

        async with self._worker("first"):
            lives = [asyncio.create_task(one(call)) for call in planned]
            most = len(planned) // 2
            troubles = asyncio.create_task(self._trouble(dice, most)) if dice else None
            while over < OVER_AT_THE_KILL * len(planned):
                await asyncio.wait(lives, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
            self.tell(f"{over} are over: the worker is killed (SIGKILL)")
        async with self._worker("second"):
            self.tell("another worker is started")
            views = await asyncio.gather(*lives)
            if troubles is not None:
                troubles.cancel()
            await _until_settled(client)
        return views

    @asynccontextmanager
    async def _worker(self, name: str) -> AsyncIterator[None]:
        log = self.folder / f"worker-{name}.log"
        with log.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *WORK, cwd=self.folder, env=self.environment, stdout=said, stderr=said
            )
        try:
            while b"Working" not in await asyncio.to_thread(log.read_bytes):
                if process.returncode is not None:
                    raise StageError(await asyncio.to_thread(log.read_text))
                await asyncio.sleep(0.05)
            yield
        finally:
            process.kill()
            await process.wait()

    async def _one(self, call: Planned) -> Any:
        await asyncio.sleep(call.after_secs)
        body = {"phone_number": call.number, **call.kind.request}
        headers = {"Idempotency-Key": call.number}
        while True:
            answer = await self.http.post("/calls", json=body, headers=headers)
            if answer.status_code != 503:
                break
            # As the answer asks for: nothing was placed.
            await asyncio.sleep(float(answer.headers["Retry-After"]))
        call_id = answer.raise_for_status().json()["id"]
        if call.kind is Kind.TERMINATED:
            await self._until_talking(call_id)
            (await self.http.post(f"/calls/{call_id}/terminate")).raise_for_status()
        gives_up_at = asyncio.get_running_loop().time() + ENDS_WITHIN_SECS
        while True:
            answer = await self.http.get(f"/calls/{call_id}/result", params={"wait": 10})
            is_over = answer.raise_for_status().status_code != 202
            if is_over or asyncio.get_running_loop().time() > gives_up_at:
                return answer.json()

    async def _until_talking(self, call_id: str) -> None:
        while True:
            view = (await self.http.get(f"/calls/{call_id}")).raise_for_status().json()
            if view["status"] == "in_progress" or view["ended_at"]:
                return
            await asyncio.sleep(0.2)

    async def _trouble(self, dice: random.Random, most: int) -> None:
        """Have Twilio fail now and then, with what a dial or a look-up may meet, and callbacks.

        A fault waits for a request of its kind: more than `most` would never come to an end, and
        more than a few at a time would be an outage of minutes.
        """
        for _ in range(most):
            await asyncio.sleep(dice.uniform(0.1, 1.0))
            fault: RestFault = a_fault(dice)
            if len(self.twilio.faults) < FAULTS_AT_ONCE:
                self.twilio.fail_next(fault)
            self.twilio.callbacks = a_callback_plan(dice)


async def _judge(
    planned: list[Planned],
    views: list[Any],
    twilio: TwilioEmulator,
    http: httpx.AsyncClient,
    client: Client,
    lost: frozenset[str],
) -> Durable:
    stuck = await _running(client)
    dialled = Counter(call.order.to for call in twilio.calls)
    final = {call.order.to: call.status for call in twilio.calls}
    lived = []
    for call, view in zip(planned, views, strict=True):
        events = (await http.get(f"/calls/{view['id']}/events", params={"limit": 500})).json()
        ends = [e for e in events["events"] if e["kind"] == "life.status" and _is_end(e["detail"])]
        history = await client.get_workflow_handle(view["id"]).fetch_history()
        lived.append(
            Lived(
                call,
                status=view["status"],
                end_reason=view["end_reason"],
                at_twilio=final.get(call.number),
                dialled=dialled[call.number],
                endings=len(ends),
                cost=Cost.of(history),
                dial_was_lost=any(e["kind"] in lost for e in events["events"]),
            )
        )
    return Durable(lived, stuck)


async def _until_settled(client: Client) -> None:
    """Wait until no workflow runs: a record shows an end before its workflow has returned."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_WITHIN_SECS):
            while await _running(client):  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def _running(client: Client) -> int:
    return (await client.count_workflows("ExecutionStatus = 'Running'")).count


def _is_end(detail: dict[str, Any]) -> bool:
    return detail["status"] in ("completed", "failed", "no_answer", "busy", "canceled")
