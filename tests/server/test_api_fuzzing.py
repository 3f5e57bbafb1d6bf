"""schemathesis plays the API's own description against the running server, on PostgreSQL.

It sends what the description allows and what it forbids, by real HTTP. Whatever comes, the answer
is a documented one of the documented shape, and an error says what is wrong in `detail`.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, CheckContext
from schemathesis.config import SchemathesisConfig
from twilio.request_validator import RequestValidator

from server.app import create_app
from server.emulators.twilio import Busy, TwilioEmulator
from server.http.serving import listen, serving
from server.settings.settings import Settings
from tests.postgres import Postgres
from tests.server.conftest import OUR_NUMBER, THEIRS

# What the app says of itself, whatever the environment is.
DESCRIBED = schemathesis.openapi.from_dict(
    create_app(Settings.model_construct()).openapi(),
    config=SchemathesisConfig.from_dict(
        {
            "generation": {
                "deterministic": True,
                "database": "none",
                "with-security-parameters": False,
            }
        }
    ),
)
# A prompt of control characters is longer than a body may be.
DESCRIBED.config.checks.negative_data_rejection.expected_statuses.append("413")
HELD_TO = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "use_after_free",
)
KEY = "let-me-in"
WITH_KEY = {"Authorization": f"Bearer {KEY}"}
# Busy and out of order are answers; anything else beyond 499 is a defect.
DOCUMENTED_FAILURES = (502, 503)


@dataclass(frozen=True)
class Served:
    """Where the server is, and what Twilio signs with."""

    url: str
    auth_token: str


async def _serve(database_url: str, up: Future[Served], down: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        twilio = await stack.enter_async_context(TwilioEmulator(numbers=[OUR_NUMBER]))
        twilio.anyone = Busy()
        bound = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        values: dict[str, Any] = {
            "base_url": url,
            "database_url": database_url,
            "twilio_account_sid": twilio.account_sid,
            "twilio_auth_token": twilio.auth_token,
            "twilio_phone_number": OUR_NUMBER,
            "twilio_api_base_url": twilio.url,
            "gemini_api_key": "no-key",
            "daily_call_limit": 100_000,
            "api_keys": (KEY,),
        }
        await stack.enter_async_context(serving(create_app(Settings(**values)), bound))
        up.set_result(Served(url, twilio.auth_token))
        await down.wait()


@pytest.fixture(scope="module")
def served(postgres: Postgres) -> Iterator[Served]:
    """A server of its own loop in a thread: schemathesis waits for its answers."""
    up: Future[Served] = Future()
    stop: Future[Callable[[], None]] = Future()

    async def run() -> None:
        down, loop = asyncio.Event(), asyncio.get_running_loop()
        stop.set_result(lambda: loop.call_soon_threadsafe(down.set) and None)
        try:
            async with postgres.database(migrated=True) as database_url:
                await _serve(database_url, up, down)
        except BaseException as error:
            if not up.done():
                up.set_exception(error)
            raise

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="server")
    thread.start()
    try:
        yield up.result()
    finally:
        stop.result()()
        thread.join()


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    """A client of the API with a key."""
    with httpx.Client(base_url=served.url, headers=WITH_KEY, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def there(http: httpx.Client) -> list[str]:
    """The ids of some calls that are really there; the first one is never erased."""
    ids = []
    for _ in range(8):
        call = http.post("/calls", json={"phone_number": THEIRS}).json()
        http.get(f"/calls/{call['id']}/result", params={"wait": 20})
        ids.append(call["id"])
    return ids


@DESCRIBED.parametrize()
@settings(suppress_health_check=list(HealthCheck))
def test_every_answer_is_a_documented_one(
    case: schemathesis.Case, served: Served, there: list[str]
) -> None:
    made_up = case.path_parameters.get("call_id")
    if made_up is not None and (dice := crc32(repr(made_up).encode())) % 2:
        case.path_parameters["call_id"] = there[1 + dice % (len(there) - 1)]
    checks = [*CHECKS.get_by_names(list(HELD_TO)), answers_or_says_why]
    case.validate_response(case.call(base_url=served.url, headers=WITH_KEY), checks=checks)


def answers_or_says_why(
    _: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    status = response.status_code
    assert status < 500 or status in DOCUMENTED_FAILURES, f"{status}: {response.content!r}"
    if status >= 400 and case.path != "/health/ready":
        answer = json.loads(response.content)
        assert set(answer) == {"detail"}
        assert answer["detail"]
    return None


FIELDS = ("CallSid", "CallStatus", "From", "To", "StreamEvent", "StreamSid", "StreamError", "x")
WEBHOOKS = ("twiml/{id}", "status/{id}", "stream-status/{id}", "status", "inbound")
words = st.text(max_size=40) | st.text(alphabet="\x00a\ud7ff\U0010ffff", max_size=200)


@settings(suppress_health_check=list(HealthCheck))
@given(
    form=st.dictionaries(st.sampled_from(FIELDS), words),
    sid=st.sampled_from(["CA" + "1" * 32, "its own"]) | words,
    hook=st.sampled_from(WEBHOOKS),
)
def test_whatever_twilio_signs_is_answered(
    form: dict[str, str],
    sid: str,
    hook: str,
    served: Served,
    http: httpx.Client,
    there: list[str],
) -> None:
    call = http.get(f"/calls/{there[0]}").json()
    form = {"CallSid": call["twilio_sid"] if sid == "its own" else sid} | form
    path = f"/twilio/{hook.format(id=call['id'])}"
    signature = RequestValidator(served.auth_token).compute_signature(served.url + path, form)
    answer = http.post(path, data=form, headers={"X-Twilio-Signature": signature})
    assert answer.status_code in (200, 204, 400, 404), answer.text
    # What was told is in the record, and can be read.
    assert http.get(f"/calls/{call['id']}/events", params={"limit": 500}).status_code == 200
