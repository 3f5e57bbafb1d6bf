"""TwiML, read: the verbs that the telephone follows, as values.

Source: https://www.twilio.com/docs/voice/twiml
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from xml.etree import ElementTree

from server.emulators.twilio.errors import Code


class TwimlError(Exception):
    """A document that Twilio would not follow."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Stream:
    """`<Connect><Stream>`: a two-way media stream; the next verb comes when its socket closes."""

    url: str
    name: str | None = None
    status_callback: str | None = None
    status_callback_method: str = "POST"
    parameters: dict[str, str] = field(default_factory=dict)
    # Of <Connect>: where to go on, instead of to the next verb.
    action: str | None = None
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go on with another document."""

    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Do not answer an incoming call; `reason` is "rejected" or "busy"."""

    reason: str = "rejected"


@dataclass(frozen=True, slots=True)
class Say:
    """Speak to the person on the phone."""

    text: str
    language: str = "en-US"
    loop: int = 1


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for a while."""

    secs: float = 1.0


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect the person to another number (E.164)."""

    number: str
    timeout_secs: float = 30.0
    caller_id: str | None = None
    action: str | None = None
    method: str = "POST"


Verb = Stream | Redirect | Hangup | Reject | Say | Pause | Dial


def parse(document: str) -> list[Verb]:
    """The verbs of a document, in order.

    Raises: TwimlError for invalid XML, a document type declaration, or anything unknown.
    """
    if "<!DOCTYPE" in document or "<!ENTITY" in document:
        raise TwimlError(Code.TWIML_UNPARSABLE, "Document parse failure: no DTD is allowed")
    try:
        root = ElementTree.fromstring(document.strip())  # noqa: S314 (no DTD, loopback only)
    except ElementTree.ParseError as problem:
        raise TwimlError(Code.TWIML_UNPARSABLE, f"Document parse failure: {problem}") from None
    if root.tag != "Response":
        raise TwimlError(Code.TWIML_UNPARSABLE, f"The root is <{root.tag}>, not <Response>")
    return [_verb(element) for element in root]


def _verb(element: ElementTree.Element) -> Verb:
    reader = _READERS.get(element.tag)
    if reader is None:
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, f"Unknown verb <{element.tag}>")
    return reader(element)


def _connect(element: ElementTree.Element) -> Stream:
    children = list(element)
    if len(children) != 1 or children[0].tag != "Stream":
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, "<Connect> takes exactly one <Stream>")
    stream = children[0]
    parameters: dict[str, str] = {}
    for child in stream:
        name = child.get("name")
        if child.tag != "Parameter" or not name:
            raise TwimlError(Code.TWIML_UNKNOWN_VERB, "<Stream> takes <Parameter name value>")
        parameters[name] = child.get("value", "")
    return Stream(
        url=_required(stream, "url"),
        name=stream.get("name"),
        status_callback=stream.get("statusCallback"),
        status_callback_method=_method(stream, "statusCallbackMethod"),
        parameters=parameters,
        action=element.get("action"),
        method=_method(element),
    )


def _dial(element: ElementTree.Element) -> Dial:
    children = list(element)
    if len(children) > 1 or (children and children[0].tag != "Number"):
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, "<Dial> takes a number or one <Number>")
    number = ((children[0].text if children else element.text) or "").strip()
    if not number:
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, "<Dial> has no number")
    return Dial(
        number=number,
        timeout_secs=_number(element, "timeout", 30.0),
        caller_id=element.get("callerId"),
        action=element.get("action"),
        method=_method(element),
    )


def _redirect(element: ElementTree.Element) -> Redirect:
    url = (element.text or "").strip()
    if not url:
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, "<Redirect> has no URL")
    return Redirect(url, _method(element))


def _say(element: ElementTree.Element) -> Say:
    text = " ".join("".join(element.itertext()).split())
    loop = int(_number(element, "loop", 1))
    return Say(text, element.get("language", "en-US"), loop)


def _required(element: ElementTree.Element, name: str) -> str:
    value = (element.get(name) or "").strip()
    if not value:
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, f"<{element.tag}> has no {name}")
    return value


def _method(element: ElementTree.Element, name: str = "method") -> str:
    method = element.get(name, "POST").upper()
    if method not in ("GET", "POST"):
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, f"<{element.tag} {name}> is not GET or POST")
    return method


def _number(element: ElementTree.Element, name: str, default: float) -> float:
    try:
        value = float(element.get(name, default))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise TwimlError(Code.TWIML_UNKNOWN_VERB, f"<{element.tag} {name}> is not a number")
    return value


_READERS: dict[str, Callable[[ElementTree.Element], Verb]] = {
    "Connect": _connect,
    "Dial": _dial,
    "Hangup": lambda _: Hangup(),
    "Pause": lambda element: Pause(_number(element, "length", 1.0)),
    "Redirect": _redirect,
    "Reject": lambda element: Reject(element.get("reason", "rejected")),
    "Say": _say,
}
