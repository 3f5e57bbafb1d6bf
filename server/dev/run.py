"""Runs `voice-ai dev`: emulators in this process, the server in another, a call at each start.

emulated Twilio ─┬─ server ─┬─ emulated or real Gemini
                 └─ a file changes: the server is stopped and started, the call placed again
"""

import asyncio
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from dotenv import dotenv_values

from server.demo.conversation_lines import ConversationLines, Tell
from server.dev.changes import changed_files
from server.dev.environment import dev_environment
from server.dev.restarting_server import RestartingServer
from server.dev.state_folder import (
    CERTIFICATE_FOLDER,
    STATE_FOLDER,
    address_noted,
    open_state_folder,
)
from server.emulators.gemini_live import GeminiLiveEmulator, Script, ScriptError, Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.twilio import Answer, EmulatedCall, Person, TwilioEmulator
from server.emulators.twilio.record import Moment
from server.http.serving import listen

OURS, THEIRS = "+15550100999", "+15550100123"
DEFAULT_PORT = "8000"
LAST_PORT = 65_535
RING_SECS = 1.0
# Gemini as it was measured: opening a session, and thinking before each answer.
SETUP_SECS, THINKING_SECS = 0.8, 0.3
WAV = "last-call.wav"
TRANSCRIPT_LOOKS_SECS = 0.5
NO_ANSWER = "and no `not_understood`: the model said nothing, and the server gave it up"
# Ends of a call in which both sides had their say.
TALKED = ("caller", "agent")


class DevError(Exception):
    """It cannot run; the message says why."""


@dataclass(frozen=True)
class DevOptions:
    """`person` is on the phone of every call; `script` is the model's, None the default one.

    `calls`: a call is placed, or comes in when it is `inbound`, each time the server is started.
    `once`: it ends after the first call. `pipeline` has all calls that name none; None: as the
    settings say. `body` is more of `POST /calls`.
    """

    person: Person
    # None: PORT, which `voice-ai dial` reads too.
    port: int | None = None
    script: Path | None = None
    real_model: bool = False
    calls: bool = False
    inbound: bool = False
    once: bool = False
    pipeline: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


async def run_dev(options: DevOptions, tell: Tell) -> int:
    """Run until Ctrl-C, or `once`; returns the exit code. `tell(who, what)` gets each line.

    Raises: DevError.
    """
    try:
        state = open_state_folder()
    except OSError as error:
        raise DevError(f"Cannot write to {STATE_FOLDER}: {error.strerror}.") from None
    given = {**dotenv_values(".env"), **os.environ}
    bound = _listen(options.port, given.get("PORT") or DEFAULT_PORT)
    async with AsyncExitStack() as stack:
        # Kept while the server is started anew, so that nobody else takes the port.
        stack.enter_context(bound)
        port = bound.getsockname()[1]
        stack.enter_context(address_noted(state, f"http://127.0.0.1:{port}"))
        dev = _Dev(options, tell, port)
        twilio = TwilioEmulator(
            numbers=[OURS],
            anyone=Answer(options.person, ring_secs=RING_SECS),
            on_moment=dev.phone,
        )
        await stack.enter_async_context(twilio)
        gemini = None
        if not options.real_model:
            gemini = GeminiLiveEmulator(
                _script(options.script),
                setup_secs=SETUP_SECS,
                thinking_secs=THINKING_SECS,
                on_event=dev.model,
                certificate_folder=CERTIFICATE_FOLDER.resolve(),
            )
            gemini.behaviour.keeps_log = False
            await stack.enter_async_context(gemini)
        environment = dev_environment(
            given,
            twilio=twilio,
            gemini=gemini,
            port=port,
            database=state / "dev.db",
            pipeline=options.pipeline,
        )
        if options.real_model and "GEMINI_API_KEY" not in environment:
            raise DevError("--gemini needs GEMINI_API_KEY, in the environment or .env.")
        server = RestartingServer(environment, port)
        stack.push_async_callback(server.stop)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        http = await stack.enter_async_context(client)
        if gemini is None:
            following = asyncio.create_task(dev.follow_transcripts(http), name="transcripts")
            stack.callback(following.cancel)
        return await dev.run(server, twilio, gemini, http)


