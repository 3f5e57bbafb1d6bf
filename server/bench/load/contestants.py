"""Who answers the calls under load: this system, the plainest Pipecat bot, a bare bridge."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.sax.saxutils import quoteattr

import httpx

from server.bench.load.gemini import LoadGemini
from server.bench.load.twilio import LoadTwilio
from server.bench.systems import OUR_NUMBER
from server.bench.texts import call_request
from server.demo.stage import COMMAND, READY_WITHIN_SECS, StageError, stop
from server.serving import listen

# The checkout, or wherever the packages are.
_IMPORTED_FROM = Path(__file__).parents[3]

Dial = Callable[[str], Awaitable[None]]


class Contestant(StrEnum):
    """Each is a process of its own, on uvloop where uvicorn finds it."""

    OURS = "ours"
    PLAIN = "plain"
    BRIDGE = "bridge"
    PLAIN_STARTER = "plain-starter"

    @property
    def label(self) -> str:
        """For people."""
        return _LABELS[self]


_LABELS = {
    Contestant.OURS: "ours",
    Contestant.PLAIN: "plain Pipecat",
    Contestant.BRIDGE: "bare bridge",
    Contestant.PLAIN_STARTER: "plain Pipecat, its own rates",
}

# Who is measured when nobody says otherwise.
USUAL = (Contestant.OURS, Contestant.PLAIN, Contestant.BRIDGE)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes calls: what has it call a number, its process, its address.

    `check` raises StageError, with the end of its log, once it has died.
    """

    dial: Dial
    pid: int
    url: str
    check: Callable[[], None]


@asynccontextmanager
async def running(
    contestant: Contestant,
    gemini: LoadGemini,
    twilio: LoadTwilio,
    folder: Path,
    *,
    at_once: int,
    settings: Mapping[str, str],
) -> AsyncIterator[Running]:
    """The server, ready; what it logs is in `folder`. `settings` are for ours.

    Raises: StageError when it does not start.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    with listen("127.0.0.1", 0) as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        if contestant is Contestant.OURS:
            bound.close()
        else:
            # Who connects from now on waits until the server accepts, or learns that it died.
            bound.listen(1024)
        environment = {
            **kept,
            **gemini.environment(),
            **twilio.environment(),
            "GEMINI_API_KEY": "emulated",
            "PYTHONPATH": os.pathsep.join((str(_IMPORTED_FROM), str(folder))),
            # As this system logs by default; Pipecat's own default is DEBUG.
            "LOGURU_LEVEL": "INFO",
        }
        if contestant is Contestant.OURS:
            environment |= {**_our_settings(url, folder, at_once), **settings}
        log = folder / "server.log"
        with log.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *_command(contestant, url, bound),
                env=environment,
                cwd=folder,
                pass_fds=[] if contestant is Contestant.OURS else [bound.fileno()],
                stdout=said,
                stderr=said,
            )
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
            await _until_ready(contestant, http, process, log)

            def check() -> None:
                if process.returncode is not None:
                    said = _end_of(log)
                    raise StageError(f"{contestant.label} ended under load:\n{said}")

            yield Running(_dial(contestant, http, url, twilio), process.pid, url, check)
    finally:
        await stop(process)


def _command(contestant: Contestant, url: str, bound: socket.socket) -> Sequence[str]:
    match contestant:
        case Contestant.OURS:
            return "-c", COMMAND, "serve", "--port", url.rpartition(":")[2]
        case Contestant.PLAIN:
            return "-m", "server.bench.plain_bot", str(bound.fileno()), "phone"
        case Contestant.PLAIN_STARTER:
            return "-m", "server.bench.plain_bot", str(bound.fileno()), "default"
        case Contestant.BRIDGE:
            return "-m", "server.bench.bare_bridge", str(bound.fileno())


def _our_settings(url: str, folder: Path, at_once: int) -> dict[str, str]:
    return {
        "BASE_URL": url,
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'load.db'}",
        "MAX_CONCURRENT_CALLS": str(2 * at_once + 10),
        "PREWARM_LIMIT": str(2 * at_once + 10),
        "DAILY_CALL_LIMIT": "1000000",
    }


def _dial(contestant: Contestant, http: httpx.AsyncClient, url: str, twilio: LoadTwilio) -> Dial:
    async def by_api(number: str) -> None:
        (await http.post("/calls", json=call_request(number))).raise_for_status()

    async def by_url(number: str) -> None:
        twilio.place({"To": [number], "From": [OUR_NUMBER], "Url": [f"{url}/"]})

    async def by_document(number: str) -> None:
        parameter = f'<Parameter name="to_number" value={quoteattr(number)}/>'
        stream = f"<Stream url={quoteattr(url.replace('http', 'ws', 1))}>{parameter}</Stream>"
        twiml = f"<Response><Connect>{stream}</Connect></Response>"
        twilio.place({"To": [number], "From": [OUR_NUMBER], "Twiml": [twiml]})

    return {
        Contestant.OURS: by_api,
        Contestant.PLAIN: by_url,
        Contestant.PLAIN_STARTER: by_url,
        Contestant.BRIDGE: by_document,
    }[contestant]


async def _until_ready(
    contestant: Contestant,
    http: httpx.AsyncClient,
    process: asyncio.subprocess.Process,
    log: Path,
) -> None:
    """Wait until the server answers at all. Raises: StageError when it died or takes too long."""
    path = "/health/ready" if contestant is Contestant.OURS else "/health"
    loop = asyncio.get_running_loop()
    give_up = loop.time() + READY_WITHIN_SECS
    while loop.time() < give_up and process.returncode is None:
        try:
            answer = await http.get(path)
        except httpx.TransportError:
            pass  # it does not listen yet
        else:
            # The bridge answers that this is no WebSocket.
            if answer.status_code == (426 if contestant is Contestant.BRIDGE else 200):
                return
        await asyncio.sleep(0.1)
    raise StageError(_end_of(log) or "the server said nothing")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]
