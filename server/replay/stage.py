"""The stage of one replay: the real server and both vendors, fresh, in this process.

Nothing of one replay reaches another: ports, database and emulators are its own.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from server.app import create_app
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script, Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import CallbackPlan, EmulatedCall, TwilioEmulator
from server.emulators.twilio.record import Moment
from server.http.serving import listen, serving
from server.migrations import upgrade
from server.replay.scenario import CallPlan, Scenario
from server.settings.settings import Settings

MODEL_KEY = "emulated"


class _GivenSettings(Settings):
    """Settings as they are given: a replay does not depend on whose shell it runs in."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but the arguments."""
        return (init_settings,)


@dataclass
class Stage:
    """Where one scenario is played. `gemini` is None when the model is none of ours."""

    server_url: str
    api: httpx.AsyncClient
    twilio: TwilioEmulator
    gemini: GeminiLiveEmulator | None


Watch = Callable[[EmulatedCall, Moment], None]
WatchModel = Callable[[Session, Event], None]


@asynccontextmanager
async def own_stage(
    scenario: Scenario,
    *,
    on_moment: Watch,
    on_event: WatchModel,
    real_model_key: str | None = None,
    pipelines: tuple[str, ...] = (),
    cassettes: Path | None = None,
) -> AsyncIterator[Stage]:
    """The whole system in this process, as this scenario wants it.

    With `real_model_key`, the agent talks with the real Gemini by that key. `pipelines` are the
    modules and folders of PIPELINES. `cassettes`: the folder where a cassette of the call is left.
    """
    plan = scenario.call
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-replay-")))
        twilio = _twilio(scenario, stack.enter_context(_telling(on_moment)))
        stack.callback(twilio.calls.clear)
        stack.callback(twilio.people.clear)
        await stack.enter_async_context(twilio)
        gemini = None
        environment: dict[str, str | None] = {}
        if real_model_key is None:
            gemini = await stack.enter_async_context(_gemini(scenario, on_event))
            environment |= gemini.environment()
        # The SDK and OpenSSL read these when the server opens its client.
        stack.enter_context(_environment(environment))
        database = folder / "replay.db"
        shutil.copy(await _migrated_database(), database)
        bound = stack.enter_context(closing(listen("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        settings = _GivenSettings(
            base_url=url,
            database_url=f"sqlite+aiosqlite:///{database}",
            twilio_account_sid=twilio.account_sid,
            twilio_auth_token=twilio.auth_token,
            twilio_phone_number=plan.phone_number,
            twilio_api_base_url=twilio.url,
            gemini_api_key=real_model_key or MODEL_KEY,
            pipelines=pipelines,
            inbound_numbers=_routes(plan),
            ring_timeout_seconds=60,
            cassettes="off" if cassettes is None else "all",
            cassettes_folder=cassettes or folder / "cassettes",
            # Its session would be one that no scenario knows of.
            answer_filler=False,
        )
        await stack.enter_async_context(serving(create_app(settings), bound))
        api = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=url,
                timeout=120,
                # httpx would let connections expire by a clock of its own.
                limits=httpx.Limits(keepalive_expiry=None),
                trust_env=False,
            )
        )
        yield Stage(url, api, twilio, gemini)


@dataclass(frozen=True, slots=True)
class RemoteServer:
    """A running instance, set up to place its calls at a Twilio that is emulated here.

    Its TWILIO_API_BASE_URL is http://127.0.0.1:`twilio_port`, its SID and token are these.
    """

    url: str
    twilio_port: int
    account_sid: str
    auth_token: str
    api_key: str | None = None


@asynccontextmanager
async def remote_stage(
    scenario: Scenario, server: RemoteServer, *, on_moment: Watch
) -> AsyncIterator[Stage]:
    """A telephone for a server that runs elsewhere, with whatever model that server has."""
    plan = scenario.call
    twilio = TwilioEmulator(
        account_sid=server.account_sid,
        auth_token=server.auth_token,
        numbers=[plan.phone_number],
        callbacks=_callbacks(scenario),
        port=server.twilio_port,
        on_moment=on_moment,
    )
    headers = {"Authorization": f"Bearer {server.api_key}"} if server.api_key else {}
    async with (
        twilio,
        httpx.AsyncClient(
            base_url=server.url, headers=headers, timeout=120, trust_env=False
        ) as api,
    ):
        yield Stage(server.url, api, twilio, None)


def script_of(scenario: Scenario) -> Script:
    """The model's script, which also knows every sentence of the caller's that has no rule."""
    plain = dict(scenario.model.script)
    rules = list(plain.get("rules", ()))
    said = [part for turn in scenario.turns for part in (*turn.parts, turn.text)]
    sentences = list(dict.fromkeys(part for part in said if isinstance(part, str) and part))
    # Behind all others: it only matters that the sentence is understood.
    rules += [{"hears": sentence, "do": []} for sentence in sentences]
    return Script.parse({**plain, "rules": rules})


def _twilio(scenario: Scenario, on_moment: Watch) -> TwilioEmulator:
    numbers = [scenario.call.phone_number]
    return TwilioEmulator(numbers=numbers, callbacks=_callbacks(scenario), on_moment=on_moment)


@contextmanager
def _telling(watch: Watch) -> Iterator[Watch]:
    """Tells `watch`, and lets go of it at the end.

    FastAPI keeps the last thousands of route functions of a process, and with them the emulators
    that they answer for: what leads from there to a replay stays in memory for as long.
    """
    told = [watch]

    def tell(call: EmulatedCall, moment: Moment) -> None:
        for each in told:
            each(call, moment)

    try:
        yield tell
    finally:
        told.clear()


def _callbacks(scenario: Scenario) -> CallbackPlan:
    plan = scenario.call
    return CallbackPlan(
        lose=plan.callbacks_lost,
        delay_secs=plan.callbacks_delay_ms / 1000,
        twice=plan.callbacks_twice,
    )


def _gemini(scenario: Scenario, on_event: WatchModel) -> GeminiLiveEmulator:
    plan = scenario.model
    emulator = GeminiLiveEmulator(
        script_of(scenario),
        setup_secs=plan.setup_ms / 1000,
        thinking_secs=plan.thinking_ms / 1000,
        on_event=on_event,
    )
    emulator.faults += [_connect_fault(fault) for fault in plan.connect_faults]
    return emulator


def _connect_fault(fault: Mapping[str, Any]) -> ConnectFault:
    connects = fault.get("connects")
    return ConnectFault(**{**fault, "connects": None if connects is None else frozenset(connects)})


async def _migrated_database() -> Path:
    """An empty database, migrated once for this process; each replay gets a copy."""
    path = Path(_scratch().name) / "empty.db"
    if not path.exists():
        await upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="voice-ai-replay-")


def _routes(plan: CallPlan) -> dict[str, Any]:
    """INBOUND_NUMBERS. A call that we place is refused by the API, not by the server's start."""
    if plan.direction == "outbound":
        return {}
    fields = {name: value for name, value in plan.request.items() if name != "metadata"}
    our_number = plan.our_number if plan.our_number == plan.phone_number else "*"
    return {our_number: {"pipeline": "phone_call", **fields}}


@contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
