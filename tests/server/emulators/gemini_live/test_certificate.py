"""The emulator's certificate: for loopback and names given; a new one, or one that stays."""

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator, certificate
from server.emulators.gemini_live.certificate import kept_certificate, make_certificate


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


async def handshake(port: int, context: ssl.SSLContext) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.close()


async def test_a_client_trusts_the_same_file_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "certificate"
    async with GeminiLiveEmulator(certificate_folder=folder) as first:
        assert first.environment()["SSL_CERT_FILE"] == str(folder / "ca.pem")
        trusting = first.client_context()
    async with GeminiLiveEmulator(certificate_folder=folder) as second:
        await handshake(int(second.url.rpartition(":")[2]), trusting)
    async with GeminiLiveEmulator() as stranger:
        with pytest.raises(ssl.SSLCertVerificationError):
            await handshake(int(stranger.url.rpartition(":")[2]), trusting)


def test_one_that_ends_soon_or_is_broken_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certificate"
    monkeypatch.setattr(certificate, "VALID_FOR", timedelta(hours=20))
    short = kept_certificate(folder).ca_file.read_bytes()
    monkeypatch.undo()
    made = kept_certificate(folder)
    long = made.ca_file.read_bytes()
    assert long != short
    assert kept_certificate(folder).ca_file.read_bytes() == long
    assert made.key_file.stat().st_mode & 0o077 == 0
    made.key_file.unlink()
    assert kept_certificate(folder).ca_file.read_bytes() != long
    assert [path.name for path in tmp_path.iterdir()] == ["certificate"]
