"""Tool of the reminder call: records that the person will come."""

from agent.ports import LiveCall


async def confirm_appointment(call: LiveCall) -> str:
    """Note that the person confirmed the appointment."""
    call.note("appointment.confirmed")
    return "Noted."
