"""Tools of the agent: typed async functions. Names, docstrings and types are told to the model."""

from agent.ports import LiveCall

MANAGER = "+15550100199"
LARGEST_TABLE = 8


async def book_table(call: LiveCall, day: str, guests: int) -> str:
    """Book a table at the restaurant.

    Args:
        day: The weekday, in English.
        guests: How many people come.
    """
    if guests > LARGEST_TABLE:
        await call.transfer(MANAGER)
        return "Tell the caller that you connect them with the manager."
    call.note("table.booked", {"day": day, "guests": guests})
    return f"Booked for {guests} on {day}."
