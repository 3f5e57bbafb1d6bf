"""HTTP client for the twilio SDK that tells which requests were certainly not sent.

A request is sent at most once, and redirects are not followed. An error while connecting (DNS, TCP,
proxy, TLS) is `NotSent`; after a RequestException (an OSError) Twilio may have received it.
"""

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from urllib3 import HTTPConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import parse_url

REST_ROOT = "https://api.twilio.com"


class NotSent(HTTPError):
    """The connection failed, so nothing was sent."""


class TwilioHttp(TwilioHttpClient):  # type: ignore[misc]
    """Sends to `root` in place of api.twilio.com, through the proxy of the environment.

    `timeout_secs` is for connecting, and for each wait for more of the answer.

    Raises: OSError for certificates that cannot be read, ValueError for an unusable proxy.
    """

    def __init__(self, root: str, *, timeout_secs: float, connections: int) -> None:
        super().__init__(timeout=timeout_secs)
        self._root = root
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Adapter(pool_maxsize=connections, max_retries=Retry(False)))
        found = self.session.merge_environment_settings(root, {}, None, None, None)
        if proxy := select_proxy(root, found["proxies"]):
            _check_proxy(proxy)
        if root.startswith("https://") and found["verify"] is not True:
            _check_certificates(found["verify"])

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        """Send one request. Raises: NotSent; RequestException when it may have been sent."""
        return super().request(method, url.replace(REST_ROOT, self._root, 1), *args, **kwargs)


class _Http(HTTPConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except Exception as error:
            raise NotSent(f"No connection: {error}") from error


class _Https(_Http, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _Https if pool.scheme == "https" else _Http
        return pool


def _check_proxy(proxy: str) -> None:
    with suppress(LocationParseError):
        address = parse_url(proxy)
        if address.scheme in (None, "http", "https") and address.host:
            return
    # It may hold a password, so it is not quoted.
    raise ValueError("The proxy of the environment must be an http:// or https:// address.")


def _check_certificates(path: str) -> None:
    found = {"capath" if Path(path).is_dir() else "cafile": path}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**found)
    except OSError as error:
        raise OSError(f"The certificates in {path} cannot be read: {error}") from error
