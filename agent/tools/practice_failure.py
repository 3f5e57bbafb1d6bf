"""A tool that always fails: to hear how an agent speaks about it."""


async def look_up_order(number: str) -> str:
    """Look up an order by its number.

    Args:
        number: The order's number.
    """
    raise ConnectionError(f"the order system does not answer for {number}")
