"""Log lines: their two forms, and that nothing personal and no secret gets into them."""

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from server.observability.logs import REDACTED, set_up_logs
from server.settings.settings import Settings
from server.twilio.rest_http import NotSent

SAID = "my card number is 4111"
# An escape, ends of lines, a bell, a backspace, DEL, C1's escape, bidi overrides and isolates.
OBEYED = "\x1b\n\r\x07\x08\x7f\x85\x9b\u2028\u2029\u202e\u2066\u200f\ufeff"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Other tests get the logging that they had."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logger.remove()
    logging.root.handlers[:], logging.root.level = handlers, level


def lines(**settings: Any) -> tuple[io.StringIO, Settings]:
    sink = io.StringIO()
    made = Settings.model_construct(**Settings().model_dump() | settings)
    set_up_logs(made, sink)
    return sink, made


def test_production_writes_one_json_object_a_line_with_the_call_bound() -> None:
    sink, _ = lines(environment="production")
    with logger.contextualize(call_id="abc"):
        logger.info("A call has ended", status="completed", odd={"a": 'quote " and\nline'})
    logger.warning("Later")
    first, second = (json.loads(line) for line in sink.getvalue().splitlines())
    assert (first["message"], first["call_id"], first["status"], first["level"]) == (
        "A call has ended",
        "abc",
        "completed",
        "INFO",
    )
    assert first["at"].endswith("+00:00") or "T" in first["at"]
    assert "call_id" not in second


def test_development_writes_a_readable_line() -> None:
    sink, _ = lines()
    with logger.contextualize(call_id="abc"):
        logger.info("A call has ended", status="completed")
    assert sink.getvalue().endswith("A call has ended  call_id=abc status=completed\n")


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize(
    ("level", "shows", "visible"),
    [("INFO", False, False), ("ERROR", False, False), ("INFO", True, True), ("DEBUG", False, True)],
)
def test_personal_fields_are_redacted_from_info_on(
    environment: str, level: str, shows: bool, visible: bool
) -> None:
    sink, _ = lines(environment=environment, log_level="DEBUG", log_personal_data=shows)
    logger.log(level, "The caller spoke", personal_text=SAID)
    assert (SAID in sink.getvalue()) is visible
    assert (REDACTED in sink.getvalue()) is not visible


@pytest.mark.parametrize("environment", ["production", "development"])
def test_an_exception_shows_where_and_what_kind_but_not_what_it_quotes(environment: str) -> None:
    sink, _ = lines(environment=environment)
    try:
        secret = SAID
        raise ValueError(secret)
    except ValueError:
        logger.exception("It failed")
    written = sink.getvalue()
    assert "ValueError" in written
    assert "test_logs.py" in written
    assert SAID not in written


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(111, "Connection refused"), NotSent("Connection refused")]
)
def test_an_exception_of_the_system_may_say_what_it_is_about(error: Exception) -> None:
    sink, _ = lines()
    try:
        raise error
    except Exception:
        logger.exception("It failed")
    assert "Connection refused" in sink.getvalue()


def test_the_standard_library_logs_here_too_without_what_is_quoted() -> None:
    sink, _ = lines(environment="production")
    try:
        raise RuntimeError(SAID)
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    logging.getLogger("twilio.http_client").info("Query Params: %s", SAID)
    (line,) = sink.getvalue().splitlines()
    said = json.loads(line)
    assert said["message"] == "Exception in ASGI application"
    assert said["exception"][-1] == f"RuntimeError: {REDACTED}"


@pytest.mark.parametrize(("shows", "visible"), [(False, False), (True, True)])
def test_what_pipecat_says_of_an_exception_may_quote_anybody(shows: bool, visible: bool) -> None:
    sink, _ = lines(log_personal_data=shows)
    pipecats = logger.patch(lambda record: record.update(name="pipecat.processors.frame_processor"))
    pipecats.error(f"MyStep#0 exception (my_step.py:12): {SAID}")
    assert "ERROR" in sink.getvalue()
    assert (SAID in sink.getvalue()) is visible
    assert ("pipecat.processors.frame_processor" in sink.getvalue()) is not visible


def test_a_task_that_nobody_waited_for_does_not_quote_its_exception() -> None:
    sink, _ = lines()

    async def fail() -> None:
        raise ValueError(SAID)

    async def forget_a_task() -> None:
        await asyncio.wait([asyncio.create_task(fail(), name="forgotten")])

    asyncio.run(forget_a_task())
    gc.collect()
    assert "Task exception was never retrieved" in sink.getvalue()
    assert "forgotten" in sink.getvalue()
    assert SAID not in sink.getvalue()


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize("obeyed", [*OBEYED], ids=[f"{ord(obeyed):x}" for obeyed in OBEYED])
def test_what_a_terminal_would_obey_is_never_written(environment: str, obeyed: str) -> None:
    sink, _ = lines(environment=environment, log_personal_data=True)
    text = f"before{obeyed}06:00:00 ERROR fake"
    with logger.contextualize(call_id=text):
        logger.warning(text, personal_from=text, fields={text: [text]})
        logging.getLogger("uvicorn.error").warning(text)
        try:
            raise ValueError(text)
        except ValueError:
            logger.exception("It failed")
    written = sink.getvalue()
    assert not set(written) & (set(OBEYED) - {"\n"})
    heads = [line for line in written.split("\n") if line and not line.startswith("    ")]
    assert len(heads) == 3
    assert not any(line.startswith("06:00:00 ERROR fake") for line in heads)


def test_a_level_that_is_not_wanted_is_not_written() -> None:
    sink, _ = lines(log_level="WARNING")
    logger.info("quiet")
    logging.getLogger("something").info("quiet too")
    assert sink.getvalue() == ""
