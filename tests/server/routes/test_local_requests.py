"""A server without keys lets in who is near, by a local name, past no proxy, from no web page."""

import pytest
from starlette.datastructures import Headers

from server.routes.local_requests import is_near, may_come_from_other_site, why_not_local
from tests.server.conftest import SHARED, Running
from tests.server.routes.test_bad_input import rejected

PEER = "127.0.0.1"
LOCAL = {"host": "localhost:8000"}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.1.2.3",
        "172.31.0.1",
        "192.168.1.9",
        "169.254.1.1",
        "::1",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:192.168.1.9",
    ],
)
def test_loopback_and_private_addresses_are_near(address: str) -> None:
    assert is_near(address)
    assert why_not_local(address, Headers(LOCAL)) is None


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "testclient",
        "8.8.8.8",
        "172.32.0.1",
        "192.169.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "203.0.113.7",
        "2001:db8::1",
        "::ffff:8.8.8.8",
        "127.1",
        "2130706433",
        "0x7f000001",
    ],
)
def test_every_other_address_is_not_near_whatever_the_headers_say(address: str | None) -> None:
    assert not is_near(address)
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert why_not_local(address, Headers({"host": host, "x-forwarded-for": "127.0.0.1"}))
        assert why_not_local(address, Headers({"host": host}))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000",
        "[::1]:8000",
        "localhost",
        "LOCALHOST",
        "localhost.:8000",
        "voice.localhost:8000",
        "192.168.1.9:8000",
        "[fd00::1]",
    ],
)
def test_a_local_host_may_be_asked(host: str) -> None:
    assert why_not_local(PEER, Headers({"host": host})) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "[",
        "]",
        "ai",
        "voice-ai:8000",
        "8.8.8.8",
        "8.8.8.8:8000",
        "evil.local",
        "db.internal",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f.1",
        "[::]",
        "[2001:db8::1]",
        "localhost:port",
        "evil.example.com:8000",
        "127.0.0.1.evil.example.com",
        "localhost.evil.example.com",
        "evil@localhost",
        "localhost@evil",
        "localhost/evil",
        "localhost, evil",
        "notlocalhost",
    ],
)
def test_every_other_host_is_refused(host: str) -> None:
    assert why_not_local(PEER, Headers({"host": host}))


def test_a_request_has_one_host() -> None:
    twice = Headers(raw=[(b"host", b"localhost"), (b"host", b"localhost")])
    assert why_not_local(PEER, twice)
    assert why_not_local(PEER, Headers({}))


@pytest.mark.parametrize(
    "header",
    [
        "Forwarded",
        "Via",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Real-IP",
        "CF-Connecting-IP",
        "CF-Ray",
        "CDN-Loop",
        "True-Client-IP",
        "X-Client-IP",
        "Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-Forwarded-For",
        "X-Envoy-External-Address",
        "X-Amzn-Trace-Id",
        "X-Azure-Ref",
        "Fly-Client-IP",
        "Fastly-Client-IP",
        "Ngrok-Trace-Id",
        "X-Request-Start",
        "X-Scheme",
        "Front-End-Https",
        "Tailscale-User-Login",
        "X-Nobody-Knows",
    ],
)
def test_a_header_that_clients_do_not_send_is_a_proxys(header: str) -> None:
    why = why_not_local(PEER, Headers(LOCAL | {header: "127.0.0.1"}))
    assert why is not None
    assert header.lower() in why


def test_what_browsers_and_http_clients_send_is_no_proxys() -> None:
    usual = (
        "accept accept-encoding accept-language authorization cache-control connection "
        "content-length content-type cookie dnt idempotency-key if-none-match origin pragma "
        "priority referer sec-ch-ua sec-ch-ua-full-version sec-fetch-mode sec-gpc te traceparent "
        "upgrade-insecure-requests user-agent x-requested-with"
    )
    headers = LOCAL | dict.fromkeys(usual.split(), "127.0.0.1")
    assert why_not_local(PEER, Headers(headers)) is None


OTHER_SITES = [
    {"origin": "https://evil.example.com"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"origin": "http://localhost:8000.evil.example.com"},
    {"origin": "file://"},
    {"origin": "http://["},
    {"referer": "https://evil.example.com/localhost:8000"},
    {"referer": "http://localhost:3000/"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost:8000"},
    {"sec-fetch-site": "same-origin", "origin": "https://evil.example.com"},
    {"sec-fetch-site": "nobody knows"},
]


@pytest.mark.parametrize("headers", OTHER_SITES, ids=repr)
def test_what_a_browser_sends_for_another_site_is_known(headers: dict[str, str]) -> None:
    assert may_come_from_other_site(Headers(LOCAL | headers))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://localhost:8000"},
        {"origin": "http://LOCALHOST:8000", "sec-fetch-site": "same-origin"},
        {"referer": "http://localhost:8000/docs"},
        {"sec-fetch-site": "none"},
    ],
    ids=repr,
)
def test_our_own_pages_and_no_page_are_no_other_site(headers: dict[str, str]) -> None:
    assert not may_come_from_other_site(Headers(LOCAL | headers))


@SHARED
async def test_no_page_of_another_site_reads_or_changes_anything(shared_server: Running) -> None:
    server = shared_server
    call = await server.place()
    before = await server.metric(rejected("other_site"))
    plain = {"Content-Type": "text/plain"}
    asked = [("POST", "/terminate"), ("GET", ""), ("GET", "/events"), ("DELETE", "")]
    for headers in OTHER_SITES:
        for method, rest in asked:
            answer = await server.http.request(
                method, f"/calls/{call['id']}{rest}", headers=plain | headers
            )
            assert answer.status_code == 403
            assert "another site" in answer.json()["detail"]
    refused = len(OTHER_SITES) * len(asked)
    assert await server.metric(rejected("other_site")) == before + refused
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    answer = await server.http.get(f"/calls/{call['id']}", headers=own)
    assert answer.json()["end_reason"] is None
    ended = await server.http.post(f"/calls/{call['id']}/terminate", headers=own)
    assert ended.status_code == 204


@SHARED
@pytest.mark.parametrize("host", ["ai", "8.8.8.8", "evil.local"])
async def test_a_server_asked_by_another_name_refuses(shared_server: Running, host: str) -> None:
    answer = await shared_server.http.get("/calls", headers={"Host": host})
    assert answer.status_code == 401
    assert "API_KEYS" in answer.json()["detail"]
