"""Compares two runs: which turn got slower, which words changed, which audio differs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from server.replay.page.elements import Html, element, joined
from server.replay.run_folder import RATE, SavedReplay

# Smaller differences are not told.
SLOWER_MS = 50.0
_WIDTH = 900


@dataclass(frozen=True, slots=True)
class Change:
    """A sentence about one scenario; `at` is its place on the timeline, in seconds."""

    scenario: str
    says: str
    at: float | None = None


def changes(before: Sequence[SavedReplay], after: Sequence[SavedReplay]) -> list[Change]:
    """All changes, scenario by scenario."""
    was = {replay.name: replay for replay in before}
    now = {replay.name: replay for replay in after}
    found: list[Change] = []
    for name in dict.fromkeys([*was, *now]):
        if name not in now:
            found.append(Change(name, "is only in the first run"))
        elif name not in was:
            found.append(Change(name, "is only in the second run"))
        else:
            found += _changes(name, was[name], now[name])
    return found


def _changes(name: str, was: SavedReplay, now: SavedReplay) -> list[Change]:
    found = []
    if was.verdict != now.verdict:
        found.append(Change(name, f"{was.verdict} before, {now.verdict} now"))
    for number, (one, other) in enumerate(zip_longest(was.response_ms, now.response_ms), 1):
        if one is None or other is None:
            found.append(Change(name, f"response {number}: {_ms(one)} before, {_ms(other)} now"))
        elif abs(other - one) >= SLOWER_MS:
            how = "slower" if other > one else "faster"
            says = f"response {number} is {abs(other - one):.0f} ms {how}: {_ms(one)}, {_ms(other)}"
            found.append(Change(name, says))
    for number, (turn, later) in enumerate(zip_longest(was.turns, now.turns), 1):
        if _words(turn) != _words(later):
            says = f"turn {number}: {_words(turn)} before, {_words(later)} now"
            found.append(Change(name, says, _start(turn or later)))
    at = _first_difference(was.agent_sound(), now.agent_sound())
    if at is not None:
        found.append(Change(name, f"the agent's sound differs from {at:.3f} s on", at))
    return found


def _ms(ms: float | None) -> str:
    return "none" if ms is None else f"{ms:.0f} ms"


def _words(turn: dict[str, Any] | None) -> str:
    if turn is None:
        return "none"
    cut = " (interrupted)" if turn.get("interrupted") else ""
    return f"{turn['who']} “{turn['text']}”{cut}"


def _start(turn: dict[str, Any] | None) -> float | None:
    return None if turn is None else float(turn["start_ms"]) / 1000


def _first_difference(before: bytes, after: bytes) -> float | None:
    """In seconds; None: the same, but for silence at the end."""
    length = max(len(before), len(after)) // 2
    sides = [np.zeros(length, dtype=np.int16), np.zeros(length, dtype=np.int16)]
    for side, sound in zip(sides, (before, after), strict=True):
        samples = np.frombuffer(sound, dtype="<i2")
        side[: len(samples)] = samples
    different = np.flatnonzero(sides[0] != sides[1])
    return float(different[0]) / RATE if len(different) else None


def write_comparison(
    before: Sequence[SavedReplay], after: Sequence[SavedReplay], found: Sequence[Change], path: Path
) -> None:
    """One page with both timelines of each scenario that changed. Raises: OSError."""
    was = {replay.name: replay for replay in before}
    now = {replay.name: replay for replay in after}
    sections = [
        element(
            "section",
            element("h2", name),
            element("ul", [element("li", c.says) for c in found if c.scenario == name]),
            _timelines(was.get(name), now.get(name), [c for c in found if c.scenario == name]),
        )
        for name in dict.fromkeys(change.scenario for change in found)
    ]
    page = joined(
        [
            Html("<!doctype html>"),
            element(
                "html",
                element("head", element("meta", charset="utf-8"), element("title", "Two runs"),
                        element("style", Html(_STYLE))),
                element("body", element("h1", "Two runs"),
                        sections or element("p", "Nothing changed.")),
                lang="en",
            ),
        ]
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem}
svg{width:100%;background:#f6f5f2;border-radius:6px}text{font-size:11px}
.agent{fill:#3c6e9a}.caller{fill:#3c7a57}.at{stroke:#b5382f;stroke-width:2}
"""


def _timelines(was: SavedReplay | None, now: SavedReplay | None, found: Sequence[Change]) -> Html:
    secs = max((r.call_secs for r in (was, now) if r is not None), default=1.0) or 1.0
    parts: list[Html] = []
    for row, (label, replay) in enumerate((("before", was), ("now", now))):
        top = 10 + row * 62
        parts.append(element("text", label, x=4, y=top + 8))
        for turn in replay.turns if replay is not None else ():
            start, end = (float(turn[key]) / 1000 for key in ("start_ms", "end_ms"))
            parts.append(
                element(
                    "rect",
                    element("title", f"{start:.2f} s {_words(turn)}"),
                    x=round(start / secs * _WIDTH, 1),
                    y=top + (12 if turn["who"] == "caller" else 32),
                    width=round(max(0.2, end - start) / secs * _WIDTH, 1),
                    height=16,
                    class_=turn["who"],
                )
            )
    for change in found:
        if change.at is not None:
            x = round(change.at / secs * _WIDTH, 1)
            parts.append(element("line", x1=x, x2=x, y1=0, y2=134, class_="at"))
    return element("svg", parts, viewBox=f"0 0 {_WIDTH} 134", role="img")
