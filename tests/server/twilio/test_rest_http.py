"""Requests of the SDK: sent once or never, and by which way the environment says."""

import asyncio
import contextlib
import hashlib
import re
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from requests import RequestException
from twilio.http.response import Response

from server.emulators.gemini_live.certificate import LoopbackCertificate, make_certificate
from server.http.serving import listen
from server.twilio.rest_http import REST_ROOT, NotSent, TwilioHttp
from tests.server.http_listener import (
    Does,
    answers,
    answers_and_leaves,
    forbids,
    is_silent,
    leaves,
    listening,
    redirects,
    resets,
    says_half,
)


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> LoopbackCertificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@contextlib.contextmanager
def sending(root: str, timeout_secs: float = 5.0) -> Iterator[TwilioHttp]:
    http = TwilioHttp(root, timeout_secs=timeout_secs, connections=2)
    with http.session:
        yield http


async def post(http: TwilioHttp, **more: Any) -> Response:
    order = {"data": {"To": "1"}} | more
    return await asyncio.to_thread(http.request, "POST", f"{REST_ROOT}/Calls.json", **order)


async def test_requests_to_one_server_share_a_connection() -> None:
    form = {"To": "+1 5", "Timeout": None, "Events": ["a", "b"]}
    async with listening() as server:
        with sending(f"{server.url}/twilio") as http:
            for _ in range(2):
                answer = await post(http, data=form, auth=("AC1", "token"))
                assert (answer.status_code, answer.text) == (201, "{}")
    assert server.connections == 1
    for said in server.heard:
        assert said.startswith(b"POST /twilio/Calls.json HTTP/1.1\r\n")
        assert b"\r\nAuthorization: Basic QUMxOnRva2Vu\r\n" in said
        assert said.endswith(b"\r\n\r\nTo=%2B1+5&Events=a&Events=b")


async def test_another_host_of_the_sdk_is_asked_itself() -> None:
    async with listening() as server, listening() as edge:
        with sending(server.url) as http:
            await asyncio.to_thread(http.request, "GET", f"{edge.url}/Calls.json")
    assert (len(edge.heard), server.connections) == (1, 0)


async def test_a_connection_that_was_closed_meanwhile_is_no_error_and_sends_nothing_twice() -> None:
    async with listening(answers_and_leaves) as server:
        with sending(server.url) as http:
            for count in (1, 2):
                server.left.clear()
                assert (await post(http)).status_code == 201
                await server.left.wait()
                assert (len(server.heard), server.connections) == (count, count)


async def test_a_redirect_is_not_followed() -> None:
    async with listening(redirects) as server:
        with sending(server.url) as http:
            assert (await post(http)).status_code == 307
    assert len(server.heard) == 1


