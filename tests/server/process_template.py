"""Starts `voice-ai` processes quickly: each is forked from one that has imported everything.

An import of the whole system takes seconds of CPU; a fork takes milliseconds. What is forked is a
process like any other: signals, limits, its working folder and its environment are its own.

    test ──control──► template ──fork──► keeper ──fork──► program
         ◄────────────────── status: its pid, then its exit code
"""

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VOICE_AI = "from server.cli.main import app; app()"
# What `voice-ai serve`, `replay` and `emulate` import, which no environment variable changes.
PRELOADED = ("server.cli.main", "server.app", "server.cli.emulate_gemini", "server.replay.player")
ORDER_BYTES = 1 << 17
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# The template runs in `__main__`, as `python -c` would run the program.
TEMPLATE = (
    "import sys; from tests.server.process_template import next_program; exec(next_program())"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """What a process ended with, and all that it wrote."""

    returncode: int
    stdout: str
    stderr: str


class ForkedProcess:
    """A process, with what tests use of `asyncio.subprocess.Process`."""

    def __init__(self, pid: int, status: Stream, stdout: Stream, stderr: Stream) -> None:
        self.pid = pid
        self.stdout, self.stderr = stdout[0], stderr[0]
        self.returncode: int | None = None
        self._streams = (status, stdout, stderr)
        self._end = asyncio.create_task(self._until_it_ends(status[0]))

    async def _until_it_ends(self, status: asyncio.StreamReader) -> int:
        self.returncode = int(await status.readline())
        return self.returncode

    def close(self) -> None:
        """Close what leads to it."""
        for _, writer in self._streams:
            writer.close()

    async def wait(self) -> int:
        """Its exit code, negative for the signal that killed it."""
        return await asyncio.shield(self._end)

    async def communicate(self) -> tuple[bytes, bytes]:
        """All that it still writes, once it has ended."""
        out, error = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, error

    def send_signal(self, number: int) -> None:
        """Raises: ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """As `asyncio.subprocess.Process` has it."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As `asyncio.subprocess.Process` has it."""
        self.send_signal(signal.SIGKILL)


class ProcessTemplate:
    """One process that has imported everything, started when the first copy is wanted."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the template; its copies go on."""
        if self._control is not None and self._process is not None:
            self._control.close()
            self._process.wait()

    @contextlib.asynccontextmanager
    async def running(
        self,
        *words: str,
        folder: Path,
        environment: Mapping[str, str],
        program: str = VOICE_AI,
        stderr: int = DEVNULL,
        new_session: bool = False,
    ) -> AsyncIterator[ForkedProcess]:
        """A process that runs `python -c program words...`, and is killed in the end.

        With `new_session` the processes that it started are killed, too.
        `environment` is the whole of its environment; `stderr` is PIPE, STDOUT or DEVNULL.
        """
        order = {
            "words": words,
            "folder": str(folder),
            "environment": dict(environment),
            "program": program,
            "stderr": stderr,
            "new_session": new_session,
        }
        process = await self._start(order)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if new_session else os.kill)(process.pid, signal.SIGKILL)
            await process.wait()
            process.close()

    async def run(
        self,
        *words: str,
        folder: Path,
        environment: Mapping[str, str],
        program: str = VOICE_AI,
    ) -> Ended:
        """Run `python -c program words...` to its end."""
        async with self.running(
            *words, folder=folder, environment=environment, program=program, stderr=PIPE
        ) as process:
            out, error = await process.communicate()
            return Ended(await process.wait(), out.decode(), error.decode())

    async def _start(self, order: dict[str, Any]) -> ForkedProcess:
        pairs = [socket.socketpair() for _ in range(3)]
        theirs = [pair[1] for pair in pairs]
        control = self._started()
        socket.send_fds(control, [json.dumps(order).encode()], [end.fileno() for end in theirs])
        for end in theirs:
            end.close()
        status, out, error = [await asyncio.open_connection(sock=ours) for ours, _ in pairs]
        return ForkedProcess(int(await status[0].readline()), status, out, error)

    def _started(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", TEMPLATE, str(theirs.fileno())],
                    cwd=ROOT,
                    env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        return self._control


def next_program() -> str:
    """The template's life: import everything and fork. Returns in each copy, with its program."""
    for module in PRELOADED:
        import_module(module)
    import_module("pipelines.gemini.live_config").warm_up()
    # Collections in the copies, and those at their end, leave alone what was imported here.
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, files, _, _ = socket.recv_fds(control, ORDER_BYTES, 3)
        if not message:
            sys.exit()
        if (keeper := os.fork()) == 0:
            control.close()
            return _copy(json.loads(message), *files)
        for file in files:
            os.close(file)
        os.waitpid(keeper, 0)


def _copy(order: dict[str, Any], status: int, stdout: int, stderr: int) -> str:
    # The template waits for this process only: the keeper is nobody's child.
    if os.fork():
        os._exit(0)
    if (program := os.fork()) != 0:
        os.close(stdout)
        os.close(stderr)
        _, ended = os.waitpid(program, 0)
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))
        os._exit(0)
    if order["new_session"]:
        os.setsid()
    os.dup2(stdout, 1)
    errors = {DEVNULL: os.open(os.devnull, os.O_WRONLY), STDOUT: stdout, PIPE: stderr}
    os.dup2(errors[order["stderr"]], 2)
    os.close(stdout)
    os.close(stderr)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["-c", *order["words"]]
    tempfile.tempdir = None
    # Where the tests run in the background it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.write(status, b"%d\n" % os.getpid())
    os.close(status)
    return str(order["program"])
