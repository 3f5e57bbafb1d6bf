"""One call with one fault: ours in this process, in virtual time, the plain bot in a process.

Pipecat's own transport paces its output by the computer's clock, so that the plain bot runs in real
time. Both talk with emulators of their own.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from server.app import create_app
from server.bench.systems import System, running
from server.bench.texts import AGENT_VOICE, GREETING, OUR_NUMBER, call_request, system_prompt
from server.chaos.judge import Verdict, judge, settled
from server.chaos.kinds import Kind, Scene
from server.chaos.talk import CALLER, rehearse, script
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script
from server.emulators.twilio import Answer, EmulatedCall, Person, TwilioEmulator
from server.http.serving import listen, serving
from server.migrations import upgrade
from server.replay.sqlite_work import ordered_sqlite
from server.replay.virtual_time import VirtualTimeLoop
from server.settings.settings import Settings

NUMBER, FIRST_NUMBER = "+15550100001", "+15550100002"
# How our server answers the caller, as it would call them.
ROUTE = {
    "pipeline": "phone_call",
    "greeting": GREETING,
    "system_prompt": system_prompt(NUMBER),
    "voice": AGENT_VOICE,
}
CALL_WITHIN_SECS = 90.0
THINKING_SECS = 0.3
# What the first call of a process leaves behind for those after it is there by then.
FIRST_CALL_SECS = 5.0
RING_SECS = 0.0


class _GivenSettings(Settings):
    """Settings as they are given: a bench does not depend on whose shell it runs in."""

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


def play_ours(kind: Kind) -> Verdict:
    """One call on our server, in virtual time."""
    rehearse()
    with ordered_sqlite(), asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_play_ours(kind))


async def play_plain(kind: Kind) -> Verdict:
    """One call on the plain bot, in real time, in a process of its own.

    Raises: StageError when the bot does not start.
    """
    async with AsyncExitStack() as stack:
        gemini, twilio = await _vendors(kind, stack)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voice-ai-chaos-")))
        bot = await stack.enter_async_context(
            running(System.PLAIN, gemini, twilio, folder, at_once=1)
        )

        async def begin() -> EmulatedCall:
            if kind.inbound:
                return await twilio.call_in(NUMBER, OUR_NUMBER, f"{bot.url}/", CALLER)
            await bot.dial(NUMBER)
            return await twilio.call_placed(to=NUMBER)

        return await _call(kind, gemini, begin, runs=_no_runs)


async def _play_ours(kind: Kind) -> Verdict:
    async with AsyncExitStack() as stack:
        gemini, twilio = await _vendors(kind, stack)
        api = await stack.enter_async_context(_our_server(gemini, twilio))

        async def dial(number: str) -> None:
            pipeline = {"pipeline": "practice"} if kind.with_tool else {}
            answer = await api.post("/calls", json=call_request(number) | pipeline)
            answer.raise_for_status()

        async def begin() -> EmulatedCall:
            if kind.inbound:
                url = str(api.base_url.join("/twilio/inbound"))
                return await twilio.call_in(NUMBER, OUR_NUMBER, url, CALLER)
            await dial(NUMBER)
            return await twilio.call_placed(to=NUMBER)

        async def runs() -> int | None:
            calls = (await api.get("/calls", params={"phone_number": NUMBER})).json()["calls"]
            url = f"/calls/{calls[0]['id']}/events"
            kinds = [event["kind"] for event in (await api.get(url)).json()["events"]]
            return kinds.count("tool.called") if kind.with_tool else None

        await _first_call(twilio, lambda: dial(FIRST_NUMBER))
        return await _call(kind, gemini, begin, runs=runs)


async def _vendors(kind: Kind, stack: AsyncExitStack) -> tuple[GeminiLiveEmulator, TwilioEmulator]:
    sessions = 0

    def choose(setup: Mapping[str, Any]) -> Script:
        nonlocal sessions
        if NUMBER not in str(setup):
            return script()
        sessions += 1
        if kind.later is not None and sessions > 1:
            return kind.later
        resumes = bool(setup.get("sessionResumption", {}).get("handle"))
        return kind.resumed if kind.resumed is not None and resumes else kind.script

    gemini = await stack.enter_async_context(
        GeminiLiveEmulator(choose_script=choose, thinking_secs=THINKING_SECS)
    )
    twilio = await stack.enter_async_context(TwilioEmulator(numbers=[OUR_NUMBER]))
    twilio.people[NUMBER] = Answer(CALLER, RING_SECS)
    return gemini, twilio


async def _first_call(twilio: TwilioEmulator, dial: Any) -> None:
    async def listen_only(phone: Any) -> None:
        await phone.pause(FIRST_CALL_SECS)
        phone.hang_up()

    twilio.people[FIRST_NUMBER] = Answer(Person(listen_only), RING_SECS)
    await dial()
    await settled(await twilio.call_placed(to=FIRST_NUMBER), CALL_WITHIN_SECS)


async def _call(
    kind: Kind,
    gemini: GeminiLiveEmulator,
    begin: Callable[[], Awaitable[EmulatedCall]],
    *,
    runs: Callable[[], Awaitable[int | None]],
) -> Verdict:
    """Begin the call, have the fault strike, and judge what came of it."""
    scene = Scene(gemini, NUMBER)
    for name, value in kind.behaviour.items():
        setattr(gemini.behaviour, name, value)
    gemini.faults += [_shifted(fault, gemini.connects) for fault in kind.connects]
    striking = None if kind.strike is None else asyncio.create_task(_strike(kind, scene))
    call = await begin()
    await settled(call, CALL_WITHIN_SECS)
    if striking is not None:
        striking.cancel()
        await asyncio.wait({striking})
    return judge(kind, scene, call, tool_runs=await runs())


async def _strike(kind: Kind, scene: Scene) -> None:
    assert kind.strike is not None
    # A fault whose moment never comes does not strike.
    with suppress(TimeoutError):
        await kind.strike(scene)


async def _no_runs() -> None:
    """Count no tools: the plain bot has none."""


def _shifted(fault: ConnectFault, connects: int) -> ConnectFault:
    numbers = None if fault.connects is None else frozenset(n + connects for n in fault.connects)
    return ConnectFault(fault.http_status, fault.close, fault.reason, fault.stall, numbers)


@asynccontextmanager
async def _our_server(
    gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> AsyncIterator[httpx.AsyncClient]:
    with _environment(gemini.environment()), tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "chaos.db"
        shutil.copy(await _migrated_database(), database)
        with closing(listen("127.0.0.1", 0)) as bound:
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            settings = _GivenSettings(
                base_url=url,
                database_url=f"sqlite+aiosqlite:///{database}",
                twilio_account_sid=twilio.account_sid,
                twilio_auth_token=twilio.auth_token,
                twilio_phone_number=OUR_NUMBER,
                twilio_api_base_url=twilio.url,
                gemini_api_key="emulated",
                inbound_numbers=json.dumps({OUR_NUMBER: ROUTE}),
                prewarm_limit=0,
                greeting_cache=False,
            )
            async with (
                serving(create_app(settings), bound),
                httpx.AsyncClient(
                    base_url=url,
                    timeout=120,
                    # httpx would let connections expire by a clock of its own.
                    limits=httpx.Limits(keepalive_expiry=None),
                    trust_env=False,
                ) as api,
            ):
                yield api


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """The SDK and OpenSSL read these when the server opens its client."""
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


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="voice-ai-chaos-")


async def _migrated_database() -> Path:
    """An empty database, migrated once for this process; each call gets a copy."""
    path = Path(_scratch().name) / "empty.db"
    if not path.exists():
        await upgrade(f"sqlite+aiosqlite:///{path}")
    return path
