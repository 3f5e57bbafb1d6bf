"""What is known of a call below its timeline: words, response times, gaps of the checks, events."""

from collections.abc import Sequence
from typing import Any

from server.replay.page import words
from server.replay.page.elements import Html, element
from server.replay.page.figures import count, milliseconds, moment, p50, scale_ms
from server.replay.page.turns import Answered
from server.replay.results import Replay
from server.replay.scenario import NotChecked

# An answer that takes longer feels late.
_SLOW_MS = 2_000
# Longer lists scroll.
_LINES_AT_ONCE = 14


def transcript(replay: Replay) -> Html | None:
    """The turns with their times, from the record; without one, what was spoken."""
    if not (replay.timeline or replay.transcript):
        return None
    recorded = bool(replay.transcript)
    lines = [_line(turn) for turn in replay.transcript] or [
        _line(
            {
                "who": stretch.who,
                "text": stretch.text,
                "start_ms": stretch.start * 1000,
                "interrupted": stretch.interrupted,
            }
        )
        for stretch in sorted(replay.speech, key=lambda stretch: stretch.start)
        if stretch.text
    ]
    note = "as the record has it" if recorded else "as it was spoken; the record holds no turns"
    return element(
        "section",
        element("h3", "Transcript", element("small", note) if lines else None),
        element("ol", lines, tabindex=_stop(len(lines)))
        if lines
        else element("p", "Nobody spoke.", class_="aside"),
        class_="transcript",
    )


def _line(turn: dict[str, Any]) -> Html:
    who, start = str(turn.get("who", "")), turn.get("start_ms")
    secs = float(start) / 1000 if isinstance(start, int | float) else None
    time = element("span", "", class_="time")
    if secs is not None:
        time = element(
            "button",
            moment(secs),
            type="button",
            class_="time",
            data_seek=f"{secs:.3f}",
            aria_label=f"Go to {moment(secs)}",
        )
    cut = element("span", "interrupted", class_="cut") if turn.get("interrupted") else None
    shape = who if who in ("caller", "agent") else "other"
    return element(
        "li",
        time,
        element("span", who, class_="who"),
        element("p", str(turn.get("text", "")), " " if cut else None, cut),
        class_=shape,
        data_from=f"{secs:.3f}" if secs is not None else None,
    )


def responses(replay: Replay, answered: Sequence[Answered]) -> Html | None:
    """How long the first sound and each answer took, as bars on one scale."""
    bars: list[tuple[str, float, str]] = []
    if replay.first_sound_ms is not None:
        bars.append(("first sound after the answer", replay.first_sound_ms, "first"))
    for number, answer in enumerate(answered, 1):
        bars.append((answer.said or f"turn {number}", answer.ms, "turn"))
    if not bars:
        return None
    longest = max(ms for _, ms, _ in bars)
    end = scale_ms(longest)
    middle = p50(replay.response_ms)
    note = f"half of them within {milliseconds(middle)}" if middle is not None else None
    return element(
        "section",
        element("h3", "Response times", element("small", note) if note else None),
        element(
            "div",
            [_bar_of(said, ms, shape, end) for said, ms, shape in bars],
            element(
                "div",
                [element("span", f"{end * part / 4:.0f}") for part in (0, 1, 2, 3, 4)],
                class_="ms-axis",
                aria_hidden="true",
            ),
            class_="bars",
            tabindex=_stop(len(bars)),
        ),
        class_="responses",
    )


def _bar_of(said: str, ms: float, shape: str, end: float) -> Html:
    slow = " slow" if ms > _SLOW_MS else ""
    width = f"width:{100 * min(max(ms / end, 0.0), 1.0):.2f}%"
    return element(
        "div",
        element("span", said, class_="said"),
        element("span", element("i", style=width), class_="rail"),
        element("b", milliseconds(ms)),
        class_=f"response-bar {shape}{slow}",
    )


def _stop(lines: int) -> str | None:
    """A list that scrolls can be reached by the keyboard."""
    return "0" if lines > _LINES_AT_ONCE else None


def notes(replay: Replay) -> Html | None:
    """What helps to understand the rest: tools that failed, turns that were not played."""
    if not replay.notes:
        return None
    listed = element("ul", [element("li", note) for note in replay.notes])
    return element("section", element("h3", "Notes"), listed, class_="notes")


def not_checked(replay: Replay) -> Html | None:
    """What the scenario asks for and a telephone cannot show."""
    if not replay.not_checked:
        return None
    return element(
        "section",
        element("h3", "Not checked", element("small", "a telephone cannot show it")),
        element("ul", [_unchecked(it) for it in replay.not_checked]),
        class_="not-checked-list",
    )


def _unchecked(it: NotChecked) -> Html:
    return element("li", element("span", it.what), " ", element("code", str(it.where)))


def events(replay: Replay) -> Html | None:
    """All that happened, as a table that opens."""
    if not replay.timeline:
        return None
    rows = [
        element(
            "tr",
            element("td", moment(event.at)),
            element("td", event.lane),
            element("td", words.name_of(event)),
            element(
                "td",
                f"“{event.text}” " if event.text else None,
                element("code", ", ".join(f"{name}={value}" for name, value in facts))
                if (facts := words.facts_of(event))
                else None,
            ),
        )
        for event in sorted(replay.timeline, key=lambda event: event.at)
    ]
    return element(
        "details",
        element("summary", f"All {count(len(rows), 'event')}"),
        element("div", element("table", rows), class_="table"),
        class_="events",
    )
