"""A real record in a database, migrated as the server does it."""

from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agent.record.call_log import CallLog, open_engine
from agent.record.models import Call, CallStatus, Direction


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def call_log(engine: AsyncEngine) -> CallLog:
    return CallLog(engine)


@pytest.fixture
def a_call() -> Callable[..., Call]:
    """Makes an outbound call that is not kept anywhere yet."""

    def make(**fields: object) -> Call:
        known: dict[str, object] = {
            "direction": Direction.OUTBOUND,
            "status": CallStatus.INITIATED,
            "phone_number": "+15550100",
            "our_number": "+15550199",
            "pipeline": "phone_call",
        }
        return Call(**(known | fields))

    return make
