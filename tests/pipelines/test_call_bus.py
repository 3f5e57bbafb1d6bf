"""The bus of a call: silent between its two sides, and Pipecat's own as soon as it is needed."""

import asyncio

from pipecat.bus import (
    BusEndMessage,
    BusMessage,
    BusSubscriber,
    BusWorkerReadyMessage,
)
from pipecat.utils.asyncio.task_manager import TaskManager
from pipecat.workers.base_worker import BaseWorker
from pipecat.workers.runner import WorkerRunner

from pipelines.call_bus import CallBus


class Side(BusSubscriber):
    """One side: it keeps what it hears."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.heard: asyncio.Queue[BusMessage] = asyncio.Queue()

    @property
    def name(self) -> str:
        return self._name

    async def on_bus_message(self, message: BusMessage) -> None:
        self.heard.put_nowait(message)


def ready() -> BusWorkerReadyMessage:
    return BusWorkerReadyMessage(source="worker", runner="runner")


async def a_bus(*sides: Side) -> CallBus:
    bus = CallBus()
    await bus.setup(TaskManager(loop=asyncio.get_running_loop()))
    for side in sides:
        await bus.subscribe(side)
    return bus


async def test_two_sides_that_announce_themselves_take_no_task() -> None:
    before = asyncio.all_tasks()
    bus = await a_bus(Side("worker"), Side("runner"))
    await bus.start()
    await bus.send(ready())
    assert asyncio.all_tasks() == before
    await bus.stop()


async def test_any_other_message_comes_and_what_was_announced_before_it() -> None:
    before = asyncio.all_tasks()
    worker = Side("worker")
    bus = await a_bus(worker, Side("runner"))
    await bus.start()
    announced, end = ready(), BusEndMessage(source="runner", reason="enough")
    await bus.send(announced)
    await bus.send(end)
    assert [await worker.heard.get(), await worker.heard.get()] == [announced, end]
    later = ready()
    await bus.send(later)
    assert await worker.heard.get() is later
    await bus.stop()
    assert asyncio.all_tasks() == before


async def test_what_is_sent_before_the_start_comes_with_it() -> None:
    worker = Side("worker")
    bus = await a_bus(worker, Side("runner"))
    end = BusEndMessage(source="runner")
    await bus.send(end)
    assert worker.heard.empty()
    await bus.start()
    assert await worker.heard.get() is end
    await bus.stop()


async def test_a_third_side_hears_announcements_and_so_do_the_others_from_the_first_on() -> None:
    worker, third = Side("worker"), Side("third")
    bus = await a_bus(worker, Side("runner"))
    await bus.start()
    first, second = ready(), ready()
    await bus.send(first)
    await bus.subscribe(third)
    await bus.send(second)
    assert await third.heard.get() is second
    assert [await worker.heard.get(), await worker.heard.get()] == [first, second]
    await bus.stop()


async def test_a_worker_that_joins_a_call_ends_it_over_the_bus() -> None:
    runner = WorkerRunner(bus=CallBus(), handle_sigint=False)
    up = asyncio.Event()
    runner.add_event_handler("on_ready", lambda _: up.set())
    await runner.add_workers(BaseWorker("first"))
    running = asyncio.create_task(runner.run())
    await up.wait()
    second = BaseWorker("second")
    await runner.add_workers(second)
    assert not running.done()
    await second.end(reason="enough")
    await running
