"""Transferring tool for practice: hear how the agent hands a caller over."""

from agent.ports import LiveCall

# A number that belongs to nobody.
COLLEAGUE = "+15550100777"


async def ask_colleague(call: LiveCall) -> str:
    """Connect the caller to a colleague. Tell the caller first."""
    await call.transfer(COLLEAGUE)
    return "The caller is connected as soon as they have heard you. Say nothing more."
