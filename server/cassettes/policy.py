"""Which calls a cassette is kept of: CASSETTES=off, all, failed, or a share of them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agent.lifecycle.statuses import CallStatus
from agent.record.models import Call, EndReason
from server.settings.cassette_values import Which

_FAILURES = (EndReason.NO_MODEL, EndReason.SYSTEM)


@dataclass(frozen=True, slots=True)
class CassettePolicy:
    """Which calls, where, how large a file may become, and how long files are kept.

    `keep_days` 0: for ever. It applies to files in the folder even when no cassette is made.
    """

    which: Which
    folder: Path
    most_bytes: int
    keep_days: int
    key: bytes | None = None

    def begins(self, call_id: str, asked: bool | None) -> bool:
        """Whether to begin a cassette of a call; `asked`: what its request says, if anything."""
        if asked is not None:
            return asked
        if isinstance(self.which, float):
            return _lot(call_id) < self.which
        return self.which != "off"

    def keeps(self, call: Call, asked: bool | None) -> bool:
        """Whether to keep the cassette of a call that has ended."""
        if self.which != "failed" or asked:
            return True
        return call.status is CallStatus.FAILED or call.end_reason in _FAILURES


def _lot(call_id: str) -> float:
    """A number from 0 to 1, the same for a call on every instance."""
    return int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:4]) / 2**32
