"""What goes wrong on command."""

import asyncio

import pytest
from google.genai import errors
from websockets.exceptions import InvalidStatus

from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script
from tests.server.emulators.gemini_live.caller import calling

LONG = "This is a rather long sentence that is not said to its end, ever."


def doing(*steps: dict[str, object]) -> Script:
    return Script.parse({"rules": [{"text_contains": "go", "do": list(steps)}]})


async def test_refuses_some_connects_by_http_status() -> None:
    async with GeminiLiveEmulator(Script()) as emulator:
        emulator.faults = [ConnectFault(http_status=503, connects=frozenset({1, 2}))]
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                async with calling(emulator):
                    pass
            assert refused.value.response.status_code == 503
        async with calling(emulator):
            assert emulator.connects == 3


async def test_refuses_a_connect_by_a_close_before_the_setup_is_complete() -> None:
    fault = {"connect": 1, "close": 1011, "reason": "Try later."}
    async with GeminiLiveEmulator(Script.parse({"connects": [fault]})) as emulator:
        with pytest.raises(errors.APIError) as refused:
            async with calling(emulator):
                pass
        assert refused.value.code == 1011
        async with calling(emulator):
            pass


async def test_leaves_a_connect_without_an_answer() -> None:
    async with GeminiLiveEmulator(Script()) as emulator:
        emulator.faults = [ConnectFault(stall=True)]
        with pytest.raises(TimeoutError):
            await _connect_within(emulator, 0.3)
        emulator.faults.clear()
        await _connect_within(emulator, 5)


async def _connect_within(emulator: GeminiLiveEmulator, secs: float) -> None:
    async with asyncio.timeout(secs):
        async with calling(emulator):
            pass


@pytest.mark.parametrize(("step", "code"), [(1011, 1011), (1008, 1008), (True, 1006)])
async def test_drops_in_the_middle_of_a_reply(step: object, code: int) -> None:
    script = doing({"say": LONG, "cut_after_secs": 0.4}, {"drop": step})
    async with GeminiLiveEmulator(script) as emulator, calling(emulator) as caller:
        await caller.ask("Go!")
        await caller.until(lambda c: c.closed)
        assert caller.closed == code
        assert 0 < len(caller.audio) <= 0.4 * 48_000
        assert caller.turns == 0


async def test_goes_silent_with_the_connection_open() -> None:
    script = doing({"say": LONG, "cut_after_secs": 0.4}, {"stall": True}, {"say": "Never."})
    async with GeminiLiveEmulator(script, pace=0) as emulator, calling(emulator) as caller:
        await caller.ask("Go!")
        session = await emulator.session()
        await session.until(lambda s: s.log.turns_complete)
        assert caller.turns == 0
        assert "Never" not in caller.said
        assert session.is_open


async def test_sends_garbage() -> None:
    script = doing({"garbage": "<html>"})
    async with GeminiLiveEmulator(script) as emulator, calling(emulator) as caller:
        await caller.ask("Go!")
        await caller.until(lambda c: c.garbage)
        assert "<html>" in caller.garbage


async def test_drops_stalls_and_babbles_from_outside_the_script() -> None:
    async with GeminiLiveEmulator(doing({"say": "Here I am."}), pace=0) as emulator:
        async with calling(emulator) as caller:
            session = await emulator.session(0)
            await session.send_garbage("{")
            await caller.until(lambda c: c.garbage)
        async with calling(emulator) as caller:
            session = await emulator.session(1)
            session.stall()
            await caller.ask("Go!")
            await session.until(lambda s: s.log.turns_complete)
            assert caller.messages == []
            await session.drop(None)
            await caller.until(lambda c: c.closed)
            assert caller.closed == 1006
            assert session.log.closed is not None
            assert session.log.closed.by == "emulator"


async def test_a_fault_is_one_thing() -> None:
    with pytest.raises(ValueError, match="one of"):
        ConnectFault(http_status=503, stall=True)


@pytest.mark.real_time
async def test_sets_up_late() -> None:
    async with GeminiLiveEmulator(Script(), setup_secs=0.4) as emulator, calling(emulator):
        at = {event.kind: event.at for event in (await emulator.session()).log.events}
        assert at["setupComplete"] - at["setup"] >= 0.4
