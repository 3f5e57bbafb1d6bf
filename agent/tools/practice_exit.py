"""Exiting tool for practice: hear that the call goes on, and all other calls with it."""

import sys


async def pay_bill(number: str) -> str:
    """Pay a bill by its number.

    Args:
        number: The bill's number.
    """
    sys.exit(f"there is no key to pay {number} with")
