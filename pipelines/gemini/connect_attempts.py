"""Attempts: opens a connection; when the first attempt hangs, a second one runs beside it.

first    |---- hangs ------------ … cancelled
second         |---- set up ──▶ the session
         1.5 s ^ of somebody's waiting
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from pipelines.gemini.client import Connection, ModelSession


async def open_first(
    connect: Callable[[], Connection],
    *,
    second_after_secs: float,
    somebody_waits: asyncio.Event,
    leave: Callable[[Connection], object],
) -> tuple[Connection, ModelSession]:
    """Enter a connection; whichever attempt is set up first is returned, the other one is left.

    Raises: what the last attempt that failed raises.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    attempts: dict[asyncio.Task[ModelSession], Connection] = {}

    def begin() -> None:
        connection = connect()
        attempts[asyncio.create_task(_enter(connection), name="connecting")] = connection

    waited_for = asyncio.create_task(somebody_waits.wait(), name="somebody waits")
    begin()
    may_begin_another = True
    try:
        while True:
            alone = may_begin_another and somebody_waits.is_set()
            secs = max(0.0, began + second_after_secs - loop.time()) if alone else None
            waiting = {*attempts, *(() if somebody_waits.is_set() else (waited_for,))}
            done, _ = await asyncio.wait(waiting, timeout=secs, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in attempts if task in done]:
                connection = attempts.pop(task)
                if task.exception() is None:
                    return connection, task.result()
                if not attempts:
                    task.result()
            if not done and alone:
                may_begin_another = False
                begin()
    finally:
        waited_for.cancel()
        for task, connection in attempts.items():
            task.cancel()
            task.add_done_callback(_left(connection, leave))


async def _enter(connection: Connection) -> ModelSession:
    return await connection.__aenter__()


def _left(
    connection: Connection, leave: Callable[[Connection], object]
) -> Callable[[asyncio.Task[ModelSession]], None]:
    def leave_if_open(task: asyncio.Task[ModelSession]) -> None:
        with suppress(asyncio.CancelledError):
            if task.exception() is None:
                leave(connection)

    return leave_if_open
