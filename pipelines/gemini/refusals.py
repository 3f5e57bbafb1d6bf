"""Why Gemini refused or closed a session: a short constant for metrics, and its sentence."""

import json
import re
import socket
import ssl
import unicodedata
from collections.abc import Sequence

from google.genai.errors import APIError
from websockets.exceptions import ConnectionClosed, InvalidStatus

CERTIFICATE, NO_SUCH_NAME, NO_API_KEY = "certificate", "name_not_found", "no_api_key"
# Close codes and HTTP statuses that another attempt will hardly change: a wrong key, an unknown
# model, a setup that is not understood.
HOPELESS = frozenset(
    f"{what}_{code}" for what in ("refused", "closed") for code in (400, 401, 403, 404, 1007, 1008)
)
# What makes the first attempt of a call its only one. After a session that was open, the network
# may be what fails.
HOPELESS_AT_FIRST = HOPELESS | {CERTIFICATE, NO_SUCH_NAME, NO_API_KEY}

_LONGEST_SENTENCE = 300
# A key that its end was cut off from is still recognised by so many characters.
_FEWEST_OF_A_KEY = 6
_SECRETS = (
    re.compile(
        r"(?i)\b[\w-]*(?:key|token|secret|password|authorization)[\"']?\s*[=:]\s*[\"']?"
        r"(?:(?:basic|bearer)\s+)?(?!\[secret\])[^\s\"',;&)\]}>]+"
    ),
    re.compile(r"(?i)bearer\s+[^\s\"',;&)\]}>]+"),
    re.compile(r"\bAIza[\w-]*|\bya29\.[\w.-]*"),
)
_ESCAPE_SEQUENCES = re.compile(r"\x1b\[[0-9;?]*[@-~]|\x1b[@-_]")
_TAGS = re.compile(r"<[^<>]*>")


class NoApiKey(Exception):
    """There is no key to open a session with; the message names the setting."""


def refusal(error: BaseException) -> str:
    """Why a session could not be opened: "timeout", "refused_503", or the exception's name."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, NoApiKey):
        return NO_API_KEY
    if isinstance(error, ssl.SSLCertVerificationError):
        return CERTIFICATE
    if isinstance(error, socket.gaierror) and error.errno in (
        socket.EAI_NONAME,
        getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
    ):
        return NO_SUCH_NAME
    code = _code(error)
    return f"refused_{code}" if code is not None else type(error).__name__


def close_reason(error: ConnectionClosed) -> str:
    """Why an open session closed: "closed_1011", or "connection_lost" without a close code."""
    return f"closed_{error.rcvd.code}" if error.rcvd else "connection_lost"


def sentence(error: BaseException, secrets: Sequence[str] = ()) -> str:
    """What Gemini, or the network on the way to it, said of a refusal or a close.

    At most 300 characters on one line, without `secrets` and what looks like one; may be empty.
    """
    if isinstance(error, ConnectionClosed):
        return presentable(error.rcvd.reason if error.rcvd else "", secrets)
    if isinstance(error, InvalidStatus):
        return presentable(_body(bytes(error.response.body or b"")), secrets)
    if isinstance(error, APIError):
        said = error.message or error.details
        return presentable(said if isinstance(said, str) else "", secrets)
    if isinstance(error, ssl.SSLCertVerificationError):
        return presentable(error.verify_message, secrets)
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return presentable(error.strerror or str(error), secrets)
    return presentable(str(error), secrets) if isinstance(error, NoApiKey) else ""


def presentable(text: str, secrets: Sequence[str] = ()) -> str:
    """A stranger's words without control characters and secrets, at most 300 characters."""
    text = _ESCAPE_SEQUENCES.sub(" ", text)
    text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    text = " ".join(text.split())
    for secret in filter(None, secrets):
        text = text.replace(secret, "[secret]")
        for length in range(len(secret) - 1, _FEWEST_OF_A_KEY - 1, -1):
            if text.endswith(secret[:length]):
                text = text[:-length] + "[secret]"
                break
    for pattern in _SECRETS:
        text = pattern.sub("[secret]", text)
    return text[:_LONGEST_SENTENCE]


def _body(body: bytes) -> str:
    """The sentence of an HTTP answer: Google's error message, or the text of a page."""
    text = body[:65536].decode(errors="replace")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return _TAGS.sub(" ", text)
    match read:
        case {"error": {"message": str(message)}} | [{"error": {"message": str(message)}}, *_]:
            return message
    return text


def _code(error: BaseException) -> int | None:
    if isinstance(error, ConnectionClosed):
        return error.rcvd.code if error.rcvd else None
    code = getattr(error, "code", None)
    if code is None:
        code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None
