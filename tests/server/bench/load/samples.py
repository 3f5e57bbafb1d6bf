"""Calls that went a certain way, for what is made of them."""

from server.bench.load.loaded_call import LoadedCall
from server.bench.load.markers import Heard, Marker
from server.bench.load.measured import Cost, Load, Window, judge
from server.bench.load.trail import Sent
from server.bench.systems import System

WINDOW = Window(10.0, 20.0)


def a_call(index: int = 0, *, lost: int | None = None, latency_ms: float = 2.0) -> LoadedCall:
    """One that talks from second 5 to 25, a marker each second; `lost` says which never came."""
    call = LoadedCall(index, f"+1555{index:07d}")
    for trail in (call.up, call.down):
        for second in range(5, 25):
            at, position_ms = float(second), second * 1000.0
            trail.send(Sent(second % 9, at, position_ms, begins_reply=second % 2 == 0))
            if second != lost:
                onset = round(position_ms * 8)
                trail.hear(Heard(Marker(index, second % 9), onset, at + latency_ms / 1000))
    return call


def a_cost(**but: float | None) -> Cost:
    """Of ten seconds, half a core, 100 MB more than nothing."""
    costs: dict[str, float | None] = {
        "cpu_secs": 5.0,
        "idle_mb": 100.0,
        "resident_mb": 200.0,
        "others_share": 0.0,
        "generator_share": 0.2,
    }
    return Cost(secs=10.0, late_ms=None, **(costs | but))  # type: ignore[arg-type]


def a_load(
    *calls: LoadedCall,
    system: System = System.OURS,
    cost: Cost | None = None,
    window: Window = WINDOW,
    problems: tuple[str, ...] = (),
) -> Load:
    """What these calls came to, or one that went well."""
    return judge(system, calls or (a_call(),), window, cost or a_cost(), problems)
