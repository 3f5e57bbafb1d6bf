"""A stream that comes to another instance than its call's is passed on to that one."""

import base64
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from agent.clock import loop_clock
from agent.live_calls import InstanceReport
from agent.live_calls_in_redis import LiveCallsInRedis
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import (
    Answer,
    Handset,
    HangUp,
    NoAnswer,
    Person,
    TwilioEmulator,
    WaitForAgent,
)
from server.http.serving import held_port, listen
from server.relay import relay
from server.relay.call_moves import NONE_READY
from server.relay.relay import HINT, MEDIA, STREAM_SID_HEADER, digest
from server.relay.relay_signatures import HEADER, RelaySignatures
from server.routes.change_call import ELSEWHERE
from tests.e2e.conftest import AT_NINE, GOODBYE, GREETING, OPENING, THANKS, turns
from tests.e2e.test_killed_instances import CUT_OFF, GO_ON, SCRIPT
from tests.server.conftest import Running, ServerFactory, redis_url
from tests.server.own_process import own_process
from tests.server.process_template import ProcessTemplate
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    say,
    socket,
    start_of,
    token_for,
)

__all__ = ["redis_url"]
pytestmark = pytest.mark.real_time

SECRET = "shared by all instances"
RELAYED = 'voice_ai_relays_total{outcome="relayed"}'
OPEN = "voice_ai_relayed_streams"
PREPARED = "voice_ai_warm_sessions"


