import asyncio
from collections.abc import Iterator

import pytest

from server.emulators.twilio.line import Line
from server.emulators.twilio.mulaw import PACKET, RATE, SILENCE, encode
from server.emulators.twilio.sound import tone
from server.emulators.twilio.waiting import Changes

LATE_SECS = 0.0007


class LateLoop(asyncio.SelectorEventLoop):
    """A clock that jumps to the next timer, and wakes everybody a little late."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when()) + LATE_SECS  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


@pytest.fixture
def loop() -> Iterator[LateLoop]:
    loop = LateLoop()
    yield loop
    loop.close()


class End:
    """Counts what arrives."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.marks: list[str] = []

    def packet(self, audio: bytes) -> None:
        self.packets.append(audio)

    def reached(self, marks: list[str]) -> None:
        self.marks += marks

    def pressed(self, key: str) -> None:
        raise AssertionError(key)


def test_late_wake_ups_never_add_up(loop: LateLoop) -> None:
    async def talk() -> None:
        line, end = Line(Changes()), End()
        line.attach(end)
        beat = asyncio.create_task(line.keep_time())
        await asyncio.sleep(60.01)
        assert len(end.packets) == 3_000
        assert len(line.spoken) == 60 * RATE
        line.close()
        await beat

    loop.run_until_complete(talk())


def test_after_a_stall_what_was_due_is_sent_at_once(loop: LateLoop) -> None:
    async def talk() -> None:
        line, end = Line(Changes()), End()
        line.attach(end)
        beat = asyncio.create_task(line.keep_time())
        await asyncio.sleep(1.0)
        loop.now += 2.0
        await asyncio.sleep(0.1)
        assert len(end.packets) == 155
        line.close()
        await beat

    loop.run_until_complete(talk())


def test_speech_goes_out_between_silence_and_nothing_is_left_over(loop: LateLoop) -> None:
    async def talk() -> None:
        changes = Changes()
        line, end = Line(changes), End()
        line.attach(end)
        beat = asyncio.create_task(line.keep_time())
        await asyncio.sleep(0.5)
        word = tone(500, 0.21)
        said_at = line.speak(word)
        await changes.until(lambda: len(line.spoken) >= said_at)
        await asyncio.sleep(0.5)
        sent = b"".join(end.packets)
        start = said_at - len(word)
        assert sent[:start] == bytes((SILENCE,)) * start
        assert sent[start:said_at] == encode(word)
        assert set(sent[said_at:]) == {SILENCE}
        line.close()
        await beat

    loop.run_until_complete(talk())


def test_marks_are_reached_in_the_packet_they_belong_to(loop: LateLoop) -> None:
    async def talk() -> None:
        line, end = Line(Changes()), End()
        line.attach(end)
        beat = asyncio.create_task(line.keep_time())
        line.hear(bytes(10 * PACKET))
        assert not line.mark("half")
        line.hear(bytes(10 * PACKET))
        assert not line.mark("end")
        await asyncio.sleep(0.15)
        assert end.marks == []
        await asyncio.sleep(0.15)
        assert end.marks == ["half"]
        await asyncio.sleep(0.15)
        assert end.marks == ["half", "end"]
        line.close()
        await beat

    loop.run_until_complete(talk())
