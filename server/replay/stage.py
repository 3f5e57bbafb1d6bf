"""The stage of one replay: the real server and both vendors, fresh, in this process.

Nothing of one replay reaches another: ports, database and emulators are its own.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from server.app import create_app
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script, Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import CallbackPlan, EmulatedCall, TwilioEmulator
from server.emulators.twilio.record import Moment
from server.replay.scenario import Scenario
from server.serving import listen, serving
from server.settings import Settings

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
    """Where one scenario is played. `gemini` is None when the real one talks."""

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
) -> AsyncIterator[Stage]:
    """The whole system in this process, as this scenario wants it.

    With `real_model_key`, the agent talks with the real Gemini by that key.
    """
    plan = scenario.call
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-replay-")))
        twilio = await stack.enter_async_context(_twilio(scenario, on_moment))
        gemini = None
        environment: dict[str, str | None] = {}
        if real_model_key is None:
            gemini = await stack.enter_async_context(_gemini(scenario, on_event))
            environment |= gemini.environment()
        # The SDK and OpenSSL read these when the server opens its client.
        stack.enter_context(_environment(environment))
        bound = listen("127.0.0.1", 0)
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        settings = _GivenSettings(
            base_url=url,
            database_url=f"sqlite+aiosqlite:///{folder / 'replay.db'}",
            twilio_account_sid=twilio.account_sid,
            twilio_auth_token=twilio.auth_token,
            twilio_phone_number=plan.our_number,
            twilio_api_base_url=twilio.url,
            gemini_api_key=real_model_key or MODEL_KEY,
            inbound_numbers={plan.our_number: _route(plan.request)},
            ring_timeout_seconds=60,
        )
        await stack.enter_async_context(serving(create_app(settings), bound))
        api = await stack.enter_async_context(
            httpx.AsyncClient(base_url=url, timeout=120, trust_env=False)
        )
        yield Stage(url, api, twilio, gemini)


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
    plan = scenario.call
    callbacks = CallbackPlan(
        lose=plan.callbacks_lost,
        delay_secs=plan.callbacks_delay_ms / 1000,
        twice=plan.callbacks_twice,
    )
    return TwilioEmulator(numbers=[plan.our_number], callbacks=callbacks, on_moment=on_moment)


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


def _route(request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in request.items() if name != "metadata"}
    return {"pipeline": "phone_call", **fields}


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
