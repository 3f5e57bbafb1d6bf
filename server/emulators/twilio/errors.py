"""Twilio's numbered errors: what the REST API refuses with, and what a call notes down.

Source: https://www.twilio.com/docs/api/errors
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Code(IntEnum):
    """The errors that this emulator knows."""

    UNAUTHORISED = 20003
    NOT_FOUND = 20404
    TOO_MANY_REQUESTS = 20429
    INTERNAL = 20500
    NO_TO = 21201
    BAD_URL = 21205
    BAD_TIMEOUT = 21208
    UNVERIFIED_FROM = 21210
    BAD_TO = 21211
    BAD_FROM = 21212
    NO_FROM = 21213
    NOT_ALLOWED_TO = 21215
    NOT_IN_PROGRESS = 21220
    BAD_STATUS_CALLBACK = 21609
    BAD_STATUS_CALLBACK_EVENT = 21626
    TWIML_UNREACHABLE = 11200
    TWIML_TIMEOUT = 11205
    TWIML_UNPARSABLE = 12100
    TWIML_UNKNOWN_VERB = 12200
    TWIML_CONTENT_TYPE = 12300
    BAD_CALLER_ID = 13214
    STREAM_HANDSHAKE = 31920
    STREAM_PROTOCOL = 31924
    STREAM_OVERFLOW = 31931


_HTTP_STATUS = {
    Code.UNAUTHORISED: 401,
    Code.NOT_FOUND: 404,
    Code.TOO_MANY_REQUESTS: 429,
    Code.INTERNAL: 500,
    Code.NOT_ALLOWED_TO: 403,
}


@dataclass(frozen=True, slots=True)
class CallError:
    """Something that went wrong on a call, as Twilio's debugger would show it."""

    code: int
    message: str


class RestError(Exception):
    """A request that the REST API answers with an error body."""

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        known = code in _HTTP_STATUS
        self.status = status or (_HTTP_STATUS[Code(code)] if known else 400)

    def body(self) -> dict[str, Any]:
        """The JSON that Twilio answers with."""
        return {
            "code": self.code,
            "message": self.message,
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }
