"""A stream and requests are passed on to an instance that is reached by https, of a private CA."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.gemini_live.certificate import LoopbackCertificate, make_certificate
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.relay import owner_watch, relay
from tests.e2e.conftest import GREETING
from tests.e2e.test_relay import OPEN, RELAYED, SECRET, first_sound
from tests.server.conftest import ServerFactory, redis_url
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    say,
    socket,
    start_of,
    token_for,
)

__all__ = ["redis_url"]
pytestmark = pytest.mark.real_time


@pytest.fixture
def certificate(
    gemini: GeminiLiveEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> LoopbackCertificate:
    """Of an authority that SSL_CERT_FILE names, beside that of the emulated Gemini."""
    folder = tmp_path / "tls"
    folder.mkdir()
    made = make_certificate(folder)
    both = Path(os.environ["SSL_CERT_FILE"]).read_bytes() + made.ca_file.read_bytes()
    bundle = folder / "trusted.pem"
    bundle.write_bytes(both)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return made


class TlsProxy:
    """What stands in front of an instance, and speaks TLS for it."""

    def __init__(self, certificate: LoopbackCertificate) -> None:
        self.target = ""
        # The first part of each request's path.
        self.requests: Counter[bytes] = Counter()
        self._certificate = certificate

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its address."""
        context = self._certificate.server_context()
        async with await asyncio.start_server(self._connected, "127.0.0.1", ssl=context) as server:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _connected(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        host, port = self.target.removeprefix("http://").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._pump(client, writer), self._pump(reader, back))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65_536):
                if piece.startswith((b"GET /", b"POST /")):
                    self.requests[piece.split(b"/")[1].split()[0]] += 1
                sink.write(piece)
                await sink.drain()
        finally:
            sink.close()


async def test_streams_and_requests_go_by_tls_to_an_instance_of_a_private_authority(
    start_server: ServerFactory,
    twilio: TwilioEmulator,
    gemini: GeminiLiveEmulator,
    certificate: LoopbackCertificate,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A busy machine changes nothing; and the owner is asked soon whether it lives.
    monkeypatch.setattr(relay, "ACCEPTED_WITHIN_SECS", 10.0)
    monkeypatch.setattr(relay, "REQUEST_TIMEOUT_SECS", 10.0)
    monkeypatch.setattr(owner_watch, "EVERY_SECS", 0.01)
    twilio.anyone = NoAnswer()
    shared: dict[str, Any] = {"redis_url": redis_url, "stream_token_secret": SECRET}
    proxy = TlsProxy(certificate)
    async with (
        proxy.listening() as url,
        start_server(**shared, in_fleet=True) as other,
        start_server(**shared, base_url=other.url, instance_url=url) as home,
    ):
        proxy.target = home.url
        call = await home.place(greeting=GREETING)
        async with socket(other, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, await token_for(other, call)))
            await first_sound(stream)
            assert await other.metric(RELAYED) == await other.metric(OPEN) == 1
            assert (await home.metric(PIPELINES), await other.metric(PIPELINES)) == (1, 0)
            hint = {"text": "Offer a discount."}
            # The claim of the call is on its way to Redis.
            while (
                answer := await other.http.post(f"/calls/{call['id']}/hint", json=hint)
            ).status_code == 409:
                pass
            assert answer.status_code == 204
            # Whether the owner lives was asked meanwhile, and the stream goes on.
            asked = proxy.requests[b"health"]
            while proxy.requests[b"health"] < asked + 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await other.metric(OPEN) == 1
    # The stream, and the hint.
    assert proxy.requests[b"internal"] == 2