@pytest.mark.parametrize("does", [resets, leaves, says_half, is_silent])
@pytest.mark.parametrize("by_proxy", [False, True])
async def test_what_goes_wrong_after_the_request_may_have_been_heard(
    does: Does, by_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(does) as server:
        if by_proxy:
            monkeypatch.setenv("http_proxy", server.url)
        with sending("http://twilio.example" if by_proxy else server.url, 0.3) as http:
            with pytest.raises(RequestException) as failure:
                await post(http, params={"To": "+15550100123"})
            await server.left.wait()
    assert "5550100123" not in str(failure.value)
    assert len(server.heard) == 1


@pytest.mark.parametrize("does", [resets, leaves, says_half, is_silent])
async def test_a_kept_connection_that_fails_is_not_tried_anew(does: Does) -> None:
    async def answers_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (answers if len(server.heard) == 1 else does)(reader, writer)

    async with listening(answers_once) as server:
        with sending(server.url, 0.3) as http:
            await post(http)
            with pytest.raises(RequestException):
                await post(http)
            await server.left.wait()
    assert (len(server.heard), server.connections) == (2, 1)


@pytest.mark.parametrize("by_proxy", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_connection_that_is_refused_sent_nothing(
    scheme: str, by_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen("127.0.0.1", 0) as nobody:
        port = nobody.getsockname()[1]
    if by_proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
    host = "twilio.example" if by_proxy else f"127.0.0.1:{port}"
    with sending(f"{scheme}://{host}") as http, pytest.raises(NotSent, match="refused"):
        await post(http)


async def test_a_name_that_nobody_has_sent_nothing() -> None:
    too_long = "a" * 64
    with sending(f"http://{too_long}.example") as http, pytest.raises(NotSent):
        await post(http)


@pytest.mark.parametrize("does", [resets, leaves, forbids, is_silent])
async def test_a_proxy_that_makes_no_tunnel_was_sent_nothing(
    does: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(does) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with sending("https://twilio.example", 0.3) as http, pytest.raises(NotSent):
            await post(http)
        await proxy.left.wait()
    (asked,) = proxy.heard
    assert asked.startswith(b"CONNECT twilio.example:443 HTTP/1.")


async def test_the_proxy_of_the_environment_is_asked_before_the_one_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with listening() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removeprefix("http://"))
        monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
        with sending("http://twilio.example/rest") as http:
            await post(http)
    (said,) = proxy.heard
    assert said.startswith(b"POST http://twilio.example/rest/Calls.json HTTP/1.1\r\n")
    assert b"\r\nHost: twilio.example\r\n" in said
    assert b"authorization" not in said.lower()


async def test_a_proxy_for_all_is_asked_with_its_login(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as proxy:
        monkeypatch.setenv("all_proxy", proxy.url.replace("://", "://ada:se%3Acret@"))
        with sending("http://twilio.example") as http:
            await post(http)
    (said,) = proxy.heard
    assert b"\r\nProxy-Authorization: Basic YWRhOnNlOmNyZXQ=\r\n" in said


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("does", [resets, forbids])
async def test_the_password_of_a_proxy_is_in_no_error(
    scheme: str, does: Does, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ""
    async with listening(does) as proxy:
        monkeypatch.setenv("all_proxy", proxy.url.replace("://", "://ada:geheim@"))
        with sending(f"{scheme}://twilio.example") as http:
            try:
                said = str((await post(http)).status_code)
            except (NotSent, RequestException):
                said = traceback.format_exc()
    assert said
    assert "geheim" not in said


@pytest.mark.parametrize("apart", ["127.0.0.1", "127.0.0.0/8", "*"])
async def test_no_proxy_is_asked_for_what_no_proxy_names(
    apart: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening() as server, listening() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", apart)
        with sending(server.url) as http:
            assert (await post(http)).status_code == 201
    assert (len(server.heard), len(proxy.heard)) == (1, 0)


@pytest.mark.parametrize("proxy", ["http://u:geheim@127.0.0.1:99999", "http://u:ge/heim@proxy:1"])
def test_a_proxy_that_is_no_address_is_refused_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ValueError, match="proxy of the environment") as refused:
        TwilioHttp("https://twilio.example", timeout_secs=1, connections=1)
    assert "heim" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://", "proxy:3128"])
def test_a_proxy_that_cannot_be_used_is_refused_when_it_is_found(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(ValueError, match=r"[Pp]roxy"):
        TwilioHttp("https://twilio.example", timeout_secs=5, connections=2)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_certificates_are_those_of_the_environment(
    name: str, certificate: LoopbackCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(certificate.ca_file))
    async with listening(tls=certificate.server_context()) as server:
        with sending(server.url) as http:
            for _ in range(2):
                assert (await post(http)).status_code == 201
    assert (len(server.heard), server.connections) == (2, 1)


async def test_a_certificate_that_is_not_trusted_is_sent_nothing(
    certificate: LoopbackCertificate,
) -> None:
    async with listening(tls=certificate.server_context()) as server:
        with sending(server.url) as http, pytest.raises(NotSent, match="CERTIFICATE_VERIFY"):
            await post(http)
    assert server.heard == []


async def test_a_certificate_for_another_name_is_sent_nothing(
    certificate: LoopbackCertificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.ca_file))
    async with listening(host="127.0.0.2", tls=certificate.server_context()) as server:
        with sending(server.url) as http, pytest.raises(NotSent, match="match"):
            await post(http)
    assert server.heard == []


async def test_a_server_that_is_silent_when_tls_begins_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        root = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with sending(root, 0.3) as http, pytest.raises(NotSent, match="timed out"):
            await post(http)


@pytest.mark.parametrize("path", ["/no/such.pem", __file__])
def test_certificates_that_cannot_be_read_are_named(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", path)
    with pytest.raises(OSError, match=f"{re.escape(path)} cannot be read"):
        TwilioHttp("https://twilio.example", timeout_secs=5, connections=2)


async def test_without_tls_no_certificates_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    async with listening(answers) as server:
        with sending(server.url) as http:
            assert (await post(http)).status_code == 201


async def test_certificates_may_be_a_folder(
    certificate: LoopbackCertificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = x509.load_pem_x509_certificate(certificate.ca_file.read_bytes())
    (tmp_path / hashed_name(authority.subject)).write_bytes(certificate.ca_file.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    async with listening(tls=certificate.server_context()) as server:
        with sending(server.url) as http:
            assert (await post(http)).status_code == 201


def hashed_name(subject: x509.Name) -> str:
    """The file in which OpenSSL looks for who is named so, as `openssl rehash` names it."""
    folded = [x509.NameAttribute(one.oid, str(one.value).lower()) for one in subject]
    parts = x509.Name(folded).public_bytes()[2:]  # without the head of their sequence
    digest = hashlib.sha1(parts, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}.0"
