"""TaskProtection follows the number of calls, at an agent as ECS has it, on a real socket."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.calls.task_protection import EXPIRES_MINUTES, STATE_PATH, TaskProtection
from server.emulators.twilio import NoAnswer, TwilioEmulator
from tests.server.conftest import ServerFactory

ARN = "arn:aws:ecs:us-east-1:111122223333:task/voice-ai/1"
PROTECT = {"ProtectionEnabled": True, "ExpiresInMinutes": EXPIRES_MINUTES}
RELEASE = {"ProtectionEnabled": False}


def failure(reason: str) -> tuple[int, Any]:
    return 200, {"failure": {"Arn": ARN, "Reason": reason, "Detail": None}}


def error(code: str) -> tuple[int, Any]:
    return 400, {"requestID": "1", "error": {"Arn": ARN, "Code": code, "Message": "no"}}


class Agent:
    """The ECS agent of one task: does as it is asked, or gives the next of `answers`."""

    uri = ""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[Any] = []
        self.changed = asyncio.Event()

    async def until_asked(self, count: int) -> list[Any]:
        while len(self.asked) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.asked[:count]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                assert length is not None
                body = json.loads(await reader.readexactly(int(length.group(1))))
                status, answer = self._answer(head.split()[:2], body)
                text = json.dumps(answer).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode())
                writer.write(text)
                self.asked.append(body)
                self.changed.set()
        writer.close()

    def _answer(self, request: list[str], body: Any) -> tuple[int, Any]:
        if request != ["PUT", f"/api/task-1{STATE_PATH}"]:
            return 404, {}
        if self.answers:
            return self.answers.pop(0)
        return 200, {"protection": {"TaskArn": ARN, **body}}


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    agent = Agent()
    server = await asyncio.start_server(agent.serve, "127.0.0.1", 0)
    agent.uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/task-1"
    yield agent
    server.close()


@contextlib.asynccontextmanager
async def protection(agent: Agent, calls: list[str], **secs: float) -> AsyncIterator[None]:
    waits = {"look_secs": 0.005, "renew_secs": 60.0, "retry_secs": 0.01} | secs
    protects = TaskProtection(agent.uri, lambda: len(calls), **waits)
    protects.open()
    yield
    await protects.close()


async def test_a_task_is_protected_while_calls_last(agent: Agent) -> None:
    calls: list[str] = []
    async with protection(agent, calls):
        await asyncio.sleep(0.02)
        assert agent.asked == []
        calls.append("c1")
        assert await agent.until_asked(1) == [PROTECT]
        calls.append("c2")
        calls.remove("c1")
        await asyncio.sleep(0.02)
        assert agent.asked == [PROTECT]
        calls.clear()
        assert await agent.until_asked(2) == [PROTECT, RELEASE]
        calls.append("c3")
        assert await agent.until_asked(3) == [PROTECT, RELEASE, PROTECT]


async def test_protection_is_renewed_before_it_expires(agent: Agent) -> None:
    calls = ["c1"]
    async with protection(agent, calls, renew_secs=0.01):
        assert await agent.until_asked(3) == [PROTECT] * 3


@pytest.mark.parametrize("answer", [failure("TASK_NOT_VALID"), error("ThrottlingException")])
async def test_an_agent_that_fails_is_asked_again(agent: Agent, answer: tuple[int, Any]) -> None:
    agent.answers = [answer, (500, "no JSON object"), (200, {"protection": {}})]
    calls = ["c1"]
    async with protection(agent, calls):
        assert await agent.until_asked(4) == [PROTECT] * 4
        calls.clear()
        assert (await agent.until_asked(5))[4] == RELEASE


async def test_an_agent_that_cannot_be_reached_is_asked_again(agent: Agent) -> None:
    agent.uri, there = "http://127.0.0.1:9/api/task-1", agent.uri
    protects = TaskProtection(agent.uri, lambda: 1, look_secs=0.005, retry_secs=0.01)
    protects.open()
    await asyncio.sleep(0.05)
    protects._url = there + STATE_PATH
    assert await agent.until_asked(1) == [PROTECT]
    await protects.close()


async def test_a_deployment_that_waits_gets_the_task(agent: Agent) -> None:
    calls = ["c1"]
    agent.answers = [(200, {"protection": dict(PROTECT)}), failure("DEPLOYMENT_BLOCKED")]
    async with protection(agent, calls, renew_secs=0.01):
        assert await agent.until_asked(3) == [PROTECT, PROTECT, RELEASE]
        # It does not ask again soon, although calls last.
        await asyncio.sleep(0.05)
        assert len(agent.asked) == 3


async def test_nobody_is_asked_any_more_when_it_is_closed(agent: Agent) -> None:
    calls: list[str] = []
    async with protection(agent, calls):
        pass
    calls.append("c1")
    await asyncio.sleep(0.02)
    assert agent.asked == []


async def test_a_server_in_ecs_is_protected_from_the_first_ring_to_the_end(
    agent: Agent, start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    async with start_server(ecs_agent_uri=agent.uri) as server:
        call = await server.place()
        assert await agent.until_asked(1) == [PROTECT]
        await server.http.post(f"/calls/{call['id']}/terminate")
        assert await agent.until_asked(2) == [PROTECT, RELEASE]
