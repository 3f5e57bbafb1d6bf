"""NoTelephone: stands in for Twilio's REST API where no credentials are configured."""

from agent.ports import DialRefused, DialRequest, TelephoneCall


class NoTelephone:
    """`Telephone` without credentials: refuses every call."""

    async def dial(self, request: DialRequest) -> str:
        """Refuse."""
        raise DialRefused("Twilio is not configured: set the TWILIO_* variables.")

    async def hang_up(self, twilio_sid: str) -> None:
        """There is nothing to hang up."""

    async def redirect(self, twilio_sid: str, call_id: str) -> bool:
        """There is nothing to redirect."""
        return False

    async def look_up(self, twilio_sid: str) -> TelephoneCall | None:
        """There is no call."""
        return None

    async def find(self, request: DialRequest) -> TelephoneCall | None:
        """There is no call."""
        return None

    def close(self) -> None:
        """There is nothing to close."""
