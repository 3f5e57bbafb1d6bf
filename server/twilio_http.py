"""How the twilio SDK sends its requests: by requests' connections, without requests' sessions.

A session looks through the environment, and makes three objects of each request, which takes longer
than all else that the SDK does. What it would find there is found once.
"""

import json
import logging
from collections.abc import Mapping
from urllib.parse import urlencode

from requests import PreparedRequest, Session
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.hooks import default_hooks
from requests.structures import CaseInsensitiveDict
from twilio.http import HttpClient
from twilio.http.response import Response

REST_ROOT = "https://api.twilio.com"


class TwilioHttp(HttpClient):  # type: ignore[misc]
    """Sends to `root` in place of api.twilio.com, by at most `connections` that are kept alive.

    Proxies and certificates are those of the environment when it is made, as requests reads it.
    What goes wrong on the way raises requests' exceptions.
    """

    def __init__(self, root: str, *, timeout_secs: float, connections: int) -> None:
        super().__init__(logging.getLogger("twilio.http_client"), False, timeout_secs)
        self._root = root
        with Session() as session:
            self._found = session.merge_environment_settings(root, {}, None, None, None)
        self._adapter = HTTPAdapter(pool_maxsize=connections)

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
        """Send one request; no redirect is followed.

        Raises: requests.exceptions.RequestException.
        """
        request = PreparedRequest()
        request.method = method.upper()
        request.url = url.replace(REST_ROOT, self._root, 1)
        if params:
            request.url += f"?{_form(params)}"
        request.headers = CaseInsensitiveDict(headers or {})
        request.hooks = default_hooks()
        if auth is not None:
            HTTPBasicAuth(*auth)(request)
        if data:
            is_json = "json" in request.headers.get("Content-Type", "")
            request.body = json.dumps(data) if is_json else _form(data)
            request.headers["Content-Length"] = str(len(request.body.encode()))
        elif request.method != "GET":
            request.headers["Content-Length"] = "0"
        answer = self._adapter.send(
            request,
            timeout=timeout or self.timeout,
            verify=self._found["verify"],
            cert=self._found["cert"],
            proxies=self._found["proxies"],
        )
        return Response(answer.status_code, answer.content.decode(errors="replace"), answer.headers)

    def close(self) -> None:
        """Close what is kept alive."""
        self._adapter.close()


def _form(fields: Mapping[str, object]) -> str:
    """Fields as a form has them, without those that have no value."""
    return urlencode([each for each in fields.items() if each[1] is not None], doseq=True)
