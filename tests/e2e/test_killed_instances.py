"""An instance is killed in the middle of a call: another one goes on, and knows what was said."""

import contextlib
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from agent.live_calls_in_redis import LiveCallsInRedis
from server.demo.load_balancer import LoadBalancer
from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.twilio import Handset, TwilioEmulator
from tests.e2e.conftest import AT_NINE, GOODBYE, GREETING, OPENING, THANKS, heard, turns
from tests.server.conftest import Running, redis_url
from tests.server.own_process import own_process
from tests.server.process_template import ForkedProcess, ProcessTemplate

__all__ = ["redis_url"]
pytestmark = pytest.mark.real_time

# Long enough that no machine is too slow to break it off.
AT_LENGTH = "We open at nine in the morning from Monday to Friday, and at ten o'clock on Saturdays."
GO_ON = "I was saying, at nine."
CUT_OFF = "We were cut off. Please go on."


def script(answer: str) -> Script:
    return Script.parse(
        {
            "rules": [
                {"hears": OPENING, "say": answer},
                {"hears": THANKS, "do": [{"say": GOODBYE}, {"call": {"name": "hang_up"}}]},
                # The memory of the call may be older than the answer.
                {"text_matches": "broke before you could answer", "say": answer},
                {"text_matches": "broke while you were", "say": GO_ON},
                {"text_matches": "line was interrupted", "say": CUT_OFF},
            ]
        }
    )


SCRIPT = script(AT_NINE)


@dataclass
class Fleet:
    """Two instances behind a load balancer."""

    twilio: TwilioEmulator
    gemini: GeminiLiveEmulator
    balancer: LoadBalancer
    instances: list[tuple[Running, ForkedProcess]]
    killed: int | None = None

    async def carrier(self) -> int:
        """The number of the instance that carries the one call."""
        line = "voice_ai_running_pipelines"
        counts = [await server.metric(line) for server, _ in self.instances]
        return counts.index(1)

    async def strike(self, how: signal.Signals) -> None:
        """Send the signal to the instance that carries the call."""
        self.killed = await self.carrier()
        self.balancer.instances = [
            server.url.removeprefix("http://") for server, _ in self.instances
        ]
        self.instances[self.killed][1].send_signal(how)

    @property
    def left(self) -> Running:
        """The instance that was left alone."""
        assert self.killed is not None
        return self.instances[1 - self.killed][0]


@pytest.fixture
async def fleet(
    twilio: TwilioEmulator,
    gemini: GeminiLiveEmulator,
    redis_url: str,
    tmp_path: Path,
    process_template: ProcessTemplate,
) -> AsyncIterator[Fleet]:
    gemini.script = SCRIPT
    environment = {
        **gemini.environment(),
        **twilio.environment(),
        "GEMINI_API_KEY": "no-key",
        "REDIS_URL": redis_url,
        "STREAM_TOKEN_SECRET": "shared by all instances",
        "ANSWER_FILLER": "false",
    }
    async with LoadBalancer() as balancer, contextlib.AsyncExitStack() as stack:
        instances = [
            await stack.enter_async_context(
                own_process(process_template, environment, tmp_path, base_url=balancer.url)
            )
            for _ in range(2)
        ]
        # Calls are dialled, and prepared, by the first one, and come to the second one.
        balancer.instances = [server.url.removeprefix("http://") for server, _ in instances][1:]
        yield Fleet(twilio, gemini, balancer, instances)


async def result_of(fleet: Fleet) -> dict[str, Any]:
    call = fleet.twilio.calls[0]
    await call.settled()
    (known,) = (await fleet.left.http.get("/calls")).json()["calls"]
    answer = await fleet.left.http.get(f"/calls/{known['id']}/result", params={"wait": 10})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize(
    ("how", "knows_handle"),
    [
        pytest.param(signal.SIGKILL, True, id="killed"),
        pytest.param(
            signal.SIGKILL, False, id="killed, and its handle refused", marks=pytest.mark.long
        ),
    ],
)
async def test_another_instance_goes_on_in_the_middle_of_a_sentence(
    fleet: Fleet, how: signal.Signals, knows_handle: bool
) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await phone.say(OPENING)
        await phone.hears_speech()
        await phone.pause(1.2)
        if not knows_handle:
            fleet.gemini.behaviour.takes_handles = False
        await fleet.strike(how)
        # What is heard from here on, the other instance says.
        (this,) = fleet.twilio.calls
        await fleet.twilio.until(lambda: len(this.record.all("media.first_in")) == 2)
        await phone.hears_speech()
        await phone.listen_until_silence()
        await phone.say(THANKS)
        await phone.until_hung_up()

    fleet.gemini.script = script(AT_LENGTH)
    fleet.twilio.anyone = person
    await fleet.instances[0][0].place(greeting=GREETING)
    call = await fleet.twilio.call_placed()
    result = await result_of(fleet)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert len(call.record.all("stream.started")) == 2
    # Of what was heard, nothing is said again.
    assert heard(call, GREETING, AT_LENGTH, GO_ON, GOODBYE).count(GREETING) == 1
    told = turns(result)
    assert told[:2] == [("agent", GREETING, False), ("caller", OPENING, False)]
    who, text, cut = told[2]
    assert (who, cut) == ("agent", True), told
    assert text
    assert AT_LENGTH.startswith(text)
    assert [text for _, text, _ in told[3:]] == [GO_ON, THANKS, GOODBYE]
    # The second session's memory: its handle, or what it was told.
    second = fleet.gemini.sessions[-1]
    assert (second.resumes is not None) == knows_handle


