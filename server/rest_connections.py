"""Connections to one server by urllib3, by the proxy and with the certificates of the environment.

A request is sent at most once. That it was not sent at all is said only where it is certain: what
goes wrong while connecting is `NotSent`. After any later error it may have been heard.

    name, TCP, proxy's CONNECT, TLS    ──▶ NotSent
    request, answer                    ──▶ any other HTTPError of urllib3's
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import unquote

from requests import Session
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, create_urllib3_context, make_headers, parse_url


class NotSent(HTTPError):
    """No connection came about, so nothing was sent."""


class RestConnections:
    """Connections to `root`, of which at most `connections` are kept alive; safe in many threads.

    `timeout_secs` is for connecting, and for each wait for more of the answer.
    Proxy and certificates are found when it is made, where the package `requests` looks for them:
    `HTTPS_PROXY` and its kin, `NO_PROXY`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, certifi.

    Raises: OSError for certificates that cannot be read; ValueError for a proxy that is no address,
    or of another kind than http and https.
    """

    def __init__(self, root: str, *, timeout_secs: float, connections: int) -> None:
        with Session() as session:
            found = session.merge_environment_settings(root, {}, None, None, None)
        proxy = _proxy_address(select_proxy(root, found["proxies"]))
        to = parse_url(root)
        trusted = None
        if "https" in (to.scheme, proxy and proxy.scheme):
            named = found["verify"]
            trusted = _trusting(DEFAULT_CA_BUNDLE_PATH if named is True else named)
        settings: dict[str, Any] = {
            "maxsize": connections,
            "timeout": Timeout(connect=timeout_secs, read=timeout_secs),
            "retries": Retry(False, redirect=False),
            # One for all connections: to read the certificates takes longer than a request.
            "ssl_context": trusted,
        }
        manager = PoolManager(**settings) if proxy is None else _through(proxy, settings)
        self._pool = manager.connection_from_url(root)
        self._pool.ConnectionCls = _Tls if self._pool.scheme == "https" else _Plain
        is_forwarded = proxy is not None and to.scheme == "http"
        self._prefix = root if is_forwarded else (to.path or "")

    def send(
        self,
        method: str,
        target: str,
        *,
        body: str | None,
        headers: dict[str, str],
        timeout_secs: float | None = None,
    ) -> BaseHTTPResponse:
        """Send one request for `target`, a path below the root; the answer is read to its end.

        Raises: NotSent, and other HTTPErrors of urllib3's when it may have been sent.
        """
        return self._pool.urlopen(
            method,
            self._prefix + target,
            body=body,
            headers=headers,
            redirect=False,
            assert_same_host=False,
            timeout=self._pool.timeout if timeout_secs is None else timeout_secs,
        )

    def close(self) -> None:
        """Close what is kept alive; nothing can be sent any more."""
        self._pool.close()


class _Plain(HTTPConnection):
    def connect(self) -> None:
        with _nothing_sent_yet():
            super().connect()


class _Tls(HTTPSConnection):
    def connect(self) -> None:
        with _nothing_sent_yet():
            super().connect()


@contextmanager
def _nothing_sent_yet() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise NotSent(f"No connection: {error}") from error


def _proxy_address(proxy: str | None) -> Url | None:
    if not proxy:
        return None
    try:
        address = parse_url(proxy if "://" in proxy else f"http://{proxy}")
    except LocationParseError:
        # Its text would repeat the password.
        raise ValueError("The proxy of the environment is no address.") from None
    if address.host is None:
        raise ValueError("The proxy of the environment has no host.")
    return address


def _through(proxy: Url, settings: dict[str, Any]) -> ProxyManager:
    login = make_headers(proxy_basic_auth=unquote(proxy.auth)) if proxy.auth else {}
    return ProxyManager(
        proxy.url,
        proxy_headers=login,
        proxy_ssl_context=settings["ssl_context"],
        **settings,
    )


def _trusting(certificates: str) -> SSLContext:
    context = create_urllib3_context()
    try:
        if Path(certificates).is_dir():
            context.load_verify_locations(capath=certificates)
        else:
            context.load_verify_locations(cafile=certificates)
    except OSError as error:
        raise OSError(f"The certificates in {certificates} cannot be read: {error}") from error
    return context
