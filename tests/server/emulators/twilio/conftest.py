"""The emulator, an application for it to call, and the plain twilio SDK pointed at it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from server.emulators.twilio import TwilioEmulator
from tests.server.emulators.twilio.application import Application


class LocalHttpClient(TwilioHttpClient):  # type: ignore[misc]
    """Sends what is meant for Twilio's REST API to another root."""

    def __init__(self, root: str, timeout: float = 10.0) -> None:
        super().__init__(timeout=timeout)
        self._root = root

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(
            method, url.replace("https://api.twilio.com", self._root), *args, **kwargs
        )


def sdk(twilio: TwilioEmulator, *, token: str | None = None, timeout: float = 10.0) -> Client:
    """The SDK with the emulator's credentials."""
    return Client(
        twilio.account_sid,
        token or twilio.auth_token,
        http_client=LocalHttpClient(twilio.url, timeout),
    )


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    async with Application().running() as application:
        application.answers["/twiml"] = "<Response/>"
        yield application


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioEmulator]:
    async with TwilioEmulator(numbers=["+15550001"]) as twilio:
        yield twilio


def form(application: Application, **more: str) -> dict[str, list[str]]:
    """An order to place a call, as `POST /Calls.json` brings it, with every callback."""
    return {
        "To": ["+15550100"],
        "From": ["+15550001"],
        "Url": [application.url("/twiml")],
        "StatusCallback": [application.url("/status")],
        "StatusCallbackEvent": ["initiated", "ringing", "answered", "completed"],
    } | {name: [value] for name, value in more.items()}
