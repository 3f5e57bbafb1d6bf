"""Checks BASE_URL as Twilio uses it: https, signed webhooks, WebSocket, and the certificate's end.

The requests are signed with the auth token and name a call that does not exist, so that nothing
happens. They come from this machine: an address that only it can reach looks fine to them.
"""

import asyncio
import ssl
from datetime import UTC, datetime
from urllib.parse import urlsplit

import certifi
import httpx
import websockets
from twilio.request_validator import RequestValidator
from websockets.exceptions import InvalidStatus, WebSocketException

from server.doctor.findings import Finding, fail, ok, reason, skip, warn
from server.settings.settings import Settings

NAME = "base url"
SIGNATURE = "signature"
WEBSOCKET = "websocket"
CERTIFICATE = "certificate"
WITHIN_SECS = 10.0
NO_CALL = 32 * "0"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENDS_SOON_DAYS = 14


async def check_base_url(settings: Settings, *, runs: bool) -> list[Finding]:
    """Ask the server by its public address."""
    scheme = [_scheme(settings)]
    if not runs:
        do = "Start `voice-ai serve` (and the tunnel), and run this again."
        return [*scheme, skip(NAME, f"{settings.base_url} is not asked: no server runs here", do)]
    reached = await _reached(settings)
    found = [*scheme, reached]
    if reached.mark == "ok":
        found += [await _signature(settings), await _websocket(settings)]
    if settings.base_url.startswith("https://"):
        found.append(await _certificate(settings.base_url))
    return found


def _scheme(settings: Settings) -> Finding:
    url = settings.base_url
    at_twilio = settings.twilio_is_configured and settings.twilio_api_base_url is None
    if at_twilio and urlsplit(url).hostname in LOOPBACK:
        do = "Set BASE_URL to a public https address: your host's, or a tunnel's."
        return fail(NAME, f"{url}: Twilio cannot reach a loopback address", do)
    if at_twilio and not url.startswith("https://"):
        return warn(NAME, f"{url} is not https: calls can be listened to", "Serve it by https.")
    return ok(NAME, url)


async def _reached(settings: Settings) -> Finding:
    url = f"{settings.base_url}/health/live"
    try:
        async with httpx.AsyncClient(timeout=WITHIN_SECS, verify=_trust()) as http:
            answer = await http.get(url)
        is_ours = answer.json().get("status") in ("ok", "broken")
    except httpx.HTTPError as error:
        do = "Check DNS, the proxy or tunnel in front of the server, and its certificate."
        return fail(NAME, f"{url} cannot be reached: {reason(error)}", do)
    except (ValueError, AttributeError):
        is_ours = False
    if not is_ours:
        do = "Have the proxy or tunnel pass requests on to this server."
        return fail(NAME, f"{url} is answered by something else (HTTP {answer.status_code})", do)
    return ok(NAME, f"{settings.base_url} reaches the server")


async def _signature(settings: Settings) -> Finding:
    """A signed webhook is let in, and one without a signature is not."""
    if settings.twilio_auth_token is None:
        return skip(SIGNATURE, "TWILIO_AUTH_TOKEN not set")
    url = f"{settings.base_url}/twilio/status/{NO_CALL}"
    form = {"CallSid": "CA" + NO_CALL, "CallStatus": "completed"}
    validator = RequestValidator(settings.twilio_auth_token.get_secret_value())
    signed = {"X-Twilio-Signature": validator.compute_signature(url, form)}
    try:
        async with httpx.AsyncClient(timeout=WITHIN_SECS, verify=_trust()) as http:
            taken = await http.post(url, data=form, headers=signed)
            refused = await http.post(url, data=form)
    except httpx.HTTPError as error:
        return fail(SIGNATURE, f"{url} cannot be asked: {reason(error)}", "See the line above.")
    if taken.status_code == 403:
        do = "Start the server with this BASE_URL and TWILIO_AUTH_TOKEN: it checks with others."
        return fail(SIGNATURE, "the server refuses a webhook that is signed", do)
    if taken.status_code >= 500 or taken.status_code in (301, 302, 307, 308):
        do = "Look at the server's log, and at the proxy in front of it."
        return fail(SIGNATURE, f"a signed webhook gets HTTP {taken.status_code}", do)
    if refused.status_code != 403:
        do = "Do not expose this: something answers webhooks without checking them."
        return fail(SIGNATURE, f"an unsigned webhook gets HTTP {refused.status_code}", do)
    return ok(SIGNATURE, "a signed webhook is let in, an unsigned one is refused")


async def _websocket(settings: Settings) -> Finding:
    """A media stream's upgrade is accepted."""
    if settings.twilio_auth_token is None:
        return skip(WEBSOCKET, "TWILIO_AUTH_TOKEN not set")
    url = f"{settings.stream_base_url}/twilio/media/{NO_CALL}"
    validator = RequestValidator(settings.twilio_auth_token.get_secret_value())
    signed = {"X-Twilio-Signature": validator.compute_signature(url, {})}
    try:
        async with asyncio.timeout(WITHIN_SECS):
            tls = _trust() if url.startswith("wss://") else None
            async with websockets.connect(url, additional_headers=signed, ssl=tls):
                pass
    except InvalidStatus as error:
        status = error.response.status_code
        do = "Have the proxy or tunnel pass WebSockets on (Upgrade and Connection headers)."
        return fail(WEBSOCKET, f"{url} answers HTTP {status} instead of a WebSocket", do)
    except (OSError, TimeoutError, WebSocketException) as error:
        do = "Have the proxy or tunnel pass WebSockets on (Upgrade and Connection headers)."
        return fail(WEBSOCKET, f"{url} cannot be opened: {reason(error)}", do)
    return ok(WEBSOCKET, "a media stream can be opened")


async def _certificate(base_url: str) -> Finding:
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        async with asyncio.timeout(WITHIN_SECS):
            _, writer = await asyncio.open_connection(host, port, ssl=_trust())
    except (OSError, TimeoutError) as error:
        says = getattr(error, "verify_message", "") or reason(error)
        return fail(CERTIFICATE, f"{host}: {says}", "Renew or correct the certificate.")
    told = writer.get_extra_info("peercert")
    writer.close()
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(told["notAfter"]), UTC)
    days = (ends - datetime.now(UTC)).days
    says = f"{host}: valid until {ends:%Y-%m-%d}, for {days} days"
    if days < ENDS_SOON_DAYS:
        return warn(CERTIFICATE, says, "Renew it now.")
    return ok(CERTIFICATE, says)


def _trust() -> ssl.SSLContext:
    """What SSL_CERT_FILE or the system trusts, and the public authorities that Twilio trusts."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
