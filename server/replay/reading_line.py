"""The condition of the phone line, from a file."""

from server.emulators.twilio import LineConditions
from server.replay.fields import Fields

_KEYS = (
    *("level_db", "second_voice_db", "echo_db", "jitter_ms", "loss"),
    *("stall", "second_codec", "seed"),
)


def read_line(fields: Fields) -> LineConditions | None:
    """The scenario's `line`; None when it has none."""
    line = fields.mapping("line", _KEYS)
    if line is None:
        return None
    stall = line.mapping("stall", ("at_ms", "for_ms"))
    if stall is not None and not stall.has("at_ms"):
        stall.wrong("at_ms", "when the line stalls, in ms from the answer")
    return LineConditions(
        level_db=line.number("level_db", least=-60, most=20) or 0.0,
        second_voice_db=line.number("second_voice_db", least=-20, most=60),
        echo_db=line.number("echo_db", least=-60, most=0),
        jitter_ms=line.whole("jitter_ms", 0, most=2_000),
        loss=line.number("loss", least=0, most=1) or 0.0,
        stall_at_ms=None if stall is None else stall.whole("at_ms", None),
        stall_ms=300 if stall is None else stall.whole("for_ms", 300, least=1, most=60_000),
        second_codec=line.yes_no("second_codec", False),
        seed=line.whole("seed", 0),
    )
