"""CallWorkflow: runs the life of one call in Temporal, by the same rules as the local runner.

Standard library, dataclasses and temporalio only: whatever else is imported here would be loaded
anew for each run, and has no place in code that must be deterministic.

    signal tell ────────┐
    update tell_now ────┤                     ┌─▶ activities: dial, hang_up, look_up
    timers ─────────────┼─▶ inbox ─▶ decide ──┼─▶ activities of the instance: release, end_media
    activities' results ┘       │             └─▶ search attributes
                                └─▶ local activity: write_record, one for all that waits

No audio and no words of callers pass here: ids, states and times only.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    FailureError,
    TimeoutError,
    TimeoutType,
)

with workflow.unsafe.imports_passed_through():
    from agent.lifecycle.decision import RecordedEvent, decide_all
    from agent.lifecycle.events import (
        Command,
        Dial,
        DialFailed,
        DialUnclear,
        EndMedia,
        Event,
        HangUp,
        LookUp,
        Placed,
        Release,
        StreamStarted,
        Terminate,
        TimerFired,
    )
    from agent.lifecycle.state import CallState, new_call
    from agent.lifecycle.statuses import CallStatus, Direction
    from agent.lifecycle.told import Told, event_from_json

CALL_QUEUE = "calls"

STATUS = SearchAttributeKey.for_keyword("VoiceAiStatus")
DIRECTION = SearchAttributeKey.for_keyword("VoiceAiDirection")
OUTCOME = SearchAttributeKey.for_keyword("VoiceAiOutcome")
END_REASON = SearchAttributeKey.for_keyword("VoiceAiEndReason")
PIPELINE = SearchAttributeKey.for_keyword("VoiceAiPipeline")
SEARCH_ATTRIBUTES = (STATUS, DIRECTION, OUTCOME, END_REASON, PIPELINE)

# A worker that dies in an activity is noticed when it misses this.
HEARTBEAT = timedelta(seconds=5)
# Longer than a request to Twilio takes at most.
REQUEST = timedelta(seconds=40)
# A dial that no worker took by then is not made any more: nobody waits for it.
DIAL_WAITS = timedelta(seconds=60)
# The instance that carried the call may be gone.
MEDIA_WAITS = timedelta(seconds=10)
ONCE = RetryPolicy(maximum_attempts=1)
AT_FIRST = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=2)
UNTIL_DONE = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=30)
)
# More writes than one workflow task makes.
_WRITES_AT_ONCE = 100
NOT_TAKEN = "No worker took the call in time; it was not dialled."

T = TypeVar("T")
PhoneCommand = Dial | HangUp | LookUp
MediaCommand = Release | EndMedia


def media_queue(instance: str) -> str:
    """The task queue of what must happen on the server that carries a call."""
    return f"media-{instance}"


@dataclass(frozen=True)
class CallStart:
    """What a call's workflow starts with; everything else is in the record.

    `instance` prepared the call. `fresh`: the call was placed just now, and an outbound one is to
    be dialled; otherwise its life goes on from the record. `searchable`: the search attributes are
    registered.
    """

    call_id: str
    instance: str
    fresh: bool = False
    searchable: bool = False


@dataclass(frozen=True)
class Begun:
    """A call's state as JSON and the revision of its record; no state: there is nothing to do."""

    state: dict[str, Any] | None
    revision: int = 0


@dataclass(frozen=True)
class RecordWrite:
    """A call's newest state, the events since the write `after`, and the revision they make.

    A worker that dies may have written already what its workflow task did not report. The task is
    then done again, perhaps with more events: what was written since `after` is replaced. The
    revision grows with the history, so that a worker that was taken for dead replaces nothing.
    """

    call_id: str
    state: dict[str, Any]
    events: list[RecordedEvent]
    revision: int
    after: int


@dataclass(frozen=True)
class PhoneOrder:
    """A request to the telephone network about a call."""

    call_id: str
    twilio_sid: str | None = None


@dataclass(frozen=True)
class MediaOrder:
    """Ends what an instance holds of a call. `reason`: its end reason; None: nobody answered.

    `over`: the call has ended; it is said once.
    """

    call_id: str
    reason: str | None
    over: bool


