import os
import signal
import wave
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.server.emulators.twilio.application import Application
from tests.server.process_template import ForkedProcess, ProcessTemplate

Start = Callable[..., Awaitable[ForkedProcess]]


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    async with Application().running() as application:
        yield application


@pytest.fixture
async def start(process_template: ProcessTemplate, tmp_path: Path) -> AsyncIterator[Start]:
    """`voice-ai emulate twilio` with these options."""
    async with AsyncExitStack() as stack:

        async def start(*options: str) -> ForkedProcess:
            running = process_template.running(
                *("emulate", "twilio", *options),
                folder=tmp_path,
                environment=os.environ | {"COLUMNS": "200", "NO_COLOR": "1"},
                stderr=PIPE,
            )
            return await stack.enter_async_context(running)

        yield start


async def line_with(process: ForkedProcess, wanted: str) -> str:
    while line := (await process.stdout.readline()).decode():
        if wanted in line:
            return line
    raise AssertionError(f"the command ended without {wanted!r}")


async def test_somebody_calls_in_and_the_call_is_printed_and_written(
    application: Application, start: Start, tmp_path: Path
) -> None:
    person = tmp_path / "person.yaml"
    person.write_text("script: [{say: Hello there.}, hang_up]")
    application.answers["/voice"] = application.stream_twiml()
    process = await start(
        "--port=0",
        f"--person={person}",
        f"--wav={tmp_path}",
        f"--call-in={application.url('/voice')}",
    )
    assert "http://127.0.0.1:" in await line_with(process, "TWILIO_API_BASE_URL=")
    assert f"=AC{32 * '0'}\n" in await line_with(process, "TWILIO_ACCOUNT_SID=")
    await line_with(process, "TWILIO_AUTH_TOKEN=")
    assert "Hello there." in await line_with(process, "caller.says")
    await line_with(process, "completed")
    recording = (await line_with(process, "written to")).split()[-1]
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0
    assert recording.startswith(str(tmp_path))
    with wave.open(recording) as file:
        assert file.getnchannels() == 2
        assert file.getnframes() > 0


async def test_a_call_in_progress_is_hung_up_when_the_command_ends(
    application: Application, start: Start
) -> None:
    application.answers["/voice"] = application.stream_twiml()
    process = await start("--port=0", f"--call-in={application.url('/voice')}")
    socket = await application.socket()
    process.send_signal(signal.SIGTERM)
    await socket.until("stop")
    await line_with(process, "completed")
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--person=nowhere.yaml", "nowhere.yaml"),
        ("--port={taken}", "Cannot listen"),
        ("--port=-1", "--port"),
        ("--call-in=nonsense", "/twilio/inbound is needed"),
        ("--wav=/proc/nowhere", "Cannot write to /proc/nowhere"),
    ],
)
async def test_what_cannot_be_is_said_in_a_sentence(
    application: Application, start: Start, option: str, sentence: str
) -> None:
    process = await start(option.format(taken=application.port))
    _, errors = await process.communicate()
    assert sentence in errors.decode()
    assert "Traceback" not in errors.decode()
    assert process.returncode not in (0, None)
