"""Checks Twilio's signatures of webhooks and of media streams.

Source: https://www.twilio.com/docs/usage/security#validating-requests
"""

import hmac
from collections.abc import Mapping

from twilio.request_validator import RequestValidator


class TwilioSignatures:
    """Checks X-Twilio-Signature for the public address, BASE_URL, whatever a proxy rewrites.

    Signatures are compared in constant time. Without an auth token every check fails.
    """

    def __init__(self, auth_token: str | None, *, base_url: str, stream_base_url: str) -> None:
        self._validator = RequestValidator(auth_token) if auth_token else None
        self._base_url = base_url
        self._stream_base_url = stream_base_url

    def signed_webhook(
        self, path: str, query: str, form: Mapping[str, str], signature: str | None
    ) -> bool:
        """Whether Twilio signed this form for this path (and query) of ours.

        A name that comes more than once counts with all its values when `form` has `getlist`, as
        Starlette's multidicts do. Twilio is not consistent about the port of its address, so that
        it is accepted with and without.
        """
        url = self._base_url + path + (f"?{query}" if query else "")
        return any(self._signed(one, form, signature) for one in (url, _other_port_form(url)))

    def signed_upgrade(self, path: str, signature: str | None) -> bool:
        """Whether Twilio signed the upgrade to a WebSocket; only the exact wss:// form counts."""
        return self._signed(self._stream_base_url + path, {}, signature)

    def _signed(self, url: str, form: Mapping[str, str], signature: str | None) -> bool:
        if self._validator is None or not signature:
            return False
        computed = self._validator.compute_signature(url, form)
        return hmac.compare_digest(computed.encode(), signature.encode(errors="replace"))


def _other_port_form(url: str) -> str:
    """The same address without its port, or with its scheme's default port when it has none."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    port = {"https": ":443", "http": ":80"}[scheme]
    name, colon, digits = host.rpartition(":")
    if colon and digits.isdigit():
        return f"{scheme}://{name}{slash}{path}"
    return f"{scheme}://{host}{port}{slash}{path}"
