import pytest
from google.genai.errors import APIError
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response

from pipelines.gemini.refusals import HOPELESS, close_reason, refusal


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
