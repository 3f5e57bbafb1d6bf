"""Reads Live API messages as far as the SDK's types know them; what is unknown is left out.

A vendor adds fields, messages and enum values without notice. A part that does not fit is removed
and reported as `LeftOut`; the rest of its message is used:

    {"serverContent": {"turnComplete": true, "mood": "x"}}  ─▶ turn_complete · LeftOut mood
    {"somethingNew": {…}} · [1] · not JSON                  ─▶ LeftOut alone

Source: https://ai.google.dev/api/live, BidiGenerateContentServerMessage.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.genai import types

# Messages of the API that a phone call has no use for.
_UNUSED = frozenset({"setupComplete", "voiceActivity", "voiceActivityDetectionSignal"})
_UNUSUAL = re.compile(r"[^A-Za-z0-9_./;=+-]")
_LONGEST_NAME = 80
# At most so many parts of one message are named.
_MOST_NAMED = 20


class LeftOut(NamedTuple):
    """A message, or a part of one, that was not used.

    `what` is one of a few words, for metrics: "not_json", "not_an_object", "message", "part",
    "sound_type" or "failed". `name` says which one, as a path of keys. `said` is what an error
    message of the model says, as it came.
    """

    what: str
    name: str
    said: str = ""


def plain_name(text: object) -> str:
    """A vendor's name in at most 80 harmless characters, for logs and events."""
    return _UNUSUAL.sub("?", str(text)[:_LONGEST_NAME])


def opens_session(raw: str | bytes) -> bool:
    """Whether a message is the API's `setupComplete`, whatever else it holds."""
    read = _parsed(raw)
    return isinstance(read, dict) and "setupComplete" in read


def read_message(raw: str | bytes) -> Iterator[types.LiveServerMessage | LeftOut]:
    """Yield what was left out of a message, then the message if something of it is known."""
    read = _parsed(raw)
    if read is _NOT_JSON:
        yield LeftOut("not_json", "not_json")
        return
    if not isinstance(read, dict):
        yield LeftOut("not_an_object", type(read).__name__)
        return
    error = _error_of(read)
    used = {key: value for key, value in read.items() if key not in _UNUSED}
    names: list[str] = []
    with warnings.catch_warnings():
        # The SDK warns of every enum value that it does not know.
        warnings.simplefilter("ignore")
        message = _read(used)
        if message is None:
            _leave_out(used, _fits, "", names)
            message = _read(used) if used else None
    if message is None and not names:
        names = [plain_name("+".join(used))]  # parts that do not fit together
    what = "part" if message is not None else "message"
    for name in names[:_MOST_NAMED]:
        yield LeftOut(what, name, error if name == "error" else "")
    if message is not None:
        yield message


_NOT_JSON = object()


def _parsed(raw: str | bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _error_of(message: dict[str, Any]) -> str:
    error = message.get("error")
    said = error.get("message") if isinstance(error, dict) else error
    return said if isinstance(said, str) else ""


def _read(message: Any) -> types.LiveServerMessage | None:
    """The message as the SDK's type; None when it does not fit."""
    try:
        return types.LiveServerMessage.model_validate(message)
    except Exception:  # ValidationError; for an enum that is no text, AttributeError
        return None


def _fits(message: Any) -> bool:
    return _read(message) is not None


def _leave_out(part: Any, fits: Callable[[Any], bool], path: str, names: list[str]) -> None:
    """Remove from `part`, in place, what does not fit by itself; add its path to `names`."""
    is_list = isinstance(part, list)
    # From the end, so that the numbers of a list's items stay what they are.
    for key in reversed(range(len(part)) if is_list else list(part)):
        value = part[key]
        where = path if is_list else f"{path}.{key}".lstrip(".")

        def fits_here(inner: Any, key: Any = key) -> bool:
            return fits([inner] if is_list else {key: inner})

        if fits_here(value):
            continue
        if isinstance(value, dict | list) and value and fits_here(type(value)()):
            _leave_out(value, fits_here, where, names)
            if fits_here(value):
                continue
        names.append(plain_name(where))
        del part[key]
