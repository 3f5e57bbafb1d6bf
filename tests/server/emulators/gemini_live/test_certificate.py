"""The emulator's certificate: good for loopback, for the names given, for no others."""

import asyncio
import ssl
from pathlib import Path

import pytest

from server.emulators.gemini_live.certificate import make_certificate


async def shaken(folder: Path, names: tuple[str, ...], asked_as: str) -> None:
    """A TLS handshake in which the client asks for the server by this name."""
    made = make_certificate(folder, names)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=made.server_context()
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=made.client_context(), server_hostname=asked_as
        )
        writer.close()


@pytest.mark.parametrize("asked_as", ["localhost", "127.0.0.1", "gemini", "127.20.3.4"])
async def test_names_that_it_was_given_are_trusted(tmp_path: Path, asked_as: str) -> None:
    await shaken(tmp_path, ("gemini", "127.20.3.4"), asked_as)


async def test_another_name_is_not(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await shaken(tmp_path, ("gemini",), "twilio")