class _Dev:
    """One run of the command."""

    def __init__(self, options: DevOptions, tell: Tell, port: int) -> None:
        self._options = options
        self._tell = tell
        self._url = f"http://127.0.0.1:{port}"
        self._lines = ConversationLines(tell)
        # Why the emulated model is silent, while it is.
        self._no_rule_for: str | None = None

    def phone(self, call: EmulatedCall, moment: Moment) -> None:
        self._lines.phone(call, moment)

    def model(self, session: Session, event: Event) -> None:
        self._lines.model(session, event)
        if event.kind == "heard" and not event.message:
            self._lines.of_model(session, "heard nothing that a rule of its script is for")
        if event.kind == "no_rule":
            self._no_rule_for = event.message or "what the caller said"
        if event.kind == "says":
            self._no_rule_for = None

    async def run(
        self,
        server: RestartingServer,
        twilio: TwilioEmulator,
        gemini: GeminiLiveEmulator | None,
        http: httpx.AsyncClient,
    ) -> int:
        script = [self._options.script] if self._options.script else []
        with _stop_signals() as stop:
            changes = changed_files([Path.cwd()], script, stop)
            change = asyncio.ensure_future(anext(changes, None))
            while True:
                await server.start()
                session = asyncio.create_task(self._session(server, twilio, http), name="session")
                await asyncio.wait(
                    {change, session} if self._options.once else {change},
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not change.done():
                    stop.set()
                files = await change
                code = await _outcome(session)
                _hang_up_all(twilio)
                await server.stop()
                if files is None:
                    return code
                self._tell("dev", f"{', '.join(_short(files))} changed: the server starts anew")
                self._reload_script(gemini)
                change = asyncio.ensure_future(anext(changes, None))

    async def _session(
        self, server: RestartingServer, twilio: TwilioEmulator, http: httpx.AsyncClient
    ) -> int:
        """The life of one server and, of `calls`, the first call; 0 when that was held."""
        if not await server.ready(http):
            return self._is_dead(server)
        code = 0
        self._tell("dev", await self._what_talks(http))
        if self._options.calls:
            try:
                code = await self._call(twilio, http)
            except httpx.HTTPError as error:
                code = 1
                self._tell("server", f"does not answer: {type(error).__name__}")
        if self._options.once:
            return code
        self._tell("dev", f"{self._url} waits: for `voice-ai dial {THEIRS}`, or a changed file")
        await server.ended()
        return self._is_dead(server)

    async def _what_talks(self, http: httpx.AsyncClient) -> str:
        """Which pipeline, and what plays the model, in a sentence."""
        pipeline = "as INBOUND_NUMBERS says"
        if self._options.pipeline or not self._options.inbound:
            pipeline = (await http.get("/health")).json()["default_pipeline"]
        if self._options.real_model:
            return f"pipeline {pipeline}; the model is the real Gemini"
        script = self._options.script or "the emulator's own (--script names another)"
        return f"pipeline {pipeline}; script {script}"

    def _is_dead(self, server: RestartingServer) -> int:
        then = "" if self._options.once else ": change a file"
        self._tell("dev", f"the server has ended (exit code {server.exit_code}){then}")
        return 1

    async def _call(self, twilio: TwilioEmulator, http: httpx.AsyncClient) -> int:
        """Have one call; 0 when both sides talked to its end."""
        before = len(twilio.calls)
        if self._options.inbound:
            await twilio.call_in(
                THEIRS,
                OURS,
                f"{self._url}/twilio/inbound",
                self._options.person,
                ring_secs=RING_SECS,
                status_callback=f"{self._url}/twilio/status",
            )
        else:
            answer = await http.post("/calls", json={"phone_number": THEIRS, **self._options.body})
            if answer.is_error:
                self._tell("server", f"refused the call: {answer.json()['detail']}")
                return 1
        call = await twilio.call_placed(number=before + 1)
        await call.settled()
        if call.line is not None:
            call.write_wav(STATE_FOLDER / WAV)
        (view,) = (await http.get("/calls", params={"limit": 1})).json()["calls"]
        result = (await http.get(f"/calls/{view['id']}/result", params={"wait": 10})).json()
        why = f" ({result['end_reason']})" if result["end_reason"] else ""
        self._tell("call", f"{result['status']}{why}; its sound is in {STATE_FOLDER / WAV}")
        talked = result["status"] == "completed" and result["end_reason"] in TALKED
        if result["end_reason"] == "no_model" and self._no_rule_for:
            self._tell("call", f"the script has no rule for {self._no_rule_for}, {NO_ANSWER}")
        elif result["error"]:
            self._tell("call", result["error"])
        return 0 if talked else 1

    async def follow_transcripts(self, http: httpx.AsyncClient) -> None:
        """Tell what a model says that is none of ours, as the server records it."""
        told: set[tuple[str, int]] = set()
        while True:
            await asyncio.sleep(TRANSCRIPT_LOOKS_SECS)
            with suppress(httpx.HTTPError, KeyError, ValueError):
                for call in (await http.get("/calls", params={"limit": 5})).json()["calls"]:
                    path = f"/calls/{call['id']}/transcript"
                    for number, turn in enumerate((await http.get(path)).json()["turns"]):
                        if turn["who"] == "agent" and (call["id"], number) not in told:
                            self._lines.of_agent(call["twilio_sid"], turn["text"])
                        told.add((call["id"], number))

    def _reload_script(self, gemini: GeminiLiveEmulator | None) -> None:
        if gemini is not None and self._options.script is not None:
            try:
                gemini.script = _script(self._options.script)
            except DevError as error:
                self._tell("model", f"{error}; it goes on with the script that it had")


def _listen(port: int | None, otherwise: str) -> socket.socket:
    chosen = port
    if chosen is None:
        if not (otherwise.isascii() and otherwise.isdigit() and int(otherwise) <= LAST_PORT):
            raise DevError(f"PORT: must be a number from 0 to {LAST_PORT}")
        chosen = int(otherwise)
    try:
        return listen("127.0.0.1", chosen)
    except OSError as error:
        raise DevError(
            f"Cannot listen on port {chosen}: {error.strerror}. Choose another with --port."
        ) from None


def _script(path: Path | None) -> Script:
    try:
        return Script.load(path) if path else Script.default()
    except (ScriptError, OSError) as error:
        raise DevError(f"--script: {error}") from None


def _hang_up_all(twilio: TwilioEmulator) -> None:
    for call in twilio.calls:
        call.hang_up("network")


async def _outcome(session: asyncio.Task[int]) -> int:
    """The session's exit code; a session that still goes on is ended."""
    session.cancel()
    try:
        return await session
    except asyncio.CancelledError:
        return 0


def _short(files: Iterable[Path]) -> list[str]:
    """The files as they are called from the working folder."""
    here = Path.cwd()
    return [
        str(file.relative_to(here)) if file.is_relative_to(here) else str(file) for file in files
    ]


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """An event that the signals set by which a person, a terminal or a service ends a process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
