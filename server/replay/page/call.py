"""One call on the page: a row that opens to its timeline, transcript, figures and failures."""

from collections.abc import Sequence
from typing import Any

from server.replay.page import timeline, words
from server.replay.page.elements import Child, Html, element
from server.replay.page.figures import (
    count,
    length,
    milliseconds,
    moment,
    p50,
    speed,
    title,
)
from server.replay.page.sound import data_uri, secs_of
from server.replay.page.turns import Answered, answers
from server.replay.results import Failure, Replay, Verdict
from server.replay.scenario import NotChecked

# The right end of the bars' scale: the first of these that is long enough.
_SCALES_MS = (1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 60_000)
_LONGEST_SEEN = 2_000


def shape_of(verdict: Verdict) -> str:
    """The verdict as the style's class."""
    return verdict.value.replace(" ", "-")


def section(replay: Replay, number: int, *, repeated: bool, opened: bool, with_sound: bool) -> Html:
    """A call. Without `with_sound`, its sound is drawn, but cannot be played."""
    answered = answers(replay)
    return element(
        "details",
        _row(replay, repeated=repeated),
        element(
            "div",
            _facts(replay),
            _failures(replay),
            _player(replay, timeline.drawn(replay, answered), with_sound=with_sound),
            element(
                "div",
                _transcript(replay),
                element("div", _responses(replay, answered), _not_checked(replay)),
                class_="columns",
            ),
            _events(replay),
            class_="body",
        ),
        class_=f"call {shape_of(replay.verdict)}",
        id=f"call-{number}",
        data_verdict=shape_of(replay.verdict),
        open=opened,
    )


def _row(replay: Replay, *, repeated: bool) -> Html:
    middle = p50(replay.response_ms)
    why = replay.problem
    if not why and replay.failures:
        why = f"expected {replay.failures[0].expected}"
    elif not why and replay.verdict is Verdict.NOT_CHECKED and replay.not_checked:
        why = replay.not_checked[0].what
    return element(
        "summary",
        element("span", class_="dot", aria_hidden="true"),
        element(
            "span",
            element("h2", title(replay, repeated=repeated)),
            element(
                "span",
                element("span", replay.verdict.value, class_="verdict"),
                f" · {why}" if why else _ended(replay, " · "),
                class_="why",
            ),
            class_="title",
        ),
        timeline.thumbnail(replay),
        _figure("length", length(replay.call_secs) if replay.call_secs else "–"),
        _figure("response", milliseconds(middle) if middle is not None else "–"),
        _figure("speed", speed(replay.call_secs, replay.took_secs) or "–"),
    )


def _figure(name: str, value: str) -> Html:
    return element("span", element("b", value), element("span", name), class_=f"figure of-{name}")


def _ended(replay: Replay, before: str = "") -> str:
    words_of_end = [word for word in (replay.status, replay.end_reason) if word]
    return before + ", ended by ".join(words_of_end) if words_of_end else ""


def _facts(replay: Replay) -> Html:
    call = replay.scenario.call
    first = replay.first_sound_ms
    facts: list[tuple[str, Child]] = [
        ("scenario", element("code", str(replay.scenario.where))),
        ("call", f"{call.direction}, {call.number}"),
        ("ended", _ended(replay)),
        ("lasted", length(replay.call_secs) if replay.call_secs else ""),
        ("replayed in", length(replay.took_secs)),
        ("first sound", f"{milliseconds(first)} after the answer" if first is not None else ""),
        ("gaps in replies", str(replay.gaps) if replay.speech else ""),
        ("call id", element("code", replay.call_id) if replay.call_id else ""),
    ]
    return element(
        "dl",
        [
            element("div", element("dt", name), element("dd", value))
            for name, value in facts
            if value
        ],
        class_="facts",
    )


def _failures(replay: Replay) -> Html | None:
    if not (replay.failures or replay.problem):
        return None
    problem = element("p", replay.problem, class_="problem") if replay.problem else None
    return element(
        "section",
        element("h3", "What broke" if replay.problem else "What failed"),
        problem,
        [_failure(failure) for failure in replay.failures],
        class_="failures",
    )


def _failure(failure: Failure) -> Html:
    return element(
        "div",
        element("code", str(failure.where)),
        element(
            "dl",
            *(element("dt", "expected"), element("dd", failure.expected)),
            *(element("dt", "seen"), element("dd", failure.seen)),
        ),
        class_="failure",
    )


def _player(replay: Replay, drawing: Html | None, *, with_sound: bool) -> Html | None:
    if drawing is None:
        return element("p", "Nothing is known of the call itself.", class_="aside")
    bar: Child = None
    secs = secs_of(replay.sound)
    if secs and with_sound:
        bar = _bar(replay, secs)
    elif secs:
        bar = element(
            "p", "Its sound was left out, to keep this page small enough to open.", class_="aside"
        )
    zoom = element(
        "span",
        _button("−", "Zoom out", "zoom-out"),
        _button("+", "Zoom in", "zoom-in"),
        class_="zoom",
    )
    return element(
        "figure",
        element("div", bar, zoom, class_="bar"),
        drawing,
        element("div", class_="detail", aria_live="polite", hidden=True),
        class_="player",
    )


def _bar(replay: Replay, secs: float) -> Html:
    return element(
        "div",
        _button("▶", "Play", "play"),
        element(
            "input",
            type="range",
            class_="seek",
            min="0",
            max=f"{secs:.2f}",
            step="0.1",
            value="0",
            aria_label="Position in the call, in seconds",
        ),
        element("output", f"0:00.0 / {moment(secs)}", class_="clock"),
        element(
            "span",
            element("span", "caller left", class_="caller"),
            element("span", "agent right", class_="agent"),
            class_="sides",
        ),
        element("audio", preload="none", src=data_uri(replay.sound)),
        class_="controls",
    )


def _button(sign: str, name: str, shape: str) -> Html:
    return element("button", sign, type="button", class_=shape, aria_label=name)


def _transcript(replay: Replay) -> Html:
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
        element("ol", lines) if lines else element("p", "Nobody spoke.", class_="aside"),
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


def _responses(replay: Replay, answered: Sequence[Answered]) -> Html | None:
    bars: list[tuple[str, float, str]] = []
    if replay.first_sound_ms is not None:
        bars.append(("first sound after the answer", replay.first_sound_ms, "first"))
    for number, answer in enumerate(answered, 1):
        bars.append((answer.said or f"turn {number}", answer.ms, "turn"))
    if not bars:
        return None
    longest = max(ms for _, ms, _ in bars)
    end = next((scale for scale in _SCALES_MS if scale >= longest), longest)
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
        ),
        class_="responses",
    )


def _bar_of(said: str, ms: float, shape: str, end: float) -> Html:
    slow = " slow" if ms > _LONGEST_SEEN else ""
    width = f"width:{100 * min(max(ms / end, 0.0), 1.0):.2f}%"
    return element(
        "div",
        element("span", said, class_="said"),
        element("span", element("i", style=width), class_="rail"),
        element("b", milliseconds(ms)),
        class_=f"response-bar {shape}{slow}",
    )


def _not_checked(replay: Replay) -> Html | None:
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


def _events(replay: Replay) -> Html | None:
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
