"""Names for why Gemini refused or closed a session: short constants, as a metric's labels are."""

from websockets.exceptions import ConnectionClosed

# Close codes and HTTP statuses that another attempt will hardly change: a wrong key, an unknown
# model, a setup that is not understood.
HOPELESS = frozenset(
    f"{what}_{code}" for what in ("refused", "closed") for code in (400, 401, 403, 404, 1007, 1008)
)


def refusal(error: BaseException) -> str:
    """Why a session could not be opened: "timeout", "refused_503", or the exception's name."""
    if isinstance(error, TimeoutError):
        return "timeout"
    code = _code(error)
    return f"refused_{code}" if code is not None else type(error).__name__


def close_reason(error: ConnectionClosed) -> str:
    """Why an open session closed: "closed_1011", or "connection_lost" without a close code."""
    return f"closed_{error.rcvd.code}" if error.rcvd else "connection_lost"


def _code(error: BaseException) -> int | None:
    if isinstance(error, ConnectionClosed):
        return error.rcvd.code if error.rcvd else None
    code = getattr(error, "code", None)
    if code is None:
        code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None
