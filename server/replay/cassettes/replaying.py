"""Plays a whole cassette: the recorded vendors at their times, and our side as it is now.

Both wires are the cassette's: the pipeline gets Twilio's messages and Gemini's as they came, and
what it sends is put on a new tape. In virtual time, the same cassette gives the same tape.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from agent.ports import MemoryRecord
from agent.profile import AgentProfile
from pipelines.call import catalogue
from pipelines.call.run_call import CallSetup, RunningCall, start_call
from pipelines.definition import PipelineDefinition
from pipelines.gemini.client import GeminiClient
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.phone.twilio_serializer import StreamError
from pipelines.recording.tape import Kind, Tape
from server.cassettes.blocks import CassetteError
from server.cassettes.cassette import Cassette
from server.cassettes.columns import Message, decode, encode
from server.replay.cassettes.recorded_model import recorded_model
from server.replay.cassettes.step_trace import StepTrace, traced

# A conversation that ended by itself may end so much later than it did.
ENDS_WITHIN_SECS = 5.0
_PHONE = (Kind.PHONE_BOUND, Kind.PHONE_IN, Kind.PHONE_LOST, Kind.ENDING)
# The tape of a replay is read once, at its end.
_UNBOUNDED = 1 << 62
_MOMENT_SECS = 1e-6


@dataclass(frozen=True, slots=True)
class Replayed:
    """What our side did: all messages in the form of the cassette's, and what each step did."""

    messages: tuple[Message, ...]
    trace: StepTrace = field(compare=False)


async def replay_cassette(
    cassette: Cassette, definition: PipelineDefinition | None = None
) -> Replayed:
    """Play a cassette on the running loop, with its pipeline or another.

    Raises: CassetteError when its pipeline or profile is none that this version has.
    """
    cassette = _one_by_one(cassette)
    head = cassette.head
    if definition is None:
        definition = _definition(cassette)
    loop = asyncio.get_running_loop()
    began = loop.time()
    trace = StepTrace()
    tape = Tape(loop.time, most_waiting=_UNBOUNDED)
    async with recorded_model(cassette, began) as environment:
        with _environment(environment):
            client = GeminiClient("recorded", head.model or "models/recorded")
            try:
                setup = CallSetup(
                    call_id=head.call_id,
                    phone_number=head.phone_number,
                    profile=_profile(cassette),
                    definition=traced(definition, trace, lambda: loop.time() - began),
                    metadata=head.metadata,
                    greetings=_greetings(cassette),
                    tape=tape,
                )
                running = start_call(
                    setup,
                    connect=client,
                    record=MemoryRecord(),
                    measure=lambda _: None,
                    stopwatch=loop.time,
                )
                await _play(cassette, running, began)
            finally:
                await client.aclose()
    return Replayed(tuple(decode(encode(tape.take(), began))), trace)


def _one_by_one(cassette: Cassette) -> Cassette:
    """The cassette, with each message a moment behind the one before it.

    A loop in virtual time jumps that moment only when all that the message brought about is done,
    so that the order on both wires is the recorded one.
    """
    messages, last = [], -1.0
    for message in cassette.messages:
        last = max(message.at, last + _MOMENT_SECS)
        messages.append(replace(message, at=last))
    return replace(cassette, messages=tuple(messages))


class _Stream:
    """A `MediaStream` that nobody listens to: what is sent is on the tape."""

    def __init__(self, stream_sid: str) -> None:
        self.stream_sid = stream_sid

    async def send(self, *texts: str) -> None:
        """Drop it."""

    async def close(self) -> None:
        """Nothing to close."""


async def _play(cassette: Cassette, running: RunningCall, began: float) -> None:
    """Bring about all that Twilio did, then end the call as it ended."""
    loop = asyncio.get_running_loop()
    stream: _Stream | None = None
    over = asyncio.create_task(_end_when_over(running))
    try:
        for message in cassette.of(*_PHONE):
            await asyncio.sleep(max(0.0, began + message.at - loop.time()))
            if message.kind is Kind.PHONE_BOUND:
                stream = _Stream(message.content)
                await running.line.bind(stream)
            elif message.kind is Kind.PHONE_IN:
                with suppress(StreamError):
                    await running.line.receive(message.content)
            elif message.kind is Kind.PHONE_LOST and stream is not None:
                running.line.unbind(stream)
            elif message.kind is Kind.ENDING:
                if message.content:
                    await asyncio.wait({over}, timeout=ENDS_WITHIN_SECS)
                break
        await running.end()
        await over
    finally:
        over.cancel()
        await running.end()


async def _end_when_over(running: RunningCall) -> None:
    """End the pipeline once the conversation is over, as the server does."""
    await running.ended()
    await running.end()


def _definition(cassette: Cassette) -> PipelineDefinition:
    name = cassette.head.pipeline
    try:
        return catalogue.find(name)
    except catalogue.UnknownPipeline:
        known = ", ".join(sorted(catalogue.names()))
        raise CassetteError(
            f"{cassette.path}: expected one of the pipelines {known}, got a call of {name!r}"
        ) from None


def _profile(cassette: Cassette) -> AgentProfile:
    known: Mapping[str, Any] = {
        name: value
        for name, value in cassette.head.profile.items()
        if name in AgentProfile.model_fields
    }
    try:
        return AgentProfile.model_validate(known)
    except ValueError as error:
        raise CassetteError(
            f"{cassette.path}: expected a profile of this version: {error}"
        ) from None


class _RecordedGreeting(GreetingCache):
    """Gives the greeting that the call had from another call."""

    def __init__(self, pcm: bytes) -> None:
        super().__init__()
        self._pcm = pcm

    def find(self, key: GreetingKey) -> bytes:
        """The recorded sound, whatever the key: the words may have been edited since."""
        return self._pcm


def _greetings(cassette: Cassette) -> GreetingCache | None:
    shared = next(cassette.of(Kind.GREETING), None)
    if shared is not None:
        return _RecordedGreeting(shared.content)
    return GreetingCache() if cassette.head.settings.get("greeting_cache", True) else None


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
