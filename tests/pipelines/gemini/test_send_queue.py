import asyncio
from typing import cast

from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from pipelines.gemini.client import ModelSession
from pipelines.gemini.send_queue import MOST_UNSENDABLE, MOST_WAITING, Send, SendQueue

SESSION = cast(ModelSession, object())


def says(sent: list[str], text: str) -> Send:
    async def send(session: ModelSession) -> None:
        sent.append(text)

    return send


def fails(error: Exception) -> Send:
    async def send(session: ModelSession) -> None:
        raise error

    return send


async def test_what_waits_is_sent_in_order() -> None:
    queue, sent = SendQueue(), list[str]()
    queue.add_sound(says(sent, "sound"))
    queue.add(says(sent, "text"))
    queue.add(fails(ConnectionClosedError(Close(1011, ""), None)))
    assert await queue.send_to(SESSION) == "closed_1011"
    assert sent == ["sound", "text"]
    assert not queue.is_empty, "what could not be sent waits for the next session"


async def test_a_full_queue_drops_the_oldest_sound_and_no_text() -> None:
    queue, sent = SendQueue(), list[str]()
    queue.add(says(sent, "text"))
    for number in range(MOST_WAITING):
        queue.add_sound(says(sent, str(number)))
    queue.add(fails(OSError()))
    assert await queue.send_to(SESSION) == "OSError"
    assert sent == ["text", *(str(number) for number in range(1, MOST_WAITING))]


async def test_a_message_that_cannot_be_sent_is_left_out() -> None:
    queue, sent = SendQueue(), list[str]()
    queue.add(fails(ValueError()))
    queue.add(says(sent, "text"))
    sending = asyncio.create_task(queue.send_to(SESSION))
    await asyncio.sleep(0)
    assert sent == ["text"]
    assert queue.is_empty
    sending.cancel()


async def test_a_session_that_takes_no_message_is_given_up() -> None:
    queue = SendQueue()
    for _ in range(MOST_UNSENDABLE):
        queue.add(fails(ValueError()))
    assert await queue.send_to(SESSION) == "ValueError"
