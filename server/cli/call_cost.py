"""Estimates what a call cost: the model's tokens and Twilio's minutes, at list prices."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.calls.prices import (
    AS_OF,
    GEMINI_PER_MILLION_TOKENS,
    TWILIO_PER_MINUTE,
    TWILIO_STREAM_PER_MINUTE,
)


@dataclass(frozen=True, slots=True)
class CallCost:
    """US dollars; `unpriced` are kinds of tokens that have no price in `prices.py`."""

    gemini: float
    twilio: float
    minutes: int
    unpriced: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The estimate in words."""
        total = self.gemini + self.twilio
        said = [
            f"about ${total:.4f}: Gemini ${self.gemini:.4f}, Twilio ${self.twilio:.4f} "
            f"({self.minutes} min)",
            f"list prices of {AS_OF}, US",
        ]
        return said + [f"without {kind} tokens: no price known" for kind in self.unpriced]


def cost_of(call: Mapping[str, Any]) -> CallCost:
    """The cost of a call as the API returns it; a call that was not answered costs no minutes."""
    minutes = math.ceil((call["duration_seconds"] or 0) / 60)
    per_minute = TWILIO_PER_MINUTE[call["direction"]] + TWILIO_STREAM_PER_MINUTE
    gemini, unpriced = 0.0, []
    for used in call["usage"]:
        price = GEMINI_PER_MILLION_TOKENS.get((used["direction"], used["modality"]))
        if price is None:
            unpriced.append(f"{used['direction']} {used['modality']}")
        else:
            gemini += used["tokens"] * price / 1_000_000
    return CallCost(gemini, minutes * per_minute, minutes, tuple(unpriced))
