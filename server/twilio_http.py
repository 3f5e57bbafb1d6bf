"""How the twilio SDK sends its requests: by urllib3, and not by the package `requests`,
whose session looks through the environment and makes three objects for each request: that takes
longer than all else that the SDK does.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import urlencode

from twilio.http import HttpClient
from twilio.http.response import Response

from server.rest_connections import RestConnections

REST_ROOT = "https://api.twilio.com"


class TwilioHttp(HttpClient):  # type: ignore[misc]
    """Sends to `root` in place of api.twilio.com, by at most `connections` that are kept alive.

    Other hosts, which the SDK names when an edge or a region is set, have connections of their own.

    Raises: OSError, ValueError, as `RestConnections` does.
    """

    def __init__(self, root: str, *, timeout_secs: float, connections: int) -> None:
        super().__init__(logging.getLogger("twilio.http_client"), False, timeout_secs)
        self._connections = connections
        self._to = {REST_ROOT: self._connect(root)}

    def request(
        self,
        method: str,
        url: str,
        params: Mapping[str, object] | None = None,
        data: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        """Send one request, at most once; no redirect is followed.

        Raises: NotSent, and other HTTPErrors of urllib3's when it may have been sent.
        """
        path_at = url.index("/", len("https://"))
        host, target = url[:path_at], url[path_at:]
        if params:
            target += f"?{_form(params)}"
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = f"Basic {b64encode(':'.join(auth).encode('latin-1')).decode()}"
        body = None
        if data:
            body = json.dumps(data) if "json" in sent.get("Content-Type", "") else _form(data)
        to = self._to.get(host) or self._to.setdefault(host, self._connect(host))
        answer = to.send(method.upper(), target, body=body, headers=sent, timeout_secs=timeout)
        return Response(answer.status, answer.data.decode(errors="replace"), answer.headers)

    def close(self) -> None:
        """Close what is kept alive; nothing can be sent any more."""
        for connections in self._to.values():
            connections.close()

    def _connect(self, root: str) -> RestConnections:
        return RestConnections(root, timeout_secs=self.timeout, connections=self._connections)


def _form(fields: Mapping[str, object]) -> str:
    """Fields as a form has them, without those that have no value."""
    return urlencode([field for field in fields.items() if field[1] is not None], doseq=True)
