"""Runs a tool's function in a task of its own, so that it can end nothing but itself.

    called ─▶ task ─┬─▶ returns ────────────────▶ the result
                    ├─▶ raises, is cancelled ───▶ ToolFailed
                    └─▶ time-out ─▶ cancelled ──▶ TimeoutError at once
                                        └─ runs on after a second ─▶ let go of, and counted

Asyncio passes SystemExit and KeyboardInterrupt of any task on to its loop, which then stops for all
calls. Both become ToolExit here: in the tool's task, and in every task that is created from it.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

from loguru import logger

# How long a tool may take to end once it is cancelled.
ENDS_WITHIN_SECS = 1.0

_inside_a_tool = contextvars.ContextVar("inside_a_tool", default=False)


class ToolFailed(Exception):
    """The tool raised, or was cancelled by something of its own; `__cause__` is what it raised."""


class ToolExit(Exception):
    """The tool, or a task of its own, asked for the end of the process."""


async def run_apart(
    work: Callable[[], Awaitable[Any]],
    *,
    name: str,
    timeout_secs: float,
    let_go: Callable[[], None],
) -> Any:
    """Run `work` in a task of its own; return its result.

    Work that is still running a second after it was cancelled is let go of: it runs on, `let_go`
    counts it, and nobody waits for it.

    Raises: TimeoutError, ToolFailed.
    """
    loop = asyncio.get_running_loop()
    _contain_tasks_of_tools(loop)
    context = contextvars.copy_context()
    context.run(_inside_a_tool.set, True)
    task = loop.create_task(_contained(work), name=f"body of tool {name}", context=context)
    try:
        await asyncio.wait({task}, timeout=timeout_secs)
    except asyncio.CancelledError:
        _cancel(task, name, let_go)
        raise
    if not task.done():
        _cancel(task, name, let_go)
        raise TimeoutError
    if task.cancelled():
        raise ToolFailed from asyncio.CancelledError()
    error = task.exception()
    if isinstance(error, TimeoutError):
        raise error
    if error is not None:
        raise ToolFailed from error
    return task.result()


async def _contained(work: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        raise ToolExit(type(error).__name__) from error


def _cancel(task: asyncio.Task[Any], name: str, let_go: Callable[[], None]) -> None:
    """Cancel a task without waiting for it; look a little later whether it has ended."""

    def look() -> None:
        if not task.done():
            logger.warning("A tool does not end; it runs on, and is let go of", tool=name)
            let_go()

    # What it raises on its way out interests nobody, and its text may be personal.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    task.cancel()
    asyncio.get_running_loop().call_later(ENDS_WITHIN_SECS, look)


def _contain_tasks_of_tools(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop contain each task that is created from within a tool."""
    factory = loop.get_task_factory()
    if not isinstance(factory, _TaskFactory):
        loop.set_task_factory(_TaskFactory(factory or asyncio.Task))


class _TaskFactory:
    """Creates tasks as `make` does; those of tools turn an exit into an error."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(
        self, loop: asyncio.AbstractEventLoop, coro: Any, /, **options: Any
    ) -> "asyncio.Future[Any]":
        if _inside_a_tool.get():
            body = coro
            coro = _contained(lambda: body)
        if self._make is asyncio.Task:
            return asyncio.Task(coro, loop=loop, **options)
        made: asyncio.Future[Any] = self._make(loop, coro, **options)
        return made
