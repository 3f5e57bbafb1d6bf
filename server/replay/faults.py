"""What a scenario has go wrong during the call, caused at the vendors' side."""

from server.replay.scenario import Fault
from server.replay.stage import Stage


async def cause(fault: Fault, stage: Stage) -> bool:
    """Have it go wrong; False when there is nothing that could."""
    if fault.kind == "lose_stream":
        call = stage.twilio.calls[-1]
        streams = call.stream is not None
        call.lose_stream()
        return streams
    open_sessions = (
        [s for s in stage.gemini.sessions if s.log.closed is None] if stage.gemini else []
    )
    if not open_sessions:
        return False
    session = open_sessions[-1]
    match fault.kind:
        case "drop":
            await session.drop(fault.code)
        case "go_away":
            await session.go_away(fault.left_ms / 1000)
        case "stall":
            session.stall()
        case "garbage":
            await session.send_garbage("{this is not JSON")
        case "send":
            await session.send(fault.message)
    return True
