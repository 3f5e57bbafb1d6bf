"""Checks Twilio: credentials, the number and its webhook.

Sources: https://www.twilio.com/docs/iam/api/account,
https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
"""

import asyncio

from requests.exceptions import RequestException
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client
from urllib3.exceptions import HTTPError

from server.doctor.findings import Finding, fail, ok, reason, warn
from server.doctor.settings_check import missing
from server.settings.settings import Settings
from server.twilio.rest_http import REST_ROOT, TwilioHttp

NAME = "twilio"
NUMBER = "twilio number"
WEBHOOK = "twilio webhook"
TIMEOUT_SECS = 10.0
WRONG_CREDENTIALS = (401, 403, 404)


async def check_twilio(settings: Settings) -> list[Finding]:
    """Ask Twilio for the account and the number."""
    if unset := missing(
        settings, NAME, "twilio_account_sid", "twilio_auth_token", "twilio_phone_number"
    ):
        return [unset]
    return await asyncio.to_thread(_ask, settings)


def _ask(settings: Settings) -> list[Finding]:
    root = settings.twilio_api_base_url or REST_ROOT
    token = settings.twilio_auth_token
    assert token is not None
    try:
        http = TwilioHttp(root, timeout_secs=TIMEOUT_SECS, connections=1)
    except (OSError, ValueError) as error:
        return [fail(NAME, reason(error), "Correct the proxy or the certificates it names.")]
    # A mapping that is empty counts as none; an edge would change the root's name.
    environment = {"TWILIO_REGION": ""} if settings.twilio_api_base_url else None
    client = Client(
        settings.twilio_account_sid,
        token.get_secret_value(),
        http_client=http,
        environment=environment,
    )
    try:
        account = client.api.accounts(settings.twilio_account_sid).fetch()
        if account.status != "active":
            return [
                fail(NAME, f"the account is {account.status}", "See Twilio's console: billing.")
            ]
        kind = f", a {account.type.lower()} account" if account.type else ""
        return [ok(NAME, f"{root} takes the credentials{kind}"), *_number(client, settings)]
    except TwilioRestException as error:
        if error.status in WRONG_CREDENTIALS:
            do = "Correct TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: both are in Twilio's console."
            return [fail(NAME, f"{root} refuses the credentials (HTTP {error.status})", do)]
        return [
            fail(NAME, f"{root} answers HTTP {error.status}", "Try again; see Twilio's status.")
        ]
    except (TwilioException, HTTPError, RequestException, ValueError) as error:
        do = "Check the network, the proxy, and TWILIO_API_BASE_URL when it is set."
        return [fail(NAME, f"{root} cannot be asked: {reason(error)}", do)]
    finally:
        http.session.close()


def _number(client: Client, settings: Settings) -> list[Finding]:
    ours = settings.twilio_phone_number
    found = client.incoming_phone_numbers.list(phone_number=ours, limit=1)
    if not found:
        do = "Set TWILIO_PHONE_NUMBER to a number of this account, or buy it."
        return [fail(NUMBER, f"{ours} is no number of this account", do)]
    number = found[0]
    if not (number.capabilities or {}).get("voice"):
        return [fail(NUMBER, f"{ours} cannot carry calls", "Choose a number with voice.")]
    return [ok(NUMBER, f"{ours} is ours, with voice"), _webhook(number, settings)]


def _webhook(number: object, settings: Settings) -> Finding:
    """Only incoming calls need it: those placed by the API name their webhooks themselves."""
    wanted = f"{settings.base_url}/twilio/inbound"
    at_twilio = getattr(number, "voice_url", "") or "nothing"
    method = getattr(number, "voice_method", None) or "POST"
    if at_twilio == wanted and method == "POST":
        return ok(WEBHOOK, f"incoming calls go to {wanted}")
    says = f"incoming calls go to {at_twilio}" + (f" by {method}" if method != "POST" else "")
    do = f"For incoming calls, set the number's voice webhook in Twilio's console: {wanted}, POST."
    return warn(WEBHOOK, says, do)
