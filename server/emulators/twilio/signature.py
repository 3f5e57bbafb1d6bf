"""X-Twilio-Signature, as Twilio makes it.

Source: https://www.twilio.com/docs/usage/security#validating-requests
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urldefrag

HEADER = "X-Twilio-Signature"


def sign(auth_token: str, url: str, form: Iterable[tuple[str, str]] = ()) -> str:
    """The signature of a request: HMAC-SHA1 over the URL and the sorted form, in base64.

    `url` is the exact public URL with its query; a fragment (connection overrides) is no part
    of what is sent, nor of what is signed. A WebSocket upgrade signs the URL alone.
    """
    pairs = sorted(set(form))
    signed = urldefrag(url).url + "".join(name + value for name, value in pairs)
    digest = hmac.new(auth_token.encode(), signed.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
