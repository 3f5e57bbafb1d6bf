"""`voice-ai replay --server URL` against `voice-ai serve` in a process of its own."""

import os
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.http.serving import held_port
from tests.server.process_template import ProcessTemplate

OURS = "+15550100999"

OUTBOUND = """\
call: {greeting: "Hello, this is Ada.", then: hangs_up}
turns:
  - expect:
      - {event: response, text_contains: this is ada, within_ms: 15000}
      - {event: llm_response}
  - user: "What are your opening hours?"
    expect:
      - {event: user_transcription, text_contains: opening hours}
      - {event: response, text_contains: every day, within_ms: 15000}
outcome:
  status: completed
  end_reason: caller
  record:
    - {who: agent, text_contains: Ada}
    - {who: caller, text_contains: opening hours}
    - {who: agent, text_contains: every day}
  heard: ["Hello, this is Ada."]
"""
INBOUND = """\
call: {direction: inbound, greeting: "You called the bakery."}
turns:
  - expect: [{event: response, text_contains: the bakery, within_ms: 15000}]
  - user: "Thank you, goodbye."
    expect: [{event: function_call, calls: [hang_up], within_ms: 15000}]
outcome:
  status: completed
  end_reason: agent
"""
WRONG = """\
call: {greeting: "Hello, this is Ada.", then: hangs_up}
turns:
  - expect:
      - {event: response, text_contains: this is somebody else, within_ms: 4000}
"""


@dataclass
class Served:
    """A server that runs, and what it was told."""

    port: int
    twilio_port: int
    template: ProcessTemplate

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return kept | {
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "TWILIO_ACCOUNT_SID": "AC" + 32 * "1",
            "TWILIO_AUTH_TOKEN": "the-token-of-both",
        }

    def settings(self) -> dict[str, str]:
        route = f'{{"{OURS}": {{"pipeline": "phone_call", "greeting": "You called the bakery."}}}}'
        return self.environment() | {
            "BASE_URL": self.url,
            "TWILIO_API_BASE_URL": f"http://127.0.0.1:{self.twilio_port}",
            "TWILIO_PHONE_NUMBER": OURS,
            "GEMINI_API_KEY": "emulated",
            "INBOUND_NUMBERS": route,
            "API_KEYS": "a-key-of-the-instance",
        }


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    with held_port() as port, held_port() as twilio_port:
        yield port, twilio_port


@pytest.fixture
async def served(
    ports: tuple[int, int], process_template: ProcessTemplate, tmp_path: Path
) -> AsyncIterator[Served]:
    served = Served(*ports, process_template)
    async with (
        GeminiLiveEmulator(Script.default()) as gemini,
        process_template.running(
            *("serve", "--port", str(served.port)),
            folder=tmp_path,
            environment=served.settings() | gemini.environment(),
        ) as process,
    ):
        assert b"Listening" in await process.stdout.readline()
        yield served
        process.terminate()
        await process.wait()


async def replay(served: Served, folder: Path, *words: str) -> tuple[int | None, str]:
    async with served.template.running(
        *("replay", str(folder), "--server", served.url),
        *("--twilio-port", str(served.twilio_port), *words),
        folder=folder,
        environment=served.environment(),
        stderr=STDOUT,
    ) as process:
        said, _ = await process.communicate()
        return process.returncode, said.decode()


@pytest.mark.long
async def test_calls_in_and_out_are_played_and_what_nobody_can_see_is_told(
    served: Served, tmp_path: Path
) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    for name, text in (("outbound", OUTBOUND), ("inbound", INBOUND), ("wrong", WRONG)):
        (folder / f"{name}.yaml").write_text(text)
    code, said = await replay(served, folder, "--api-key", "a-key-of-the-instance")
    assert code == 1, said
    assert "2 passed, 1 failed" in said, said
    assert "wrong.yaml:4: expected response with “this is somebody else”" in said
    assert "saw “Hello, this is Ada.”" in said
    for sign in (
        "outbound.yaml:5: llm_response: only the emulated model can be watched",
        "outbound.yaml:8: user_transcription: only the emulated model can be watched",
        "outbound.yaml:17: the model's words and sound are not known beforehand",
        "inbound.yaml:1: the server answers as its own INBOUND_NUMBERS say, not by greeting",
    ):
        assert f"{sign}" in said, said
        assert "not checked: " in said


async def test_what_the_server_refuses_and_where_nobody_listens_is_broken(
    served: Served, tmp_path: Path
) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "outbound.yaml").write_text(OUTBOUND)
    code, said = await replay(served, folder, "--api-key", "another key")
    assert code == 1
    assert "broke: POST /calls: 401" in said
    with held_port() as nobodys:
        served.port = nobodys
        code, said = await replay(served, folder)
    assert code == 1
    assert "ConnectError" in said
    assert "1 broken" in said
