"""Failing tool for practice: hear how the agent speaks about an error."""


async def look_up_order(number: str) -> str:
    """Look up an order by its number.

    Args:
        number: The order's number.
    """
    raise ConnectionError(f"the order system does not answer for {number}")
