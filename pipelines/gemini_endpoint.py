"""Where google-genai opens its sessions, and as whom: all that we take from the SDK's inside."""

from typing import Literal
from urllib.request import getproxies

from google import genai
from google.genai.live import AsyncSession
from websockets.asyncio.client import ClientConnection

_SERVICE = "google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"


class GeminiEndpoint:
    """What a WebSocket to Gemini Live is opened with, as the SDK has it for a client's API key.

    The SDK itself reads GOOGLE_GEMINI_BASE_URL and SSL_CERT_FILE. A proxy is found as websockets
    finds it: https://websockets.readthedocs.io/en/stable/topics/proxies.html
    """

    def __init__(self, api_key: str) -> None:
        # Said here, and not left to the environment: a setup in the form of the Gemini API is no
        # setup of Vertex AI.
        self._client = genai.Client(api_key=api_key, vertexai=False)
        self._sdk = self._client.aio.live._api_client
        options = self._sdk._http_options
        service = _SERVICE.format(version=options.api_version)
        self.uri = f"{self._sdk._websocket_base_url()}/ws/{service}"
        self.headers = dict(options.headers or {})
        self.tls = self._sdk._websocket_ssl_ctx["ssl"]
        # Where there is none, websockets would look for one in the whole environment, each time.
        self.proxy: Literal[True] | None = True if getproxies().keys() - {"no"} else None

    def session(self, socket: ClientConnection) -> AsyncSession:
        """The SDK's session over a socket that is set up."""
        return AsyncSession(api_client=self._sdk, websocket=socket)

    async def aclose(self) -> None:
        """Close what the SDK keeps open."""
        await self._client.aio.aclose()