@dataclass
class Two:
    """`home` dials and prepares; every stream and webhook of Twilio's comes to `other`."""

    home: Running
    other: Running
    redis_url: str

    @property
    def home_name(self) -> str:
        """What other instances call `home`: its address is one of every machine."""
        return f"{gethostname()}:{self.home.http.base_url.port}"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no owner that does not take a stream in time."""
    monkeypatch.setattr(relay, "ACCEPTED_WITHIN_SECS", 10.0)


@pytest.fixture
async def two(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, redis_url: str
) -> AsyncIterator[Two]:
    shared: dict[str, Any] = {"redis_url": redis_url, "stream_token_secret": SECRET}
    async with (
        start_server(**shared, in_fleet=True) as other,
        start_server(**shared, in_fleet=True, base_url=other.url) as home,
    ):
        yield Two(home, other, redis_url)


async def test_the_first_word_comes_from_the_session_that_was_prepared_elsewhere(
    two: Two, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.anyone = Answer(Person([WaitForAgent(), HangUp()]), ring_secs=1.0)
    await two.home.place(greeting=GREETING)
    call = await twilio.call_placed()
    await call.happened("media.first_in")
    assert await two.other.metric(RELAYED) == await two.other.metric(OPEN) == 1
    assert (await two.home.metric(PIPELINES), await two.other.metric(PIPELINES)) == (1, 0)
    await call.settled()
    assert gemini.connects == len(gemini.sessions) == 1
    (known,) = (await two.other.http.get("/calls")).json()["calls"]
    answer = await two.other.http.get(f"/calls/{known['id']}/result", params={"wait": 10})
    # How much was heard before the caller hung up depends on the time.
    ((who, text, _),) = turns(answer.json())
    assert (who, GREETING.startswith(text)) == ("agent", True)
    await two.other.until_metric(OPEN, 0)


async def test_the_sound_that_is_passed_on_is_what_a_stream_without_a_relay_gets(
    two: Two, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    sounds = []
    for reached in (two.home, two.other):
        call = await two.home.place(greeting=GREETING)
        async with stream_to(reached, two.other, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, await token_for(two.other, call)))
            sounds.append(await first_sound(stream))
        await two.home.http.post(f"/calls/{call['id']}/terminate")
        await two.home.until_metric(PIPELINES, 0)
    direct, relayed = sounds
    assert relayed == direct
    assert await two.other.metric(RELAYED) == 1


@contextlib.asynccontextmanager
async def stream_to(
    server: Running, addressed: Running, call_id: str
) -> AsyncIterator[ClientConnection]:
    """A stream that Twilio was told to open to `addressed`, and that comes to `server`."""
    path = f"/twilio/media/{call_id}"
    headers = {"X-Twilio-Signature": addressed.sign(f"ws{addressed.url[4:]}{path}")}
    url = f"ws{server.url[4:]}{path}"
    async with connect(url, additional_headers=headers, proxy=None) as stream:
        yield stream


async def first_sound(stream: ClientConnection) -> bytes:
    """The first second that the agent is heard; how it is cut into messages depends on the time."""
    sound = b""
    while len(sound) < 8000:
        message = json.loads(await stream.recv())
        if message["event"] == "media":
            sound += base64.b64decode(message["media"]["payload"])
    return sound[:8000]


async def test_a_stream_that_comes_again_keeps_the_session(
    two: Two, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    call = await two.home.place(greeting=GREETING)
    for number in range(2):
        async with socket(two.other, call["id"]) as stream:
            token = await token_for(two.other, call)
            await say(stream, CONNECTED, start_of(call, token, f"MZ{number}"))
            if not number:
                await first_sound(stream)
            await two.home.until_metric(PIPELINES, 1)
            await two.other.until_metric(OPEN, 1)
        await two.other.until_metric(OPEN, 0)
    assert await two.other.metric(RELAYED) == 2
    assert gemini.connects == 1


@pytest.mark.long
async def test_hints_and_changes_reach_the_instance_that_carries_the_call(
    two: Two, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    call = await two.home.place(greeting=GREETING)
    path = f"/calls/{call['id']}"
    hint = {"text": "Offer a discount."}
    assert (await two.other.http.post(f"{path}/hint", json=hint)).status_code == 409
    async with socket(two.other, call["id"]) as stream:
        await say(stream, CONNECTED, start_of(call, await token_for(two.other, call)))
        await two.home.until_metric(PIPELINES, 1)
        # Its claim is on its way to Redis.
        while (await two.other.http.post(f"{path}/hint", json=hint)).status_code == 409:
            pass
        wrong = await two.other.http.patch(path, json={"tools": ["nowhere"]})
        assert (wrong.status_code, "nowhere" in wrong.json()["detail"]) == (422, True)
        changed = await two.other.http.patch(path, json={"system_prompt": "Be brief."})
        assert changed.status_code == 204
        second = await gemini.session(1)
    assert second.setup["systemInstruction"]["parts"] == [{"text": "Be brief."}]


# What is wrong with each handshake: its signature's owner, call, stream, age, or key.
FORGED = {
    "none": {},
    "of another owner": {"owner": "another"},
    "of another call": {"call_id": "c2"},
    "of another stream": {"stream_sid": "MZ2"},
    "too old": {"age_secs": 60.0},
    "of another secret": {"secret": "guessed"},
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_handshake_that_no_instance_has_signed_is_refused(two: Two, how: str) -> None:
    wrong = FORGED[how]
    clock = loop_clock()
    signatures = RelaySignatures(
        str(wrong.get("secret", SECRET)), "other", lambda: clock() - wrong.get("age_secs", 0.0)
    )
    signed = signatures.sign(
        wrong.get("owner", two.home_name),
        MEDIA,
        wrong.get("call_id", "c1"),
        wrong.get("stream_sid", "MZ1"),
    )
    assert await asked(two.home, signed if wrong else "") == 403


async def test_a_handshake_is_good_once_and_for_calls_that_are_there(two: Two) -> None:
    signed = RelaySignatures(SECRET, "other", loop_clock()).sign(two.home_name, MEDIA, "c1", "MZ1")
    assert await asked(two.home, signed) == 409
    assert await asked(two.home, signed) == 403


async def test_twilios_signature_opens_no_route_between_instances(two: Two) -> None:
    url = f"ws{two.home.url[4:]}/internal/media/c1"
    signature = two.home.signer.compute_signature(url, {})
    assert await asked(two.home, "", {"X-Twilio-Signature": signature}) == 403
    for what in ("change", "hint", "move", "take"):
        for body in (b'{"text": "Hello"}', b"{"):
            # What nobody has signed is not even parsed.
            json_type = {"content-type": "application/json"}
            answer = await two.home.http.post(
                f"/internal/{what}/c1", content=body, headers=json_type
            )
            assert answer.status_code == 403


async def test_a_signed_body_that_makes_no_sense_is_refused(two: Two) -> None:
    signatures = RelaySignatures(SECRET, "other", loop_clock())
    for body in (b"{", b'{"unknown": 1}'):
        signed = signatures.sign(two.home_name, HINT, "c1", digest(body))
        answer = await two.home.http.post(
            "/internal/hint/c1", content=body, headers={HEADER: signed}
        )
        assert answer.status_code == 422


async def test_without_redis_there_is_no_route_between_instances(
    start_server: ServerFactory,
) -> None:
    async with start_server(in_fleet=True) as alone:
        assert await asked(alone, "") == 404
        answer = await alone.http.post("/internal/hint/c1", json={"text": "Hello"})
        assert answer.status_code == 404


async def asked(server: Running, signed: str, more: dict[str, str] | None = None) -> int:
    """The status that an upgrade of another instance is refused with."""
    headers = {HEADER: signed, STREAM_SID_HEADER: "MZ1"} | (more or {})
    url = f"ws{server.url[4:]}/internal/media/c1"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, additional_headers=headers, proxy=None):
            pass
    return refused.value.response.status_code


@pytest.mark.parametrize("outcome", ["refused", "late", "failed"])
async def test_a_call_goes_on_by_itself_when_its_owner_does_not_take_it(
    two: Two, twilio: TwilioEmulator, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if outcome == "late":
        monkeypatch.setattr(relay, "ACCEPTED_WITHIN_SECS", 0.25)
    twilio.anyone = NoAnswer()
    call = await two.other.place(greeting=GREETING)
    async with contextlib.AsyncExitStack() as stack, Redis.from_url(two.redis_url) as redis:
        url = two.home.url
        if outcome != "refused":
            # Accepts connections, and answers none; or nobody listens.
            silent = stack.enter_context(listen("127.0.0.1", 0))
            if outcome == "late":
                silent.listen()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        live_calls = LiveCallsInRedis(redis)
        await live_calls.report("gone", InstanceReport(1, 1, url=url), [])
        await live_calls.admit(call["id"], None, "gone")
        async with socket(two.other, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, await token_for(two.other, call)))
            await first_sound(stream)
    assert await two.other.metric(f'voice_ai_relays_total{{outcome="{outcome}"}}') == 1
    assert await two.home.metric(PIPELINES) == 0


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        # It answers no ping.
        pytest.param(signal.SIGSTOP, id="frozen", marks=pytest.mark.long),
    ],
)
async def test_a_call_goes_on_elsewhere_when_its_owner_dies(
    how: signal.Signals,
    gemini: GeminiLiveEmulator,
    twilio: TwilioEmulator,
    redis_url: str,
    tmp_path: Path,
    process_template: ProcessTemplate,
    start_server: ServerFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Longer than it takes a machine that is busy, and less than a frozen instance is waited for.
    monkeypatch.setattr(relay, "ACCEPTED_WITHIN_SECS", 1.5)
    gemini.script = SCRIPT
    shared: dict[str, Any] = {"redis_url": redis_url, "stream_token_secret": SECRET}
    environment = {
        **gemini.environment(),
        **twilio.environment(),
        "GEMINI_API_KEY": "no-key",
        "REDIS_URL": redis_url,
        "STREAM_TOKEN_SECRET": SECRET,
        "ANSWER_FILLER": "false",
        "DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'calls.db'}",
    }
    async with (
        start_server(**shared, in_fleet=True) as other,
        own_process(process_template, environment, tmp_path, base_url=other.url, in_fleet=True) as (
            home,
            process,
        ),
    ):

        async def person(phone: Handset) -> None:
            await phone.listen_until_silence()
            await phone.say(OPENING)
            await phone.hears_speech()
            assert await home.metric(PIPELINES) == 1
            process.send_signal(how)
            (this,) = twilio.calls
            # What is heard from here on, the other instance says.
            await twilio.until(lambda: len(this.record.all("media.first_in")) == 2)
            await phone.hears_speech()
            await phone.listen_until_silence()
            await phone.say(THANKS)
            await phone.until_hung_up()

        twilio.anyone = person
        await home.place(greeting=GREETING)
        call = await twilio.call_placed()
        await call.settled()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        (known,) = (await other.http.get("/calls")).json()["calls"]
        answer = await other.http.get(f"/calls/{known['id']}/result", params={"wait": 10})
        assert answer.json()["end_reason"] == "agent"
        assert len(call.record.all("stream.started")) == 2
        said = [text for who, text, _ in turns(answer.json()) if who == "agent"]
        # It goes on with the answer, gives it again, or asks what was said: as much as was known.
        assert said[-2] in (AT_NINE, GO_ON, CUT_OFF)
        assert (said[-1], said.count(GREETING)) == (GOODBYE, 1)
        assert turns(answer.json())[-2] == ("caller", THANKS, False)
        assert await other.metric(RELAYED) == 1


async def test_while_redis_is_away_a_call_that_may_be_elsewhere_is_not_changed(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    with held_port() as nobody_listens:
        url = f"redis://127.0.0.1:{nobody_listens}"
        async with start_server(redis_url=url, stream_token_secret=SECRET, in_fleet=True) as server:
            call = await server.place(greeting=GREETING)
            path = f"/calls/{call['id']}"
            for answer in (
                await server.http.patch(path, json={"system_prompt": "Be brief."}),
                await server.http.post(f"{path}/hint", json={"text": "Be brief."}),
                await server.http.post(f"{path}/move"),
            ):
                assert (answer.status_code, answer.json()["detail"]) == (409, ELSEWHERE)
            async with socket(server, call["id"]) as stream:
                await say(stream, CONNECTED, start_of(call, await token_for(server, call)))
                await first_sound(stream)
                hint = await server.http.post(f"{path}/hint", json={"text": "Be brief."})
                assert hint.status_code == 204
                move = await server.http.post(f"{path}/move")
                assert (move.status_code, move.json()["detail"]) == (409, NONE_READY)
