"""One call on the page: a row that opens to its timeline, transcript, figures and failures."""

from collections.abc import Sequence

from server.replay.page import findings, timeline
from server.replay.page.elements import Child, Html, element
from server.replay.page.figures import (
    length,
    milliseconds,
    moment,
    p50,
    speed,
    title,
)
from server.replay.page.sound import data_uri, secs_of
from server.replay.page.turns import answers
from server.replay.results import Failure, Replay, Verdict


def shape_of(verdict: Verdict) -> str:
    """The verdict as the style's class."""
    return verdict.value.replace(" ", "-")


def section(replay: Replay, number: int, *, opened: bool, with_sound: bool) -> Html:
    """A call. Without `with_sound`, its sound is drawn, but cannot be played."""
    answered = answers(replay)
    return element(
        "details",
        _row(replay),
        element(
            "div",
            _facts(replay),
            _failures(replay),
            findings.notes(replay),
            _player(replay, timeline.drawn(replay, answered), with_sound=with_sound),
            _columns(
                findings.transcript(replay),
                [findings.responses(replay, answered), findings.not_checked(replay)],
            ),
            findings.events(replay),
            _call_id(replay),
            class_="body",
        ),
        class_=f"call {shape_of(replay.verdict)}",
        id=f"call-{number}",
        data_verdict=shape_of(replay.verdict),
        open=opened,
    )


def _call_id(replay: Replay) -> Html | None:
    if not replay.call_id:
        return None
    return element("p", "Call ", element("code", replay.call_id), class_="call-id")


def _columns(left: Html | None, right: Sequence[Html | None]) -> Html | None:
    beside = element("div", right) if any(right) else None
    return element("div", left, beside, class_="columns") if left or beside else None


def _row(replay: Replay) -> Html:
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
            element("h2", title(replay.scenario.name, replay.repetition)),
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
        ("replayed in", length(replay.took_secs)),
        ("first sound", f"{milliseconds(first)} after the answer" if first is not None else ""),
        ("gaps in replies", str(replay.gaps) if replay.speech else ""),
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
        element("pre", failure.picture) if failure.picture else None,
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
        _button("", "Play", "play"),
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
