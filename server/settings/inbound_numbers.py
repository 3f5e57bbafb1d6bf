"""Parses INBOUND_NUMBERS: which pipeline answers which number. Two notations:

+15550100123=phone_call,*=reminder
{"+15550100123": {"pipeline": "phone_call", "greeting": "Good day!"}, "*": "reminder"}
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from server.settings.profile_fields import ProfileFields

# Twilio's are E.164; a short code has fewer digits.
_OUR_NUMBER = re.compile(r"\*|\+[0-9]{1,15}")


class InboundRoute(ProfileFields):
    """The pipeline that answers a number, and the profile fields that it overrides."""

    pipeline: str = Field(min_length=1, max_length=64)


def parse_routes(value: str) -> dict[str, Any]:
    """Parse the routes by number, for Pydantic to validate; `*` is every other number.

    Raises: ValueError, with a sentence.
    """
    pairs = _from_json(value) if value.lstrip().startswith("{") else _from_pairs(value)
    routes: dict[str, Any] = {}
    for number, route in pairs:
        if not _OUR_NUMBER.fullmatch(number):
            raise ValueError(f"{number[:40]!r} is not a number such as +15550100123, and not *")
        if number in routes:
            raise ValueError(f"{number} is there twice")
        routes[number] = {"pipeline": route} if isinstance(route, str) else route
        if not isinstance(routes[number], dict):
            raise ValueError(f"{number}: must be a pipeline's name, or an object with `pipeline`")
    return routes


def _from_json(value: str) -> Iterable[tuple[str, Any]]:
    try:
        # As pairs, so that a number that is there twice can be seen.
        read: _Pairs = json.loads(value, object_pairs_hook=_Pairs)
    except ValueError:
        raise ValueError("is not valid JSON") from None
    return read.pairs


class _Pairs(dict[str, Any]):
    """A JSON object that remembers each of its pairs."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _from_pairs(value: str) -> Iterable[tuple[str, Any]]:
    for part in filter(None, (part.strip() for part in value.split(","))):
        number, equals, pipeline = (word.strip() for word in part.partition("="))
        if not equals or not pipeline:
            raise ValueError("must be NUMBER=PIPELINE pairs such as +15550100123=phone_call")
        yield number, pipeline
