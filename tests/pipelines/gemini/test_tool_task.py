"""A tool ends nothing but itself, is answered within its time-out, and is let go of if it hangs."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from loguru import logger

from pipelines.gemini.tools import Tool, as_tool
from tests import virtual_time
from tests.pipelines.fakes import FakeCall

FAILED = {"error": "This does not work at the moment."}
TOO_LONG = {"error": "This takes too long at the moment."}


class Base(BaseException):
    """An exception that `except Exception` does not catch."""


async def exits() -> None:
    sys.exit("no key")


async def raises(error: BaseException) -> None:
    raise error


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def awaits_what_was_cancelled() -> None:
    inner = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    inner.cancel()
    await inner


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(exits())


async def lets_a_task_exit() -> None:
    task = asyncio.create_task(exits())
    await asyncio.wait({task})
    assert str(task.exception()) == "SystemExit"
    raise RuntimeError


async def lets_a_task_of_a_task_exit() -> None:
    await asyncio.create_task(lets_a_task_exit())


ENDINGS: dict[str, Callable[[], Awaitable[Any]]] = {
    "exits": exits,
    "is interrupted": lambda: raises(KeyboardInterrupt()),
    "raises GeneratorExit": lambda: raises(GeneratorExit()),
    "raises CancelledError": lambda: raises(asyncio.CancelledError()),
    "raises StopIteration": lambda: raises(StopIteration()),
    "raises a BaseException": lambda: raises(Base()),
    "raises a group": lambda: raises(BaseExceptionGroup("both", [SystemExit(1), Base()])),
    "cancels itself": cancels_itself,
    "awaits a task that was cancelled": awaits_what_was_cancelled,
    "awaits a task that exits": lambda: asyncio.create_task(exits()),
    "waits for what exits": lambda: asyncio.wait_for(exits(), 5),
    "gathers what exits": lambda: asyncio.gather(exits(), asyncio.sleep(1)),
    "shields what exits": lambda: asyncio.shield(exits()),
    "exits in a group": in_a_group,
    "exits in a task": lets_a_task_exit,
    "exits in a task of a task": lets_a_task_of_a_task_exit,
    "exits in a thread": lambda: asyncio.to_thread(sys.exit, 1),
    "awaits nothing that can be awaited": lambda: 1,  # type: ignore[dict-item,return-value]
}


def tool_of(work: Callable[[], Awaitable[Any]], timeout_secs: float = 10.0) -> Tool:
    async def look_up() -> object:
        """Look it up."""
        return await work()

    tool = as_tool(look_up)
    return Tool(tool.name, tool.description, look_up, tool.arguments, None, timeout_secs)


@contextlib.asynccontextmanager
async def logged() -> AsyncIterator[list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    sink = logger.add(lambda line: lines.append({**line.record["extra"], "says": str(line)}))
    try:
        yield lines
    finally:
        logger.remove(sink)


@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_ends_a_tool_becomes_an_answer_and_nothing_else_ends(ending: str) -> None:
    async def scene() -> None:
        other = asyncio.create_task(asyncio.sleep(1, "another call"))
        async with logged() as lines:
            answer = await tool_of(ENDINGS[ending]).run(FakeCall(), {})
        assert answer.response == FAILED
        assert [line["tool"] for line in lines] == ["look_up"]
        # Neither the line nor what is bound to it quotes the exception; the traceback may.
        for line in lines:
            assert "no key" not in str({**line, "says": line["says"].splitlines()[0]})
        assert await other == "another call"

    virtual_time.run(scene())


async def swallows() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    await asyncio.sleep(60)


async def hangs_in_finally() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(60)


async def hangs_below_a_shield() -> None:
    inner = asyncio.create_task(asyncio.sleep(60))
    while not inner.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(inner)


@pytest.mark.parametrize("work", [swallows, hangs_in_finally, hangs_below_a_shield])
def test_a_tool_that_takes_no_notice_is_answered_in_time_and_let_go_of(
    work: Callable[[], Awaitable[Any]],
) -> None:
    async def scene() -> None:
        loop, let_go = asyncio.get_running_loop(), []
        began = loop.time()
        answer = await tool_of(work).run(FakeCall(), {}, let_go=lambda: let_go.append(loop.time()))
        assert answer.response == TOO_LONG
        assert loop.time() - began == pytest.approx(10, abs=0.01)
        assert let_go == []
        await asyncio.sleep(2)
        assert len(let_go) == 1

    virtual_time.run(scene())


def test_a_tool_that_ends_when_it_is_cancelled_is_not_counted() -> None:
    async def scene() -> None:
        let_go: list[None] = []
        hangs = tool_of(lambda: asyncio.Event().wait())
        assert (
            await hangs.run(FakeCall(), {}, let_go=lambda: let_go.append(None))
        ).response == TOO_LONG
        await asyncio.sleep(2)
        assert let_go == []

    virtual_time.run(scene())


def test_a_call_that_ends_does_not_wait_for_a_tool_that_takes_no_notice() -> None:
    async def scene() -> None:
        loop, let_go = asyncio.get_running_loop(), []
        running = asyncio.create_task(
            tool_of(swallows).run(FakeCall(), {}, let_go=lambda: let_go.append(None))
        )
        await asyncio.sleep(1)
        began = loop.time()
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert loop.time() == began
        await asyncio.sleep(2)
        assert len(let_go) == 1

    virtual_time.run(scene())


async def test_a_thread_that_blocks_holds_no_answer_back() -> None:
    released = threading.Event()
    try:
        answer = await tool_of(lambda: asyncio.to_thread(released.wait), 0.05).run(FakeCall(), {})
        assert answer.response == TOO_LONG
    finally:
        released.set()


@pytest.mark.parametrize(
    ("result", "told"),
    [(float("nan"), {"result": None}), (float("inf"), {"result": None}), ("\ud800", FAILED)],
)
async def test_a_result_that_json_does_not_know_never_reaches_the_model(
    result: object, told: dict[str, object]
) -> None:
    async def gives() -> object:
        return result

    assert (await tool_of(gives).run(FakeCall(), {})).response == told
