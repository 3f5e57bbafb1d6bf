"""Tool by which the agent ends a call."""

from agent.ports import LiveCall


async def hang_up(call: LiveCall) -> str:
    """End the phone call. Say goodbye to the caller first; the line closes after your last word."""
    await call.hang_up()
    return "The line closes as soon as the caller has heard you. Say nothing more."
