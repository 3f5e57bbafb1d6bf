"""Cursors for pages of calls: encode and decode where a page ended. Pure functions."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime

_CALL_ID = re.compile(r"[0-9a-f]{1,32}")


class BadCursor(ValueError):
    """The cursor was not made by `cursor_after`."""


def cursor_after(created_at: datetime, call_id: str) -> str:
    """The cursor of a page whose last call was created at `created_at` and has this id."""
    place = json.dumps([created_at.astimezone(UTC).isoformat(), call_id])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """When the last call of the page was created, and its id. Raises: BadCursor."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        at, call_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        when = datetime.fromisoformat(at)
        if when.tzinfo is None or not _CALL_ID.fullmatch(call_id):
            raise ValueError("not a time and an id")
        return when.astimezone(UTC), call_id
    except (binascii.Error, ValueError, TypeError, OverflowError) as error:
        raise BadCursor("the cursor is none of ours") from error
