"""Slow tool for practice: hear how the agent bridges the wait."""

import asyncio

ANSWERS_AFTER_SECS = 3.0


async def check_stock(article: str) -> str:
    """Check whether an article is in stock.

    Args:
        article: What the caller wants to buy.
    """
    await asyncio.sleep(ANSWERS_AFTER_SECS)
    return f"{article}: in stock"