@workflow.defn(name="call")
class CallWorkflow:
    """The life of one call; the workflow's id is the call's. Returns the final status."""

    @workflow.init
    def __init__(self, start: CallStart) -> None:
        self._start = start
        self._state: CallState | None = None
        self._withdrawn = False
        self._inbox: deque[Told | Event] = deque()
        # What the record does not have yet; how many decisions were made and how many it has.
        self._unwritten: list[RecordedEvent] = []
        self._decided = 0
        self._written = 0
        self._dial_answered = False
        # The instance of the last stream; before any, the one that prepared the call.
        self._carrier = start.instance
        self._media = asyncio.Lock()
        self._told_over = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0

    # --- from outside

    @workflow.signal
    def tell(self, told: list[Told]) -> None:
        """Take events of the call, in order."""
        self._inbox.extend(told)

    @workflow.update
    async def tell_now(self, told: list[Told]) -> None:
        """Take events, and return when the record has them."""
        self._inbox.extend(told)
        await self._until(lambda: not self._inbox)
        await self._until_written()

    @tell_now.validator
    def _check_told(self, told: list[Told]) -> None:
        if not all(isinstance(one.event, Terminate) for one in told):
            raise ApplicationError("only the end of a call is told with an answer")
        if self._state is not None and self._state.status.is_terminal:
            raise ApplicationError("the call has ended")

    @workflow.update
    async def dialled(self) -> None:
        """Return when Twilio has answered the dial, and the record has the answer."""
        await self._until(lambda: self._dial_answered)
        await self._until_written()

    async def _until(self, happened: Callable[[], bool]) -> None:
        await workflow.wait_condition(
            lambda: self._withdrawn or (self._state is not None and happened())
        )

    async def _until_written(self) -> None:
        decided = self._decided
        await self._until(lambda: self._written >= decided)

    # --- the life

    @workflow.run
    async def run(self, start: CallStart) -> str:
        """Live until the call has ended and nothing is left to do."""
        begun = await self._durably("begin", PhoneOrder(start.call_id), Begun)
        if begun.state is None:
            self._withdrawn = True
            await workflow.wait_condition(workflow.all_handlers_finished)
            return "withdrawn"
        self._state = state = CallState.from_json(begun.state)
        if start.fresh:
            self._carry_out(_first_commands(state))
        else:
            self._take_up(state)
        writing = asyncio.create_task(self._keep_written(begun.revision))
        while not self._is_over():
            self._live()
            await workflow.wait_condition(
                lambda: self._has_news() or self._is_over() or writing.done()
            )
            if writing.done():
                writing.result()
        writing.cancel()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self._known.status.value

    @property
    def _known(self) -> CallState:
        assert self._state is not None, "the call has begun"
        return self._state

    def _take_up(self, state: CallState) -> None:
        """Continue a life that something else has run so far."""
        self._dial_answered = True
        self._carrier = state.instance or self._carrier
        if state.twilio_sid is None and state.dialled:
            self._inbox.append(DialUnclear(workflow.time()))
        self._carry_out((LookUp(state.twilio_sid),))

    def _has_news(self) -> bool:
        return bool(self._inbox or self._due() or (self._timer is None and self._known.deadlines))

    def _is_over(self) -> bool:
        return (
            self._known.status.is_terminal
            and not self._inbox
            and not self._tasks
            and self._written == self._decided
        )

    def _due(self) -> list[TimerFired]:
        now = workflow.time()
        return [TimerFired(now, t) for t, at in self._known.deadlines.items() if at <= now]

    def _live(self) -> None:
        self._inbox.extend(self._due())
        while self._inbox:
            self._take(self._inbox.popleft())
        self._set_timer()

    def _take(self, news: Told | Event) -> None:
        if isinstance(news, Told) and news.is_in(self._known):
            return
        event = news.event if isinstance(news, Told) else news
        if isinstance(event, StreamStarted):
            self._carrier = event.instance
        decision = decide_all(self._known, [event])
        state = decision.state
        self._state = news.noted(state) if isinstance(news, Told) else state
        self._unwritten.extend(decision.recorded)
        self._decided += 1
        if (
            self._known.twilio_sid
            or self._known.status.is_terminal
            or isinstance(event, DialUnclear)
        ):
            self._dial_answered = True
        self._show(decision.before)
        self._carry_out(decision.commands)

    # --- timers: one for the earliest deadline; one that moves back is found out when it fires

    def _set_timer(self) -> None:
        if not self._known.deadlines:
            return
        at = min(self._known.deadlines.values())
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.create_task(self._sleep_until(at))

    async def _sleep_until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - workflow.time()))
        self._timer = None

    # --- the record

    async def _keep_written(self, base: int) -> None:
        after = revision = base
        while True:
            await workflow.wait_condition(lambda: self._written < self._decided)
            decided, events = self._decided, self._unwritten
            self._unwritten = []
            length = workflow.info().get_current_history_length()
            revision = max(revision + 1, base + length * _WRITES_AT_ONCE)
            state = self._known.to_json()
            write = RecordWrite(self._start.call_id, state, events, revision, after)
            await self._durably("write_record", write, type(None))
            self._written, after = decided, revision

    async def _durably(self, activity: str, order: Any, answer: type[T]) -> T:
        """Run as a local activity, which costs next to nothing; when it fails, until it is done."""
        try:
            done: T = await workflow.execute_local_activity(
                activity,
                order,
                result_type=answer,
                start_to_close_timeout=timedelta(seconds=4),
                retry_policy=AT_FIRST,
            )
        except FailureError:
            # A local activity's own failure, which comes without an ActivityError around it.
            done = await workflow.execute_activity(
                activity,
                order,
                result_type=answer,
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=UNTIL_DONE,
            )
        return done

    def _show(self, before: CallState) -> None:
        """What the list of workflows shows: few changes, because each one is billed."""
        state = self._known
        if not self._start.searchable or state.status is before.status:
            return
        if state.status.is_terminal:
            workflow.upsert_search_attributes(
                [
                    STATUS.value_set(state.status.value),
                    OUTCOME.value_set(state.status.value),
                    END_REASON.value_set(state.end_reason.value if state.end_reason else ""),
                ]
            )
        elif state.status is CallStatus.IN_PROGRESS:
            workflow.upsert_search_attributes([STATUS.value_set(state.status.value)])

    # --- commands

    def _carry_out(self, commands: Sequence[Command]) -> None:
        phone = [c for c in commands if isinstance(c, PhoneCommand)]
        if phone:
            self._start_task(self._ask_phone(phone))
        for command in commands:
            if isinstance(command, MediaCommand):
                self._start_task(self._end_media(command))

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_phone(self, commands: Sequence[PhoneCommand]) -> None:
        for command in commands:
            match command:
                case Dial():
                    self._inbox.append(await self._dial())
                case HangUp(twilio_sid):
                    await self._ask("hang_up", twilio_sid)
                case LookUp(twilio_sid):
                    answer = await self._ask("look_up", twilio_sid)
                    if answer is not None:
                        self._inbox.append(_now(answer))

    async def _dial(self) -> Event:
        """Dial at most once: what a dead worker may have dialled is looked up."""
        try:
            answer = await workflow.execute_activity(
                "dial",
                PhoneOrder(self._start.call_id),
                result_type=dict[str, Any],
                schedule_to_start_timeout=DIAL_WAITS,
                start_to_close_timeout=REQUEST,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=ONCE,
            )
        except ActivityError as error:
            cause = error.cause
            if isinstance(cause, TimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
                return DialFailed(workflow.time(), NOT_TAKEN)
            return DialUnclear(workflow.time())
        return _now(answer)

    async def _ask(self, activity: str, twilio_sid: str | None) -> dict[str, Any] | None:
        """Hang up or look up; the rules ask again for what has failed."""
        try:
            answer: dict[str, Any] | None = await workflow.execute_activity(
                activity,
                PhoneOrder(self._start.call_id, twilio_sid),
                start_to_close_timeout=REQUEST,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=ONCE,
            )
        except ActivityError:
            return None
        return answer

    async def _end_media(self, command: MediaCommand) -> None:
        reason = command.reason.value if isinstance(command, EndMedia) else None
        async with self._media:
            for instance in dict.fromkeys((self._carrier, self._start.instance)):
                over = self._known.status.is_terminal and not self._told_over
                self._told_over |= over
                order = MediaOrder(self._start.call_id, reason, over)
                try:
                    await workflow.execute_activity(
                        "end_media",
                        order,
                        task_queue=media_queue(instance),
                        schedule_to_start_timeout=MEDIA_WAITS,
                        start_to_close_timeout=timedelta(seconds=20),
                        retry_policy=ONCE,
                    )
                except ActivityError:
                    # The instance is gone, and with it everything that it held of the call.
                    workflow.logger.info("An instance could not be told to end a call")


def _first_commands(state: CallState) -> tuple[Command, ...]:
    """What placing the call asked for; the record has the state that followed from it."""
    placed = Placed(
        state.placed_at or 0.0,
        inbound=state.direction is Direction.INBOUND,
        twilio_sid=state.twilio_sid,
        ring_timeout_secs=int(state.ring_timeout_secs),
        max_duration_secs=int(state.max_duration_secs),
    )
    return decide_all(new_call(state.direction, state.patience), [placed]).commands


def _now(answer: dict[str, Any]) -> Event:
    """An activity's answer as an event of now: the clocks of machines differ."""
    return event_from_json(answer | {"at": workflow.time()})
