"""The systems that are measured: each is a server in a process of its own, on uvloop."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.sax.saxutils import quoteattr

from server.bench.texts import OUR_NUMBER, call_request
from server.demo.stage import (
    SERVE,
    ServerProcess,
    StageError,
    Vendor,
    environment_between,
    started,
)
from server.demo.valkey import valkey
from server.emulators.twilio import TwilioEmulator
from server.http.serving import listen

# The checkout, or wherever the packages are.
_IMPORTED_FROM = Path(__file__).parents[2]


class System(StrEnum):
    """Who answers the calls: five ways to run ours, and three references.

    `OURS` runs as configured by default. `WARM`: each call is prepared while the phone rings.
    `COLD`: the phone is picked up at once and nothing is prepared. `CACHED`: the same, but the
    greeting is known from an earlier call. `CASSETTES`: a cassette of every call is kept. `PLAIN`
    and `PLAIN_STARTER` are Pipecat's, at the phone's rates and at Pipecat's own.
    """

    OURS = "ours"
    WARM = "warm"
    COLD = "cold"
    CACHED = "cached"
    CASSETTES = "cassettes"
    PLAIN = "plain"
    PLAIN_STARTER = "plain-starter"
    BRIDGE = "bridge"

    @property
    def is_ours(self) -> bool:
        """Whether this is `voice-ai serve`, in whichever setting."""
        return self in _OUR_SETTINGS

    @property
    def rings(self) -> bool:
        """Whether the phone rings before it is picked up, in the latency bench."""
        return self not in (System.COLD, System.CACHED)


_OUR_SETTINGS: Mapping[System, dict[str, str]] = {
    System.OURS: {},
    System.WARM: {"GREETING_CACHE": "false"},
    System.COLD: {"GREETING_CACHE": "false", "PREWARM_LIMIT": "0"},
    System.CACHED: {"PREWARM_LIMIT": "0"},
    System.CASSETTES: {"CASSETTES": "all"},
}
# A module, and what it is told beside the number of its socket.
_REFERENCES = {
    System.PLAIN: ("server.bench.plain_bot", "phone"),
    System.PLAIN_STARTER: ("server.bench.plain_bot", "default"),
    System.BRIDGE: ("server.bench.bare_bridge",),
}


@dataclass(frozen=True, slots=True)
class Running:
    """A system that takes calls, in a process with this `pid`; it listens at `url`."""

    system: System
    pid: int
    url: str
    _server: ServerProcess
    _twilio: TwilioEmulator

    async def dial(self, number: str) -> None:
        """Have the system call a number.

        Raises: httpx.HTTPError, RestError when the call is refused.
        """
        order = {"To": [number], "From": [OUR_NUMBER]}
        if self.system.is_ours:
            answer = await self._server.http.post("/calls", json=call_request(number))
            answer.raise_for_status()
        elif self.system is System.BRIDGE:
            self._twilio.place(order | {"Twiml": [_stream_twiml(self.url, number)]})
        else:
            self._twilio.place(order | {"Url": [f"{self.url}/"]})

    def check(self) -> None:
        """Raises: StageError, with the end of its log, once the process has died."""
        try:
            self._server.check()
        except StageError as died:
            raise StageError(f"{self.system} ended under load:\n{died}") from None


@asynccontextmanager
async def running(
    system: System,
    gemini: Vendor,
    twilio: TwilioEmulator,
    folder: Path,
    *,
    at_once: int,
    settings: Mapping[str, str] | None = None,
    workers: int = 1,
) -> AsyncIterator[Running]:
    """The system, ready for `at_once` calls at a time; what it logs is in `folder`.

    `settings` and `workers` are for ours only; several workers share a Valkey.

    Raises: StageError when it does not start; NoValkey.
    """
    async with AsyncExitStack() as stack:
        bound = stack.enter_context(listen("127.0.0.1", 0))
        port = bound.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        environment = environment_between(gemini, twilio) | {
            "PYTHONPATH": str(_IMPORTED_FROM),
            # As this system logs by default; Pipecat's own default is DEBUG.
            "LOGURU_LEVEL": "INFO",
        }
        if system.is_ours:
            environment |= _our_environment(url, folder, at_once) | _OUR_SETTINGS[system]
            environment |= settings or {}
            serve = [*SERVE, "--port", str(port)]
            if workers > 1:
                environment["REDIS_URL"] = await stack.enter_async_context(valkey(folder))
                serve += ["--workers", str(workers)]
            starting = started(serve, environment, folder, url, "/health/ready")
        else:
            # Who connects from now on waits until the server accepts, or learns that it died.
            bound.listen(1024)
            module, *words = _REFERENCES[system]
            command = (sys.executable, "-m", module, str(bound.fileno()), *words)
            starting = started(command, environment, folder, url, None, listening=bound)
        server = await stack.enter_async_context(starting)
        yield Running(system, server.process.pid, url, server, twilio)


def _our_environment(url: str, folder: Path, at_once: int) -> dict[str, str]:
    return {
        "BASE_URL": url,
        # Counts only where there is a REDIS_URL.
        "INSTANCE_URL": url,
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'bench.db'}",
        "MAX_CONCURRENT_CALLS": str(2 * at_once + 10),
        "PREWARM_LIMIT": str(2 * at_once + 10),
        "DAILY_CALL_LIMIT": "1000000",
        "DRAIN_TIMEOUT": "0",
        # What a core does not carry is to be seen, not refused.
        "OVERLOAD_LAG_MS": "0",
        # Its session would be one more than there are calls, and be spoken to like theirs.
        "ANSWER_FILLER": "false",
    }


def _stream_twiml(url: str, number: str) -> str:
    parameter = f'<Parameter name="to_number" value={quoteattr(number)}/>'
    stream = f"<Stream url={quoteattr(url.replace('http', 'ws', 1))}>{parameter}</Stream>"
    return f"<Response><Connect>{stream}</Connect></Response>"
