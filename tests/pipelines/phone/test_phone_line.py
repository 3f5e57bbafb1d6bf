"""The line: there before its stream, and still there when the stream is lost."""

import asyncio
import base64

import pytest

from pipelines.phone.phone_line import AT_ONCE_BYTES, MOST_WAITING_BYTES, PhoneLine
from pipelines.phone.twilio_serializer import StreamError
from tests.pipelines.clock import Clock
from tests.pipelines.streams import KeptStream


class Ears:
    """Keeps what is heard on the line."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    async def media(self, payload: bytes) -> None:
        self.heard.append(payload)

    async def key(self, digit: str) -> None:
        self.heard.append(digit)

    async def mark(self, name: str) -> None:
        self.heard.append(("mark", name))


async def test_what_was_played_before_the_stream_came_is_sent_when_it_comes() -> None:
    line, stream = PhoneLine(Clock()), KeptStream()
    await line.play(b"\x01" * 160)
    await line.mark("1:20")
    assert not line.bound
    await line.bind(stream)
    assert stream.events == ["media", "mark"]
    assert line.packets_sent == 1


async def test_what_was_cleared_before_the_stream_came_is_not_sent() -> None:
    line, stream = PhoneLine(Clock()), KeptStream()
    await line.play(b"\x01" * 160)
    await line.clear()
    await line.bind(stream)
    assert stream.events == []


async def test_only_so_much_waits_for_a_stream() -> None:
    line, stream = PhoneLine(Clock()), KeptStream()
    for _ in range(MOST_WAITING_BYTES // 8000 + 5):
        await line.play(b"\x01" * 8000)
    await line.bind(stream)
    assert len(stream.messages) == MOST_WAITING_BYTES // 8000


async def test_what_waited_is_sent_by_the_second_with_its_marks() -> None:
    sent: list[int] = []

    class CountingStream(KeptStream):
        async def send(self, *texts: str) -> None:
            sent.append(len(texts))
            await super().send(*texts)

    line, stream = PhoneLine(Clock()), CountingStream()
    for number in range(3):
        await line.play(bytes(AT_ONCE_BYTES // 2))
        await line.mark(str(number))
    await line.bind(stream)
    assert stream.events == ["media", "mark"] * 3
    assert sent == [3, 3]
    assert line.packets_sent == 3


class HaltingStream(KeptStream):
    """Sends nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def send(self, *texts: str) -> None:
        await self.go.wait()
        await super().send(*texts)

    def sounds(self) -> list[bytes]:
        media = [message["media"] for message in self.messages if message["event"] == "media"]
        return [base64.b64decode(part["payload"])[:1] for part in media]


async def test_what_is_played_while_the_line_catches_up_stays_in_order() -> None:
    line, stream = PhoneLine(Clock()), HaltingStream()
    for sound in (b"a", b"b", b"c"):
        await line.play(sound * 160)
    binding = asyncio.create_task(line.bind(stream))
    await asyncio.sleep(0)
    playing = asyncio.create_task(line.play(b"d" * 160))
    await asyncio.sleep(0)
    stream.go.set()
    await asyncio.gather(binding, playing)
    await line.play(b"e" * 160)
    assert stream.sounds() == [b"a", b"b", b"c", b"d", b"e"]


async def test_what_is_cleared_while_the_line_catches_up_is_not_sent() -> None:
    line, stream = PhoneLine(Clock()), HaltingStream()
    for sound in (b"a", b"b", b"c"):
        await line.play(sound * AT_ONCE_BYTES)
    binding = asyncio.create_task(line.bind(stream))
    await asyncio.sleep(0)
    clearing = asyncio.create_task(line.clear())
    await asyncio.sleep(0)
    stream.go.set()
    await asyncio.gather(binding, clearing)
    assert stream.events == ["media", "clear"]


async def test_a_closed_line_takes_no_stream() -> None:
    line, stream = PhoneLine(Clock()), KeptStream()
    await line.close()
    await line.bind(stream)
    assert stream.closed
    assert not line.bound


async def test_the_call_counts_from_its_first_stream() -> None:
    clock = Clock()
    line = PhoneLine(clock)
    assert line.ms_from_answer(clock.now) == 0
    await line.bind(KeptStream())
    clock.pass_secs(1.5)
    assert line.ms_from_answer(clock.now) == 1500
    await line.bind(KeptStream("MZ2"))
    assert line.ms_from_answer(clock.now) == 1500


async def test_a_lost_stream_is_told_once_and_the_next_one_carries_on() -> None:
    line, lost = PhoneLine(Clock()), []
    line.on_lost = lambda: lost.append(line.bound)
    first, second = KeptStream("MZ1"), KeptStream("MZ2")
    await line.bind(first)
    line.unbind(first)
    line.unbind(first)
    assert lost == [False]
    await line.play(b"\x01" * 160)  # nobody hears it, and nobody will: it is not kept
    await line.bind(second)
    await line.play(b"\x02" * 160)
    assert second.events == ["media"]


async def test_a_newer_stream_takes_the_line_and_the_older_ones_end_is_nobodys_loss() -> None:
    line = PhoneLine(Clock())
    older, newer = KeptStream("MZ1"), KeptStream("MZ2")
    await line.bind(older)
    await line.bind(newer)
    line.unbind(older)
    assert line.bound
    await line.play(b"\x01" * 160)
    assert (older.events, newer.events) == ([], ["media"])


async def test_messages_reach_who_listens() -> None:
    line, ears = PhoneLine(Clock()), Ears()
    line.listen(ears)
    assert await line.receive('{"event":"media","media":{"payload":"//8="}}')
    assert await line.receive('{"event":"dtmf","dtmf":{"digit":"5"}}')
    assert await line.receive('{"event":"mark","mark":{"name":"m"}}')
    assert not await line.receive('{"event":"stop"}')
    assert ears.heard == [b"\xff\xff", "5", ("mark", "m")]
    assert line.packets_received == 1


async def test_a_second_start_is_refused() -> None:
    with pytest.raises(StreamError, match="only once"):
        await PhoneLine(Clock()).receive('{"event":"connected","protocol":"Call"}')


async def test_closing_lets_the_stream_go() -> None:
    line, stream = PhoneLine(Clock()), KeptStream()
    await line.bind(stream)
    await line.close()
    await line.close()
    assert stream.closed
    assert not line.bound
