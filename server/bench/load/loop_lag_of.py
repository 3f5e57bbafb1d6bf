"""How late a server's event loop was, if it says so on `/metrics`."""

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

METRIC = "voice_ai_event_loop_lag_seconds"

# Upper bounds in seconds, and how many lags were not above them.
Buckets = Mapping[float, float]


async def lag_buckets(url: str) -> Buckets | None:
    """What the server has counted so far; None when it counts nothing."""
    try:
        # Over http; certificates would only take their time to be read.
        async with httpx.AsyncClient(timeout=10, trust_env=False, verify=False) as http:  # noqa: S501
            answer = await http.get(f"{url}/metrics")
    except httpx.HTTPError:
        return None
    return read_buckets(answer.text) if answer.status_code == 200 else None


def read_buckets(text: str) -> Buckets | None:
    """The buckets of the lag's histogram in a page of metrics."""
    buckets = {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == METRIC
        for sample in family.samples
        if sample.name.endswith("_bucket")
    }
    return buckets or None


def p99_ms(before: Buckets | None, after: Buckets | None) -> float | None:
    """The bound, in ms, that 99 % of the lags between two counts did not exceed."""
    if before is None or after is None:
        return None
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in sorted(after)}
    total = max(counts.values(), default=0.0)
    if not total:
        return None
    return 1000 * next(bound for bound, count in counts.items() if count >= 0.99 * total)
