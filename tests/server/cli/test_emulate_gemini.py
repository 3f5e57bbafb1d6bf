"""`voice-ai emulate gemini`, as a person types it."""

import os
import signal
import ssl
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

from google import genai
from typer.testing import Result

from tests.server.process_template import ProcessTemplate


def is_file(path: str) -> bool:
    return Path(path).is_file()


async def test_prints_what_a_client_needs_and_serves_until_it_is_stopped(
    process_template: ProcessTemplate, tmp_path: Path
) -> None:
    words = ("emulate", "gemini", "--port", "0", "--setup-secs", "0", "--thinking-secs", "0")
    async with process_template.running(
        *(*words, "--pace", "0"), folder=tmp_path, environment=os.environ, stderr=PIPE
    ) as process:
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
        environment = dict(line.split("=", 1) for line in lines)
        assert list(environment) == ["GOOGLE_GEMINI_BASE_URL", "SSL_CERT_FILE"]
        context = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        options = {
            "base_url": environment["GOOGLE_GEMINI_BASE_URL"],
            "async_client_args": {"ssl": context},
        }
        client = genai.Client(api_key="a-key", http_options=options)
        async with client.aio.live.connect(model="gemini-3.8-live") as session:
            await session.send_realtime_input(text='Say this word for word: "Hello."')
            audio = b"".join([message.data or b"" async for message in session.receive()])
        assert len(audio) > 10_000
        process.send_signal(signal.SIGINT)
        out, error = await process.communicate()
        assert process.returncode == 0, error
        told = out.decode().splitlines()
        assert 'session-1 → text Say this word for word: "Hello."' in told
        assert "session-1 · says Hello." in told
        assert not is_file(environment["SSL_CERT_FILE"])


def test_a_wrong_script_is_named_with_its_line(
    tmp_path: Path, voice_ai: Callable[..., Result]
) -> None:
    script = tmp_path / "wrong.yaml"
    script.write_text("rules:\n  - hear: hello\n")
    result = voice_ai("emulate", "gemini", "--script", str(script))
    assert result.exit_code == 2
    assert "wrong.yaml:2" in "".join(result.output.split("\n")).replace("│", "").replace(" ", "")


def test_a_port_that_there_is_not_is_a_sentence(voice_ai: Callable[..., Result]) -> None:
    result = voice_ai("emulate", "gemini", "--port", "80000")
    assert result.exit_code == 2
    assert "--port" in result.output
    assert "Traceback" not in result.output
