"""The head of the page: what came of all calls, and how quick the agent was."""

from collections import Counter
from collections.abc import Sequence

from server.replay.page.call import shape_of
from server.replay.page.elements import Html, element
from server.replay.page.figures import (
    SPACE,
    count,
    length,
    milliseconds,
    p50,
    p95,
    scale_ms,
    speed,
    title,
)
from server.replay.results import Replay, Verdict

_ORDER = (Verdict.FAILED, Verdict.BROKEN, Verdict.NOT_CHECKED, Verdict.PASSED)


def head(replays: Sequence[Replay], heading: str, took_secs: float | None = None) -> Html:
    """Title, result in a sentence, one square a call, and all response times on one scale."""
    return element(
        "header",
        element("p", heading, class_="heading"),
        element("h1", _result(replays)),
        element("p", _times(replays, took_secs), class_="lead"),
        _squares(replays),
        _strip(replays),
    )


def filters(replays: Sequence[Replay]) -> Html | None:
    """Buttons that show the calls of one verdict; none when all have the same."""
    counts = Counter(replay.verdict for replay in replays)
    if len(counts) < 2:
        return None
    buttons = [_filter("all", "All", len(replays), pressed=True)]
    for verdict in _ORDER:
        if counts[verdict]:
            name = verdict.value.capitalize()
            buttons.append(_filter(shape_of(verdict), name, counts[verdict], pressed=False))
    return element("div", buttons, class_="filters", role="group", aria_label="Show calls")


def _result(replays: Sequence[Replay]) -> str:
    counts = Counter(replay.verdict for replay in replays)
    passed, total = counts[Verdict.PASSED], len(replays)
    if not total:
        return "No calls"
    if passed == total:
        return "The call passed" if total == 1 else f"All {total}{SPACE}calls passed"
    if total == 1:
        verdict = replays[0].verdict
        return {
            Verdict.FAILED: "The call failed",
            Verdict.BROKEN: "The replay broke",
        }.get(verdict, "The call was not checked")
    rest = [
        f"{counts[verdict]}{SPACE}{verdict.value}" for verdict in _ORDER[:-1] if counts[verdict]
    ]
    return f"{passed} of {total}{SPACE}calls passed, {', '.join(rest)}"


def _times(replays: Sequence[Replay], took_secs: float | None) -> str:
    calls = sum(replay.call_secs for replay in replays)
    took = sum(replay.took_secs for replay in replays) if took_secs is None else took_secs
    if not calls:
        return f"Replayed in {length(took)}." if replays else ""
    subject = "The call lasted" if len(replays) == 1 else "Together the calls lasted"
    times = speed(calls, took)
    return f"{subject} {length(calls)}; replayed in {length(took)}" + (
        f", {times} as fast." if times else "."
    )


def _squares(replays: Sequence[Replay]) -> Html | None:
    if len(replays) < 2:
        return None
    return element(
        "nav",
        [
            element(
                "a",
                href=f"#call-{number}",
                class_=f"square {shape_of(replay.verdict)}",
                title=f"{title(replay.scenario.name, replay.repetition)}: {replay.verdict}",
                aria_label=f"{replay.scenario.name}, {replay.verdict}",
            )
            for number, replay in enumerate(replays, 1)
        ],
        class_="squares",
        aria_label="All calls",
    )


def _strip(replays: Sequence[Replay]) -> Html | None:
    """Every response time as a dot on one line, the median and the 95th percentile marked."""
    times = [ms for replay in replays for ms in replay.response_ms]
    if len(replays) < 2 or len(times) < 3:
        return None
    middle, most = p50(times) or 0.0, p95(times) or 0.0
    longest = max(times)
    end = scale_ms(longest)
    dots = [element("i", style=f"left:{100 * ms / end:.2f}%") for ms in times]
    marks = [
        element("b", style=f"left:{100 * ms / end:.2f}%", class_=shape)
        for ms, shape in ((middle, "p50"), (most, "p95"))
    ]
    return element(
        "figure",
        element(
            "figcaption",
            f"{count(len(times), 'response')}: half within {milliseconds(middle)}, "
            f"95{SPACE}% within {milliseconds(most)}",
        ),
        element("div", dots, marks, class_="dots"),
        element(
            "div",
            [element("span", f"{end * part / 4:.0f}") for part in (0, 1, 2, 3)],
            element("span", milliseconds(end)),
            class_="ms-axis",
        ),
        class_="strip",
    )


def _filter(shape: str, name: str, number: int, *, pressed: bool) -> Html:
    return element(
        "button",
        name,
        element("b", str(number)),
        type="button",
        class_=shape,
        data_filter=shape,
        aria_pressed="true" if pressed else "false",
    )
