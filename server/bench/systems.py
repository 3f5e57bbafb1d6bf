"""The systems that are measured, each a server in a process of its own, set up for one bench."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import httpx

from server.bench.texts import call_request
from server.demo.stage import READY_WITHIN_SECS, StageError, server_process, stop
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import TwilioEmulator
from server.serving import listen

OUR_NUMBER = "+15550100999"
# The checkout, or wherever the packages are.
_IMPORTED_FROM = Path(__file__).parents[2]


class System(StrEnum):
    """Who answers the calls.

    `WARM`: the call is prepared while the phone rings. `COLD`: the phone is picked up at once, and
    nothing is prepared. `CACHED`: the same, but the greeting is known from an earlier call.
    """

    WARM = "warm"
    COLD = "cold"
    CACHED = "cached"
    PLAIN = "plain"
    PLAIN_STARTER = "plain-starter"

    @property
    def has_time(self) -> bool:
        """Whether the phone rings before it is picked up."""
        return self not in (System.COLD, System.CACHED)

    @property
    def label(self) -> str:
        """For people."""
        return _LABELS[self]


_LABELS = {
    System.WARM: "ours, warm",
    System.COLD: "ours, cold",
    System.CACHED: "ours, greeting known",
    System.PLAIN: "plain Pipecat",
    System.PLAIN_STARTER: "plain Pipecat, its own rates",
}

# What a bench is about when nobody says otherwise.
USUAL = (System.WARM, System.COLD, System.PLAIN)

Dial = Callable[[str], Awaitable[None]]


@asynccontextmanager
async def running(
    system: System,
    gemini: GeminiLiveEmulator,
    twilio: TwilioEmulator,
    folder: Path,
    *,
    at_once: int,
) -> AsyncIterator[Dial]:
    """The system, ready for `at_once` calls at a time; gives what has it call a number.

    What it logs is in `folder`.

    Raises: StageError when it does not start.
    """
    if system in (System.PLAIN, System.PLAIN_STARTER):
        rates = "phone" if system is System.PLAIN else "default"
        async with _plain_bot(gemini, twilio, folder, rates) as url:

            async def have_dialled(number: str) -> None:
                twilio.place({"To": [number], "From": [OUR_NUMBER], "Url": [f"{url}/"]})

            yield have_dialled
        return
    # Read by the server in its working folder.
    settings: dict[str, object] = {
        "MAX_CONCURRENT_CALLS": max(50, 2 * at_once),
        "PREWARM_LIMIT": max(50, 2 * at_once),
        "DAILY_CALL_LIMIT": 1_000_000,
    }
    if system is not System.CACHED:
        settings["GREETING_CACHE"] = "false"
    if system is not System.WARM:
        settings["PREWARM_LIMIT"] = 0
    lines = [f"{name}={value}\n" for name, value in settings.items()]
    (folder / ".env").write_text("".join(lines), encoding="utf-8")
    async with server_process(gemini, twilio, folder) as api:

        async def dial(number: str) -> None:
            (await api.post("/calls", json=call_request(number))).raise_for_status()

        yield dial


@asynccontextmanager
async def _plain_bot(
    gemini: GeminiLiveEmulator, twilio: TwilioEmulator, folder: Path, rates: str
) -> AsyncIterator[str]:
    """The plain bot in a process of its own; gives its address. Raises: StageError."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {
        **kept,
        **gemini.environment(),
        **twilio.environment(),
        "GEMINI_API_KEY": "emulated",
        "PYTHONPATH": str(_IMPORTED_FROM),
        # As this system logs by default; Pipecat's own default is DEBUG.
        "LOGURU_LEVEL": "INFO",
    }
    log = folder / "server.log"
    with listen("127.0.0.1", 0) as bound, log.open("wb") as said:
        # Who connects from now on waits until the bot accepts, or learns that it died.
        bound.listen()
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server.bench.plain_bot", str(bound.fileno()), rates),
            env=environment,
            cwd=folder,
            pass_fds=[bound.fileno()],
            stdout=said,
            stderr=said,
        )
    try:
        try:
            async with httpx.AsyncClient(timeout=READY_WITHIN_SECS, trust_env=False) as http:
                (await http.get(f"{url}/health")).raise_for_status()
        except httpx.HTTPError as problem:
            ending = log.read_text(errors="replace")[-2000:]
            raise StageError(ending or f"the plain bot said nothing: {problem!r}") from None
        yield url
    finally:
        await stop(process)
