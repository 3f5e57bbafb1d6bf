"""Tool of the reminder call: records that the person wants another time."""

from agent.ports import LiveCall


async def move_appointment(call: LiveCall, wish: str) -> str:
    """Note that the person cannot come and wants another time; staff will call back.

    Args:
        wish: What the person said about a better time, or "none".
    """
    call.note("appointment.move_wanted", {"wish": wish[:500]})
    return "Noted. Staff will call back to find a new time."
