import socket
import ssl

import pytest
from google.genai.errors import APIError
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from pipelines.gemini.refusals import (
    HOPELESS,
    HOPELESS_AT_FIRST,
    NoApiKey,
    close_reason,
    presentable,
    refusal,
    sentence,
)


@pytest.mark.parametrize(
    ("error", "name", "is_hopeless"),
    [
        (TimeoutError(), "timeout", False),
        (ConnectionRefusedError(), "ConnectionRefusedError", False),
        (APIError(1011, {}), "refused_1011", False),
        (APIError(1007, {}), "refused_1007", True),
        (InvalidStatus(Response(403, "Forbidden", Headers())), "refused_403", True),
        (ConnectionClosedError(Close(1008, ""), None), "refused_1008", True),
    ],
)
def test_a_refusal_has_a_short_name(error: Exception, name: str, is_hopeless: bool) -> None:
    assert refusal(error) == name
    assert (name in HOPELESS) is is_hopeless


def test_a_close_is_named_by_its_code() -> None:
    assert close_reason(ConnectionClosedError(Close(1011, ""), None)) == "closed_1011"
    assert close_reason(ConnectionClosedError(None, None)) == "connection_lost"
    assert "closed_1008" in HOPELESS


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), "certificate"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name_not_found"),
        (NoApiKey("GEMINI_API_KEY is not set"), "no_api_key"),
        (APIError(1007, {}), "refused_1007"),
    ],
)
def test_what_cannot_succeed_is_tried_once(error: Exception, name: str) -> None:
    assert refusal(error) == name
    assert name in HOPELESS_AT_FIRST


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        ConnectionRefusedError(111, "Connection refused"),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        ssl.SSLError(1, "unexpected eof"),
        APIError(1011, {}),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert refusal(error) not in HOPELESS_AT_FIRST


def answered(status: int, body: bytes) -> InvalidStatus:
    return InvalidStatus(Response(status, "", Headers(), body))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (APIError(1007, "API key not valid.", None), "API key not valid."),
        (APIError(400, {"error": {"message": "No such model."}}), "No such model."),
        (APIError(1011, {}), ""),
        (ConnectionClosedError(Close(1008, "Not allowed."), None), "Not allowed."),
        (ConnectionClosedError(None, None), ""),
        (answered(403, b'{"error": {"code": 403, "message": "Blocked."}}'), "Blocked."),
        (answered(502, b"<html><h1>Bad\n gateway</h1></html>"), "Bad gateway"),
        (answered(503, b"\xff\xfe"), "\ufffd\ufffd"),
        (answered(503, b""), ""),
        (TimeoutError(), ""),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (NoApiKey("GEMINI_API_KEY is not set"), "GEMINI_API_KEY is not set"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(error: Exception, said: str) -> None:
    assert sentence(error) == said


KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"The key {KEY} is wrong", "The key [secret] is wrong"),
        (f"Wrong: {KEY[:9]}", "Wrong: [secret]"),
        ("Wrong: AIzaSyA-b_c", "Wrong: [secret]"),
        ("GET /ws?alt=json&key=other%20key&x=1", "GET /ws?alt=json&[secret]&x=1"),
        ('{"api_key": "other", "code": 1}', '{"[secret]", "code": 1}'),
        ("Authorization: Bearer abc.def-g", "[secret]"),
        ("Authorization: Basic abc=", "[secret]"),
        (f"Wrong key: {KEY}", "Wrong key: [secret]"),
        ("\x1b[31mBearer abc.def (key=other).", "[secret] ([secret])."),
        ("header bearer abc.def", "header [secret]"),
        ("a\x1b[31mred\r\n06:00 ERROR\x00 fake\u202e\u2028!", "a red 06:00 ERROR fake !"),
        ("API key not valid. Please pass a valid API key.",) * 2,
    ],
)
def test_no_secret_and_no_control_character_is_told(text: str, shown: str) -> None:
    assert presentable(text, (KEY,)) == shown


def test_a_long_story_is_cut() -> None:
    assert len(presentable("word " * 1000)) == 300
