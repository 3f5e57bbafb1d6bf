"""Values of CASSETTES, as they are written."""

from typing import Literal

Which = Literal["off", "all", "failed"] | float


def parse_which(value: object) -> Which:
    """CASSETTES as it is written. Raises: ValueError."""
    text = str(value).strip().lower()
    for word in ("off", "all", "failed"):
        if text == word:
            return word
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError("must be off, all, failed, or a share of calls such as 0.05")
    return share
