"""Schemas of a call's latencies in the API."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from agent.latency import Latency

LATENCY_EXAMPLE = {
    "first_sound_ms": 4.2,
    "response_ms": {"p50": 1053.0, "max": 1226.0, "each": [880.0, 1226.0]},
    "barge_in_ms": [40.0],
    "share_ms": {"in": 0.4, "out": 0.6},
}


class ResponseView(BaseModel):
    """How long the caller waited for each reply."""

    p50: float | None
    max: float | None
    each: list[float] = Field(description="In the order of the replies.")


class ShareView(BaseModel):
    """Our own processing time, medians of the call."""

    model_config = ConfigDict(populate_by_name=True)

    in_: float | None = Field(alias="in", description="From the caller's packet to Gemini.")
    out: float | None = Field(description="From Gemini's chunk to its packet.")


class LatencyView(BaseModel):
    """Latencies of the call in ms; null and empty: not measured."""

    first_sound_ms: float | None = Field(
        description="From answer to the agent's first sound at the ear."
    )
    response_ms: ResponseView = Field(
        description="From the caller's last sound to the first of the reply at the ear."
    )
    barge_in_ms: list[float] = Field(
        description="From the caller's first sound over the agent to `clear` at Twilio."
    )
    share_ms: ShareView

    @classmethod
    def of(cls, latency: Latency) -> Self:
        """The public side of what the record tells."""
        return cls(
            first_sound_ms=latency.first_sound,
            response_ms=ResponseView(
                p50=latency.response_p50, max=latency.response_max, each=[*latency.responses]
            ),
            barge_in_ms=[*latency.barge_ins],
            share_ms=ShareView(in_=latency.share_in, out=latency.share_out),
        )
