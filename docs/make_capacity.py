"""Computes what many calls at once need, from figures that were measured: `make capacity`.

It writes the table of docs/scaling.md. With `--check` it writes nothing, and ends with 1 when the
table is not what it would write. For other calls, change the figures below.
"""

import math
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "scaling.md"
BEGIN, END = "<!-- Made by `make capacity`. -->\n", "<!-- Until here. -->\n"
CALLS_AT_ONCE = (50, 1_000, 10_000)

# What a call is like.
CALL_SECS = 180
TURN_SECS = 5
# MAX_CONCURRENT_CALLS; docs/bench.md, "Figures of the load".
CALLS_OF_AN_INSTANCE = 50
# Round trips; docs/instances.md, "What it costs".
REDIS_OF_A_CALL = 6 + 3
REDIS_OF_A_TURN = 1
REDIS_OF_AN_INSTANCE_SECOND = 1.5 + 1.0
# A transaction for each event of a life (placed, dialled, rings, answered, stream started and
# ended, conversation ended, completed), and one a batch of the recorder, every half second.
WRITES_OF_A_CALL = 8
WRITES_OF_AN_INSTANCE_SECOND = 2
# `make demo-temporal` prints the median.
ACTIONS_OF_A_CALL = 14
# Megabytes a minute, up to Gemini and each way to Twilio: base64 of PCM16 at 16 kHz, and mu-law.
UP_MB_A_MINUTE = 2.6 + 1.0


def table() -> str:
    """The table, with a column for each number of calls."""
    columns = [_needs(calls) for calls in CALLS_AT_ONCE]
    head = "| | " + " | ".join(f"{calls:,} calls" for calls in CALLS_AT_ONCE) + " |\n"
    lines = "|---" * (len(columns) + 1) + "|\n"
    rows = [f"| {name} | " + " | ".join(c[name] for c in columns) + " |\n" for name in columns[0]]
    return head + lines + "".join(rows)


def _needs(calls: int) -> dict[str, str]:
    instances = math.ceil(calls / CALLS_OF_AN_INSTANCE) + 1
    begun = calls / CALL_SECS
    redis = (
        begun * REDIS_OF_A_CALL
        + calls / TURN_SECS * REDIS_OF_A_TURN
        + instances * REDIS_OF_AN_INSTANCE_SECOND
    )
    writes = begun * WRITES_OF_A_CALL + instances * WRITES_OF_AN_INSTANCE_SECOND
    return {
        "instances, one to spare": f"{instances:,}",
        "calls that begin, a second": f"{begun:.1f}",
        "Redis, round trips a second": f"{redis:,.0f}",
        "PostgreSQL, transactions a second": f"{writes:,.0f}",
        "Temporal, actions a second": f"{begun * ACTIONS_OF_A_CALL:,.0f}",
        "upstream, Mbit a second": f"{calls * UP_MB_A_MINUTE * 8 / 60:,.0f}",
    }


def main() -> int:
    """Write the table, or check it; the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    made = re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}",
        lambda _: f"{BEGIN}{table()}{END}",
        page,
        flags=re.DOTALL,
    )
    if "--check" in sys.argv:
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
