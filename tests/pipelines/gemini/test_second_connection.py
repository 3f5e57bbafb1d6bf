"""A second connection: opened beside the first one, and closed again when it is not needed."""

import asyncio

from google.genai import types

from agent.ports import MemoryRecord
from pipelines.gemini.closing_connections import ClosingConnections
from pipelines.gemini.connector import Connector, Opened
from pipelines.gemini.continuity import Continuity, Purpose
from pipelines.gemini.departure import Successor
from pipelines.gemini.leg import Leg
from pipelines.gemini.retry_budget import SessionPatience
from pipelines.gemini.second_connection import SecondConnection
from tests.pipelines.call.test_run_call import scene
from tests.pipelines.model import PlayedModel, refused


class Beside:
    """A second connection of a call whose first one does nothing."""

    def __init__(self, model: PlayedModel) -> None:
        self.legs: Continuity[Leg] = Continuity()
        self.record = MemoryRecord()
        self.briefed: list[Leg] = []
        closing = ClosingConnections()
        connector = Connector(
            model,
            lambda handle: types.LiveConnectConfig(
                session_resumption=types.SessionResumptionConfig(handle=handle)
            ),
            self.record,
            lambda _: None,
            SessionPatience(),
            leave=closing.close_soon,
        )
        self.second = SecondConnection(
            self.legs, connector, closing, self.record, start=self._start, brief=self._brief
        )

    def _start(self, opened: Opened) -> Leg:
        leg = Leg(opened.connection, opened.session, opened.handle, opened.at)
        leg.pump = asyncio.create_task(self._pump(leg))
        return leg

    async def _pump(self, leg: Leg) -> str:
        async for _ in leg.session.receive():
            pass
        return "over"

    async def _brief(self, leg: Leg) -> None:
        self.briefed.append(leg)

    def dismissed(self) -> list[object]:
        """Why connections were closed that stood by."""
        return [detail["why"] for kind, detail in self.record.events if kind == "model.dismissed"]


@scene
async def test_a_successor_continues_the_session_and_waits_to_be_briefed() -> None:
    beside = Beside(model := PlayedModel())
    assert beside.second.successor is Successor.NONE
    beside.second.open(Purpose.SUCCESSOR, "handle")
    assert beside.second.successor is Successor.OPENING
    session = await model.session()
    await asyncio.sleep(0.1)
    assert beside.second.successor is Successor.OPEN
    assert (session.handle, beside.briefed) == ("handle", [])
    assert not beside.second.is_hedge


@scene
async def test_a_hedge_is_briefed_at_once_and_is_no_successor() -> None:
    beside = Beside(model := PlayedModel())
    beside.second.open(Purpose.HEDGE)
    assert beside.second.is_hedge
    session = await model.session()
    await asyncio.sleep(0.1)
    assert session.handle is None
    assert beside.briefed == [beside.legs.beside]
    assert beside.second.successor is not Successor.OPEN


@scene
async def test_a_refusal_is_known() -> None:
    beside = Beside(PlayedModel(refused(1011)))
    beside.second.open(Purpose.SUCCESSOR, "handle")
    await asyncio.sleep(0.2)
    assert not beside.second.is_opening
    assert beside.second.successor is Successor.REFUSED


@scene
async def test_one_that_is_not_needed_is_closed_and_may_be_opened_again() -> None:
    beside = Beside(model := PlayedModel())
    beside.second.open(Purpose.HEDGE)
    await asyncio.sleep(0.2)
    hedge = beside.legs.beside
    beside.second.replace(Purpose.SUCCESSOR, "handle")
    assert beside.dismissed() == ["departing"]
    assert beside.second.successor is Successor.OPENING
    await asyncio.sleep(0.2)
    assert beside.legs.beside is not hedge
    assert hedge is not None
    assert hedge.pump is not None
    assert hedge.pump.cancelled()
    assert len(model.sessions) == 2


@scene
async def test_an_attempt_that_is_not_needed_opens_nothing() -> None:
    beside = Beside(model := PlayedModel())
    beside.second.open(Purpose.HEDGE)
    await asyncio.sleep(0)
    beside.second.dismiss("answered")
    await asyncio.sleep(0.2)
    assert (model.sessions, beside.legs.beside, beside.dismissed()) == ([], None, [])


@scene
async def test_when_the_first_one_is_lost_only_a_hedge_is_still_opened() -> None:
    for purpose, sessions in ((Purpose.SUCCESSOR, 0), (Purpose.HEDGE, 1)):
        beside = Beside(model := PlayedModel())
        beside.second.open(purpose)
        await asyncio.sleep(0)
        beside.second.first_was_lost()
        await asyncio.sleep(0.2)
        assert len(model.sessions) == sessions


@scene
async def test_one_that_is_lost_by_itself_is_forgotten() -> None:
    beside = Beside(model := PlayedModel())
    beside.second.open(Purpose.SUCCESSOR, "handle")
    session = await model.session()
    await asyncio.sleep(0)
    session.drops()
    await asyncio.sleep(0.2)
    assert beside.legs.beside is None
    assert beside.second.successor is Successor.REFUSED
