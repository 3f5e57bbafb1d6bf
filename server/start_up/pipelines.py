"""Opens what pipelines of calls start with: the model, their starter, what is prepared."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NoReturn, Protocol

from google.genai import types

from agent.call_memory import CallMemory
from agent.loop_load import LoopLoad
from agent.measures import MeasureSink
from agent.ports import Record
from agent.profile import AgentProfile
from agent.record.call_log import CallLog
from agent.record.models import Call, CallStatus, Direction
from pipelines.call import catalogue
from pipelines.call.held_record import HeldRecord
from pipelines.call.inbound_pool import InboundPool, PooledCall
from pipelines.call.prewarming import Prewarming, StartCall
from pipelines.call.run_call import CallSetup, RunningCall, start_call
from pipelines.gemini.client import Connection, ConnectModel, GeminiClient
from pipelines.gemini.greeting_cache import GreetingCache
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.gemini.refusals import NoApiKey
from server.cassettes.store import Cassettes
from server.observability.metrics import Metrics
from server.recordings.store import Recordings
from server.settings.settings import Settings

if TYPE_CHECKING:
    pass


class NoModel:
    """`ConnectModel` without an API key: refuses every attempt."""

    model = "none"
    secrets = ()

    def connect(self, config: types.LiveConnectConfig) -> Connection:
        """Refuse."""
        return self._refuse()

    @contextlib.asynccontextmanager
    async def _refuse(self) -> AsyncIterator[NoReturn]:
        raise NoApiKey("GEMINI_API_KEY is not set")
        yield


def open_model(settings: Settings, load: LoopLoad, stack: AsyncExitStack) -> ConnectModel:
    """The client of Gemini Live; without an API key, one that refuses."""
    if settings.gemini_api_key is None:
        return NoModel()
    client = GeminiClient(settings.gemini_api_key.get_secret_value(), settings.gemini_model, load)
    stack.push_async_callback(client.aclose)
    return client


def open_sentences(
    settings: Settings, model: ConnectModel, stack: AsyncExitStack
) -> PreparedSentences | None:
    """The sentences for the time in which no answer comes; None: none are wanted."""
    if not settings.answer_filler or settings.gemini_api_key is None:
        return None
    sentences = PreparedSentences(model)
    stack.push_async_callback(sentences.aclose)
    return sentences


class BeginCall(Protocol):
    """Starts the pipeline of a call; `recalled`: another instance has begun it."""

    def __call__(
        self, call: Call, record: Record, recalled: CallMemory | None = None
    ) -> RunningCall:
        """The call that runs."""
        ...


def pipeline_starter(
    settings: Settings,
    recordings: Recordings,
    cassettes: Cassettes,
    model: ConnectModel,
    sentences: PreparedSentences | None,
    observe: MeasureSink,
) -> BeginCall:
    """What starts the pipelines of this server's calls."""
    greetings = GreetingCache() if settings.greeting_cache else None

    def begin(call: Call, record: Record, recalled: CallMemory | None = None) -> RunningCall:
        definition = catalogue.find(call.pipeline)
        setup = CallSetup(
            call_id=call.id,
            phone_number=call.phone_number,
            profile=AgentProfile.model_validate(call.profile),
            definition=definition,
            metadata=call.extra,
            recalled=recalled,
            # The number may be one that somebody talked the model into.
            may_transfer=settings.allows_transfer,
            greetings=greetings,
            sentences=sentences,
            recording=recordings.begin(call, record),
            tape=cassettes.begin(call, definition, record),
        )
        return start_call(setup, connect=model, record=record, measure=observe)

    return begin


def open_pool(
    settings: Settings,
    begin: BeginCall,
    prewarming: Prewarming | None,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> InboundPool | None:
    """Calls that wait, started, for whoever calls next; None: there is no pool."""
    if not settings.inbound_pool or prewarming is None:
        return None

    def start(number: str) -> PooledCall:
        call, record = new_inbound_call(settings, number), HeldRecord()
        assert call is not None, "the pool is for numbers that have a route"
        return PooledCall(call, begin(call, record), record)

    numbers = [number for number in settings.inbound_numbers if number != "*"]
    pool = InboundPool(start, numbers, size=settings.inbound_pool, measure=metrics.observe)
    pool.fill()
    stack.push_async_callback(pool.close)
    return pool


def new_inbound_call(settings: Settings, ours: str) -> Call | None:
    """A call to one of our numbers, before it is known who calls; None: nobody answers there."""
    route = settings.inbound_route(ours)
    if route is None:
        return None
    definition = catalogue.find(route.pipeline)
    profile = route.over(definition.profile, default_voice=settings.gemini_voice)
    return Call(
        direction=Direction.INBOUND,
        status=CallStatus.RINGING,
        phone_number="unknown",
        our_number=ours,
        pipeline=definition.name,
        profile=profile.model_dump(mode="json"),
    )


def make_prewarming(
    settings: Settings, start: StartCall, call_log: CallLog, metrics: Metrics
) -> Prewarming | None:
    """Starts pipelines while the phone rings; None: they start at the answer."""
    if not settings.prewarm_limit or not settings.gemini_api_key:
        return None
    prewarming = Prewarming(
        start, call_log.get, limit=settings.prewarm_limit, measure=metrics.observe
    )
    metrics.warm_sessions.set_function(lambda: prewarming.open)
    return prewarming
