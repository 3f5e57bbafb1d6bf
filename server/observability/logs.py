"""Sets up logging: text lines in development, JSON lines in production, personal data redacted.

A message is constant text; its values are bound (`logger.info("Call ended", status=…)`). Words and
phone numbers of people go into fields whose names start with `personal_`. At INFO and above these
are redacted, as are the messages of exceptions and of Pipecat, which may quote anything, unless
LOG_PERSONAL_DATA is set. The standard library's logging (uvicorn, SQLAlchemy, Twilio) goes through
loguru too. Control characters are escaped: a record is one line, and a terminal obeys none of it.
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

from server.observability.printable import printable
from server.settings.settings import Settings

if TYPE_CHECKING:
    from loguru import Record, RecordException

PERSONAL = "personal_"
REDACTED = "[redacted]"
# Exceptions whose messages hold code, files and addresses, never what somebody said. Of urllib3's,
# MaxRetryError would quote the request, but `rest_http` never retries.
SAFE_EXCEPTIONS = (
    OSError,
    HTTPError,
    ImportError,
    AttributeError,
    NameError,
    TypeError,
    NotImplementedError,
)
# At INFO these log every step, and phone numbers in URLs.
VERBOSE_LOGGERS = (
    "alembic.runtime",
    "google_genai",
    "httpcore",
    "httpx",
    "twilio.http_client",
    "urllib3",
    "uvicorn.websocket",
    "websockets",
)
# Modules whose messages quote exceptions and frames.
QUOTING_MODULES = ("pipecat.",)
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
    for name in VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_no_banner(record: "Record") -> bool:
    # Pipecat's banner comes from the package itself, other messages from its modules.
    return record["name"] != "pipecat" or record["level"].no > INFO


class _Form(ABC):
    """Turns a record into the one line that is written, through loguru's format hook."""

    def __init__(self, *, show_personal: bool) -> None:
        self._show_personal = show_personal

    def __call__(self, record: "Record") -> str:
        """Render the record into `extra["line"]`, and return the format that prints it."""
        shows_all = self._show_personal or record["level"].no < INFO
        fields = {
            key: value if shows_all or not key.startswith(PERSONAL) else REDACTED
            for key, value in record["extra"].items()
            if key != "line"
        }
        failure = (
            _describe(record["exception"], shows_all=shows_all) if record["exception"] else None
        )
        message = record["message"] if shows_all else _without_quotes(record)
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
        lines = [f"{head}  {bound}".rstrip(), *(failure or [])]
        return "\n    ".join(printable(line) for line in lines)


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
        # JSON escapes every control character but DEL.
        return json.dumps(said, default=str).replace("\x7f", "\\u007f")


def _without_quotes(record: "Record") -> str:
    """The record's message without quoted exceptions."""
    if (record["name"] or "").startswith(QUOTING_MODULES):
        return f"{record['name']}:{record['line']} {REDACTED}"
    message = record["message"]
    error = record["exception"].value if record["exception"] else None
    if error is not None and not isinstance(error, SAFE_EXCEPTIONS):
        for quote in filter(None, (repr(error), str(error))):
            message = message.replace(quote, REDACTED)
    return message


def _describe(exception: "RecordException", *, shows_all: bool) -> list[str]:
    """Traceback (innermost last) and exception; its message only when it cannot quote a person."""
    lines = [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(exception.traceback)
    ]
    error = exception.value
    if error is None:
        return lines
    text = str(error) if shows_all or isinstance(error, SAFE_EXCEPTIONS) else REDACTED
    return [*lines, f"{type(error).__qualname__}: {text}"]


class _ToLoguru(logging.Handler):
    """Passes the standard library's log records to loguru, with their original source."""

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
