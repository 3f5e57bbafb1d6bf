"""What the tools do in a call."""

import asyncio
from unittest.mock import create_autospec

from agent.ports import LiveCall

from my_agent.tools import MANAGER, book_table


def test_a_table_is_booked() -> None:
    call = create_autospec(LiveCall, instance=True)
    answer = asyncio.run(book_table(call, day="Friday", guests=4))
    assert answer == "Booked for 4 on Friday."
    call.note.assert_called_once_with("table.booked", {"day": "Friday", "guests": 4})


def test_a_large_party_speaks_with_the_manager() -> None:
    call = create_autospec(LiveCall, instance=True)
    asyncio.run(book_table(call, day="Friday", guests=9))
    call.transfer.assert_awaited_once_with(MANAGER)
