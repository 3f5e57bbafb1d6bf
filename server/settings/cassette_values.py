"""Values of CASSETTES and CASSETTE_KEY, as they are written."""

import base64
from typing import Literal

Which = Literal["off", "all", "failed"] | float

KEY_BYTES = 32


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


def read_key(text: str) -> bytes:
    """A key as it is written in CASSETTE_KEY: base64 of 32 bytes. Raises: ValueError."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("must be 32 bytes in base64 (openssl rand -base64 32)")
    return key
