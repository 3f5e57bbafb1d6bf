"""Opens the telephone that the settings ask for: Twilio, or none."""

from typing import TYPE_CHECKING

from agent.record.call_log import CallLog
from server.settings.settings import Settings
from server.twilio.no_telephone import NoTelephone

if TYPE_CHECKING:
    from server.twilio.rest_client import TwilioTelephone


def open_telephone(settings: Settings, call_log: CallLog) -> "TwilioTelephone | NoTelephone":
    """Twilio's REST API with the settings' credentials; without them, a telephone that refuses."""
    if not settings.twilio_account_sid or settings.twilio_auth_token is None:
        return NoTelephone()
    # Twilio's SDK and `requests` are for servers that can dial.
    from server.twilio.rest_client import TwilioTelephone

    async def known(twilio_sid: str) -> bool:
        return await call_log.find_by_sid(twilio_sid) is not None

    return TwilioTelephone(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token.get_secret_value(),
        base_url=settings.base_url,
        known=known,
        rest_root=settings.twilio_api_base_url,
    )