@pytest.mark.long
async def test_a_call_of_an_instance_that_stops_moves_at_the_end_of_the_sentence(
    fleet: Fleet,
) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await phone.say(OPENING)
        await phone.hears_speech()
        await fleet.strike(signal.SIGTERM)
        await phone.listen_until_silence()
        (this,) = fleet.twilio.calls
        await fleet.twilio.until(lambda: len(this.record.all("stream.started")) == 2)
        await phone.say(THANKS)
        await phone.until_hung_up()

    fleet.twilio.anyone = person
    await fleet.instances[0][0].place(greeting=GREETING)
    call = await fleet.twilio.call_placed()
    result = await result_of(fleet)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert heard(call, GREETING, AT_NINE, CUT_OFF, GOODBYE) == [GREETING, AT_NINE, GOODBYE]
    assert [text for _, text, _ in turns(result)] == [GREETING, OPENING, AT_NINE, THANKS, GOODBYE]
    assert not any(cut for _, _, cut in turns(result))


# A packet of 20 ms, in base64.
PACKET_BYTES = 214


@pytest.mark.long
@pytest.mark.parametrize("speaks", [False, True])
async def test_a_call_is_taken_from_a_frozen_instance(fleet: Fleet, speaks: bool) -> None:
    """Twilio's socket leads to it, and stays open: another instance has Twilio ask again."""
    sent_awake: list[int] = []

    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        if speaks:
            await phone.say(OPENING)
            await phone.hears_speech()
            # The memory of a call is a second old at most.
            await phone.pause(1.4)
        await fleet.strike(signal.SIGSTOP)
        assert fleet.killed is not None
        frozen, process = fleet.instances[fleet.killed]
        (this,) = fleet.twilio.calls
        await fleet.twilio.until(lambda: len(this.record.all("stream.started")) == 2)
        await phone.hears_speech()
        await phone.listen_until_silence()
        address = frozen.url.removeprefix("http://")
        before = fleet.balancer.came_from[address]
        # From here on, the other one alone is asked.
        fleet.balancer.instances = [fleet.left.url.removeprefix("http://")]
        process.send_signal(signal.SIGCONT)
        await frozen.until_metric("voice_ai_running_pipelines", 0)
        await phone.say(OPENING)
        await phone.hears_speech()
        await phone.listen_until_silence()
        sent_awake.append(fleet.balancer.came_from[address] - before)
        await phone.say(THANKS)
        await phone.until_hung_up()

    fleet.twilio.anyone = person
    await fleet.instances[0][0].place(greeting=GREETING)
    call = await fleet.twilio.call_placed()
    result = await result_of(fleet)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert len(call.record.all("stream.started")) == 2
    assert len(call.record.all("redirected")) == 1
    assert sent_awake[0] < PACKET_BYTES
    said = [text for who, text, _ in turns(result) if who == "agent"]
    goes_on = said.pop(2 if speaks else 1)
    assert goes_on in (CUT_OFF, GO_ON)
    assert said == [GREETING, *([AT_NINE] if speaks else []), AT_NINE, GOODBYE]


async def test_a_frozen_instance_that_has_lost_its_call_lets_go_of_it(
    fleet: Fleet, redis_url: str
) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        frozen = fleet.instances[await fleet.carrier()][1]
        frozen.send_signal(signal.SIGSTOP)
        async with Redis.from_url(redis_url) as redis:
            # As an instance does that the call comes to.
            live_calls = LiveCallsInRedis(redis)
            (call_id,) = await live_calls.all()
            await live_calls.claim(call_id, "another")
        fleet.killed = [process for _, process in fleet.instances].index(frozen)
        fleet.balancer.instances = [fleet.left.url.removeprefix("http://")]
        frozen.send_signal(signal.SIGCONT)
        await phone.hears_speech()
        await phone.listen_until_silence()
        await phone.say(THANKS)
        await phone.until_hung_up()

    fleet.twilio.anyone = person
    await fleet.instances[0][0].place(greeting=GREETING)
    call = await fleet.twilio.call_placed()
    result = await result_of(fleet)
    assert (result["status"], result["end_reason"]) == ("completed", "agent")
    assert len(call.record.all("stream.started")) == 2
    assert [text for _, text, _ in turns(result)] == [GREETING, CUT_OFF, THANKS, GOODBYE]
