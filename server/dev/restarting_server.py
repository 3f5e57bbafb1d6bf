"""A `voice-ai serve` in a process of its own, which is started anew as often as wanted."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress

import httpx

# `-P`: packages of the working folder do not hide ours.
SERVE = (sys.executable, "-P", "-c", "from server.cli.main import app; app()", "serve")
READY_LOOKS_SECS = 0.1
# A server that still serves calls ends them at the second signal.
DRAINS_SECS = 2.0
STOPS_WITHIN_SECS = 15.0


class RestartingServer:
    """Serves at `port` with this environment, and reads no `.env`; what it prints is shown."""

    def __init__(self, environment: Mapping[str, str], port: int) -> None:
        self._environment = environment
        self._port = port
        self._process: asyncio.subprocess.Process | None = None

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs."""
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """Start a process; none may run."""
        assert self._process is None
        self._process = await asyncio.create_subprocess_exec(
            *(*SERVE, "--port", str(self._port), "--env-file", os.devnull),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            # Ctrl-C is for who started it, and stops it then.
            start_new_session=True,
        )

    async def ready(self, http: httpx.AsyncClient) -> bool:
        """Wait until it answers; False when it has ended instead."""
        while self.exit_code is None:
            with suppress(httpx.TransportError):
                if (await http.get("/health/live")).is_success:
                    return True
            await asyncio.sleep(READY_LOOKS_SECS)
        return False

    async def ended(self) -> None:
        """Wait until the process has ended by itself."""
        assert self._process is not None
        await self._process.wait()

    async def stop(self) -> None:
        """End the process, if one runs."""
        process, self._process = self._process, None
        if process is None:
            return
        for patience in (DRAINS_SECS, STOPS_WITHIN_SECS):
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), patience)
        if process.returncode is None:
            process.kill()
            await process.wait()
