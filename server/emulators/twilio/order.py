"""A request to place a call, read from the form of `POST /Calls.json`.

Source: https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from server.emulators.twilio.callbacks import EVENTS, Subscription
from server.emulators.twilio.errors import Code, RestError

E164 = re.compile(r"\+[1-9]\d{1,14}")
DEFAULT_TIMEOUT_SECS = 60
LONGEST_TIMEOUT_SECS = 600

Form = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Document:
    """Where TwiML comes from: fetched from a URL, or given as text."""

    url: str = ""
    method: str = "POST"
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Detection:
    """Answering machine detection; `callback_url` tells the result while the call goes on."""

    waits_for_beep: bool = False
    is_async: bool = False
    callback_url: str | None = None
    callback_method: str = "POST"


@dataclass(frozen=True, slots=True)
class Order:
    """A call to place, or one that comes in."""

    from_: str
    to: str
    document: Document
    fallback: Document | None = None
    subscription: Subscription = field(default_factory=Subscription)
    timeout_secs: float = DEFAULT_TIMEOUT_SECS
    detection: Detection | None = None
    # StatusCallbackEvents that Twilio does not know: it warns (21626) and goes on.
    unknown_events: tuple[str, ...] = ()


def read_order(form: Form, our_numbers: frozenset[str]) -> Order:
    """The order in a form.

    Raises: RestError as Twilio refuses it.
    """
    to, from_ = _one(form, "To"), _one(form, "From")
    if not to:
        raise RestError(Code.NO_TO, "No 'To' number is specified")
    if not E164.fullmatch(to):
        raise RestError(
            Code.BAD_TO, f"The phone number you are attempting to call, {to}, is not valid."
        )
    if not from_:
        raise RestError(Code.NO_FROM, "No 'From' number is specified")
    if not E164.fullmatch(from_):
        raise RestError(Code.BAD_FROM, f"The 'From' number {from_} is not a valid phone number.")
    if from_ not in our_numbers:
        raise RestError(
            Code.UNVERIFIED_FROM,
            f"The source phone number provided, {from_}, is not yet verified for your account.",
        )
    asked = [event for value in form.get("StatusCallbackEvent", ()) for event in value.split()]
    fallback = _url(form, "FallbackUrl", Code.BAD_URL)
    return Order(
        from_=from_,
        to=to,
        document=read_document(form),
        fallback=Document(fallback, _method(form, "FallbackMethod")) if fallback else None,
        subscription=Subscription(
            _url(form, "StatusCallback", Code.BAD_STATUS_CALLBACK),
            _method(form, "StatusCallbackMethod"),
            frozenset(asked) & frozenset(EVENTS) or frozenset({"completed"}),
        ),
        timeout_secs=_timeout(form),
        detection=_detection(form),
        unknown_events=tuple(event for event in asked if event not in EVENTS),
    )


def read_document(form: Form) -> Document:
    """The TwiML that a form gives or points at (`Twiml` wins over `Url`, as at Twilio).

    Raises: RestError when it does neither.
    """
    text = _one(form, "Twiml")
    if text:
        return Document(text=text)
    url = _url(form, "Url", Code.BAD_URL)
    if not url:
        raise RestError(Code.BAD_URL, "Url parameter is required.")
    return Document(url, _method(form, "Method"))


def _detection(form: Form) -> Detection | None:
    wanted = _one(form, "MachineDetection")
    if wanted not in ("Enable", "DetectMessageEnd"):
        return None
    return Detection(
        waits_for_beep=wanted == "DetectMessageEnd",
        is_async=_one(form, "AsyncAmd").lower() == "true",
        callback_url=_url(form, "AsyncAmdStatusCallback", Code.BAD_STATUS_CALLBACK),
        callback_method=_method(form, "AsyncAmdStatusCallbackMethod"),
    )


def _one(form: Form, name: str) -> str:
    values = form.get(name)
    return values[-1].strip() if values else ""


def _method(form: Form, name: str) -> str:
    return "GET" if _one(form, name).upper() == "GET" else "POST"


def _url(form: Form, name: str, code: Code) -> str | None:
    url = _one(form, name)
    if not url:
        return None
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise RestError(code, f"{name} is not a valid URL: {url}")
    return url


def _timeout(form: Form) -> float:
    timeout = _one(form, "Timeout")
    if not timeout:
        return DEFAULT_TIMEOUT_SECS
    if not timeout.isdigit() or not 0 < int(timeout) <= LONGEST_TIMEOUT_SECS:
        raise RestError(Code.BAD_TIMEOUT, f"Invalid Timeout: {timeout}")
    return int(timeout)
