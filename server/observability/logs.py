"""Log lines: readable in development, one JSON object each in production, the call id bound.

A message is constant text and its values are bound (`logger.info("Call ended", status=…)`). What a
person said or could be reached by goes in fields whose names start with `personal_`: at INFO and
above they are redacted, and so are the messages of exceptions and of Pipecat, which may quote
anything, unless LOG_PERSONAL_DATA is set. The standard library's logging (uvicorn, SQLAlchemy,
Twilio) comes here too.
"""

import json
import logging
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from loguru import logger
from urllib3.exceptions import HTTPError

from server.settings.settings import Settings

if TYPE_CHECKING:
    from loguru import Record, RecordException

PERSONAL = "personal_"
REDACTED = "[redacted]"
# The messages of these name code, files and addresses, never what somebody said. Of urllib3's,
# MaxRetryError would quote what was asked for, and `rest_http` never asks again.
FRANK = (
    OSError,
    HTTPError,
    ImportError,
    AttributeError,
    NameError,
    TypeError,
    NotImplementedError,
)
# At INFO these write every step they take, and phone numbers in the addresses of requests.
TALKATIVE = (
    "alembic.runtime",
    "google_genai",
    "httpcore",
    "httpx",
    "twilio.http_client",
    "urllib3",
    "uvicorn.websocket",
    "websockets",
)
# These write what an exception says, or a frame holds, into their messages.
QUOTING = ("pipecat.",)
INFO = 20


def set_up_logs(settings: Settings, sink: TextIO = sys.stderr) -> None:
    """Send all logs of this process to `sink`, in the form of the environment."""
    form = _Json if settings.environment == "production" else _Readable
    logger.remove()
    logger.add(
        sink,
        level=settings.log_level,
        filter=_is_no_banner,
        format=form(show_personal=settings.log_personal_data),
        colorize=False,
        backtrace=False,
        diagnose=False,
    )
    logging.basicConfig(handlers=[_ToLoguru()], level=settings.log_level_number, force=True)
    for name in list(logging.root.manager.loggerDict):
        known = logging.getLogger(name)
        known.handlers.clear()
        known.propagate = True
    # Every server of this process sets the level of all of them.
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_no_banner(record: "Record") -> bool:
    # What the package itself says is who it is; its modules have names of their own.
    return record["name"] != "pipecat" or record["level"].no > INFO


class _Form(ABC):
    """Turns a record into the one line that is written, through loguru's format hook."""

    def __init__(self, *, show_personal: bool) -> None:
        self._show_personal = show_personal

    def __call__(self, record: "Record") -> str:
        """Render the record; loguru then fills the one field it finds in the answer."""
        frank = self._show_personal or record["level"].no < INFO
        fields = {
            key: value if frank or not key.startswith(PERSONAL) else REDACTED
            for key, value in record["extra"].items()
            if key != "line"
        }
        failure = _describe(record["exception"], frank=frank) if record["exception"] else None
        message = record["message"] if frank else _without_quotes(record)
        record["extra"]["line"] = self.line(record, message, fields, failure)
        return "{extra[line]}\n"

    @abstractmethod
    def line(
        self,
        record: "Record",
        message: str,
        fields: Mapping[str, Any],
        failure: list[str] | None,
    ) -> str:
        """The text of one record."""


class _Readable(_Form):
    def line(
        self,
        record: "Record",
        message: str,
        fields: Mapping[str, Any],
        failure: list[str] | None,
    ) -> str:
        bound = " ".join(f"{key}={value}" for key, value in fields.items())
        head = f"{record['time']:HH:mm:ss.SSS} {record['level'].name:<8} {message}"
        return "\n    ".join([f"{head}  {bound}".rstrip(), *(failure or [])])


class _Json(_Form):
    def line(
        self,
        record: "Record",
        message: str,
        fields: Mapping[str, Any],
        failure: list[str] | None,
    ) -> str:
        said = {
            **fields,
            "at": record["time"].isoformat(),
            "level": record["level"].name,
            "message": message,
            "source": f"{record['name']}:{record['line']}",
        }
        if failure:
            said["exception"] = failure
        return json.dumps(said, default=str)


def _without_quotes(record: "Record") -> str:
    """A record's message without what an exception says in it."""
    if (record["name"] or "").startswith(QUOTING):
        return f"{record['name']}:{record['line']} {REDACTED}"
    message = record["message"]
    error = record["exception"].value if record["exception"] else None
    if error is not None and not isinstance(error, FRANK):
        for quote in filter(None, (repr(error), str(error))):
            message = message.replace(quote, REDACTED)
    return message


def _describe(exception: "RecordException", *, frank: bool) -> list[str]:
    """Where and what, innermost last; a message only when it cannot quote a person or a secret."""
    lines = [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(exception.traceback)
    ]
    error = exception.value
    if error is None:
        return lines
    text = str(error) if frank or isinstance(error, FRANK) else REDACTED
    return [*lines, f"{type(error).__qualname__}: {text}"]


class _ToLoguru(logging.Handler):
    """Hands the standard library's records to loguru, from where they were written."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        frame: FrameType | None = logging.currentframe()
        depth = 0
        while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
            frame = frame.f_back
            depth += 1
        logger.opt(depth=depth, exception=record.exc_info).log(level, record.getMessage())
