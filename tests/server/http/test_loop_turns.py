"""Work that arrives together is done a few pieces in a turn; so is what many connections send."""

import asyncio
import contextlib
import os
from collections.abc import Iterator

from fastapi import FastAPI, Request, Response

from server.http.http_protocol import PARSED_EACH_TURN
from server.http.loop_turns import TurnQueue
from server.http.serving import listen, serving


class Turns:
    """The number of the running loop's turn."""

    def __init__(self) -> None:
        self.number = 0
        self._next()

    def _next(self) -> None:
        self.number += 1
        self._ticking = asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        self._ticking.cancel()


@contextlib.contextmanager
def counted_turns() -> Iterator[Turns]:
    turns = Turns()
    try:
        yield turns
    finally:
        turns.stop()


async def test_a_few_pieces_are_done_in_each_turn_and_all_in_their_order() -> None:
    queue, done = TurnQueue(3), list[tuple[int, int]]()

    def work(number: int) -> bool:
        done.append((turns.number, number))
        # Every fifth was not needed any more.
        return number % 5 != 4

    with counted_turns() as turns:
        for number in range(20):
            queue.do(lambda number=number: work(number))  # type: ignore[misc]
        assert [number for _, number in done] == [0, 1, 2]
        while len(done) < 20:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert [number for _, number in done] == list(range(20))
    needed = [turn for turn, number in done if number % 5 != 4]
    assert [needed.count(turn) for turn in sorted(set(needed))] == [3, 3, 3, 3, 3, 1]


async def test_work_that_comes_later_is_done_at_once_again() -> None:
    queue, done = TurnQueue(1), []
    queue.do(lambda: bool(done.append(1)) or True)
    for _ in range(3):
        await asyncio.sleep(0)
    queue.do(lambda: bool(done.append(2)) or True)
    assert done == [1, 2]


async def test_work_that_fails_does_not_keep_what_is_behind_it_waiting() -> None:
    queue, done, failed = TurnQueue(1), list[int](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(what))

    def fail() -> bool:
        raise ValueError("this one fails")

    queue.do(lambda: bool(done.append(1)) or True)
    queue.do(fail)
    queue.do(lambda: bool(done.append(2)) or True)
    while not failed:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == [1, 2]


async def test_what_many_connections_send_at_once_is_parsed_a_few_in_a_turn() -> None:
    app, started = FastAPI(), []

    @app.get("/")
    async def here() -> Response:
        started.append(turns.number)
        return Response("here")

    bound = listen("127.0.0.1", 0)
    async with serving(app, bound):
        peers = [await asyncio.open_connection(*bound.getsockname()) for _ in range(40)]
        with counted_turns() as turns:
            # All have arrived before the loop looks again.
            for _, writer in peers:
                connection = writer.transport.get_extra_info("socket")
                os.write(connection.fileno(), b"GET / HTTP/1.1\r\n\r\n")
            for reader, _ in peers:
                assert await reader.readuntil(b"here")
        for _, writer in peers:
            writer.close()
    assert max(map(started.count, started)) == PARSED_EACH_TURN


async def test_bodies_of_many_connections_are_whole() -> None:
    app = FastAPI()

    @app.post("/")
    async def count(request: Request) -> Response:
        return Response(f"<{len(await request.body())}>")

    async def send(body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        for path in (b"/", b"/"):
            writer.write(b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path, len(body)))
            for start in range(0, len(body), 10_000):
                writer.write(body[start : start + 10_000])
                await asyncio.sleep(0)
        answers = [await reader.readuntil(b">") for _ in range(2)]
        writer.close()
        return b"".join(answer.rpartition(b"\r\n")[2] for answer in answers)

    bound = listen("127.0.0.1", 0)
    sizes = [0, 100, 9_999, 200_000] * 10
    async with serving(app, bound):
        answers = await asyncio.gather(*(send(b"x" * size) for size in sizes))
    assert answers == [b"<%d>" % size * 2 for size in sizes]
