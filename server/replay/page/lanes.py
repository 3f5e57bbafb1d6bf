"""What is drawn in each lane of a timeline.

phone    ▭ rings ┃ picked up            ┃ barge-in                hung up ┃
caller              ▁▂▅▂▁                ▂▅▃▁
response                 ├ 880 ms           ├ 910 ms
agent    ▂▅▃▂▅▁               ▂▅▃▅▂▁▂▅╱╱         ▁▂▅▃▁
tools                                       ▭ move_appointment(…)
Gemini   ▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭▭
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from server.replay.page import words
from server.replay.page.elements import Html, element
from server.replay.page.figures import length, milliseconds, moment
from server.replay.page.scale import Scale
from server.replay.page.turns import Answered
from server.replay.results import Happened, Stretch

# What a character of a label takes of a timeline 1000 px wide, in percent, and what is around it.
_CHARACTER, _AROUND = 0.62, 1.6
_TOOL_ROWS = 3
# The model has generated all of an answer, or was stopped.
_GENERATED = frozenset({"llm_response", "interrupted"})
# Calls that were answered by nobody end with one of these.
_AFTER_RINGING = frozenset(
    {"in-progress", "busy", "no-answer", "failed", "canceled", "completed", "hung_up"}
)


def item(event: Happened, name: str, *, style: str, class_: str, label: str | None = None) -> Html:
    """Something that can be pointed at; the script shows what it is."""
    facts = words.facts_of(event)
    told = ", ".join(part for part in (moment(event.at), name, event.text) if part)
    return element(
        "button",
        element("span", label) if label else None,
        type="button",
        class_=f"item {class_}",
        style=style,
        tabindex="-1",
        aria_label=told,
        data_at=f"{event.at:.3f}",
        data_name=name,
        data_text=event.text or None,
        data_facts=json.dumps(facts, ensure_ascii=False) if facts else None,
    )


def phone(events: Sequence[Happened], scale: Scale) -> list[Html]:
    """The ringing, and pins with labels on two rows, as far as there is room."""
    drawn: list[Html] = []
    for event, later in pairwise(events):
        if event.kind == "ringing" and later.at >= event.at:
            until = next((e.at for e in events if e.kind in _AFTER_RINGING), later.at)
            drawn.append(element("i", class_="ring", style=scale.place(event.at, until)))
            break
    rows = _Rows(2, scale)
    for event in events:
        name = words.name_of(event)
        quiet = words.is_quiet(event)
        row, flipped = (None, False) if quiet else rows.take(event.at, event.at, name)
        label = name if row is not None else None
        shape = ["pin", f"row{row or 0}", *_tone(event)]
        if flipped:
            shape.append("flipped")
        if label is None:
            shape.append("bare")
        style = f"left:{scale.at(event.at)}"
        drawn.append(item(event, name, style=style, class_=" ".join(shape), label=label))
    return drawn


def speech(stretches: Sequence[Stretch], scale: Scale) -> list[Html]:
    """Stretches of speech, and their words as far as there is room."""
    drawn = []
    rooms = _rooms([stretch.start for stretch in stretches], scale)
    for stretch, room in zip(stretches, rooms, strict=True):
        name = f"{stretch.who}, interrupted" if stretch.interrupted else stretch.who
        detail = {"lasts": length(stretch.end - stretch.start)}
        event = Happened(stretch.start, stretch.who, "speaks", stretch.text, detail)
        shape = f"stretch {stretch.who}{' cut' if stretch.interrupted else ''}"
        style = scale.place(stretch.start, stretch.end)
        drawn.append(item(event, name, style=style, class_=shape))
        if stretch.text:
            drawn.append(_words(stretch.text, room, "said"))
    return drawn


def responses(answers: Sequence[Answered], scale: Scale) -> list[Html]:
    """How long each answer took, from the end of the caller's words to the agent's first sound."""
    drawn = []
    placed = [(answer.at, answer) for answer in answers if answer.at is not None]
    rooms = _rooms([at for at, _ in placed], scale, [answer.ms / 1000 for _, answer in placed])
    for (at, answer), room in zip(placed, rooms, strict=True):
        figure = milliseconds(answer.ms)
        event = Happened(at, "agent", "response", answer.said)
        style = scale.place(at, at + answer.ms / 1000)
        drawn.append(item(event, f"answer after {figure}", style=style, class_="response"))
        drawn.append(_words(figure, room, "took"))
    return drawn


def tools(events: Sequence[Happened], scale: Scale) -> tuple[list[Html], int]:
    """Function calls, each from its call to its end, and how many rows their labels take.

    What else happened is drawn as marks.
    """
    drawn: list[Html] = []
    ends = [event for event in events if event.kind == "function_call_stopped"]
    rows = _Rows(_TOOL_ROWS, scale)
    for event in events:
        if event.kind == "function_call_stopped":
            continue
        if event.kind != "function_call":
            drawn.append(mark(event, scale))
            continue
        called = str(event.detail.get("name", ""))
        end = next((e for e in ends if e.at >= event.at and _is_of(e, called)), None)
        if end is not None:
            ends.remove(end)
        lasted = end.at - event.at if end is not None else 0.0
        took = length(lasted) if end is not None else "never answered"
        known = {k: v for k, v in event.detail.items() if k not in ("name", "args")}
        shown = replace(event, detail={**known, "took": took})
        name = words.call_of(event)
        row, flipped = rows.take(event.at, event.at + lasted, name)
        shape = f"tool row{rows.used - 1 if row is None else row}"
        shape += " cut" if end is not None and _was_cancelled(end) else ""
        shape += " flipped" if flipped else ""
        style = scale.place(event.at, event.at + lasted)
        label = name if row is not None else None
        drawn.append(item(shown, name, style=style, class_=shape, label=label))
    return drawn, rows.used


def model(events: Sequence[Happened], scale: Scale, over: float) -> list[Html]:
    """Each session from its connect to its end, when it generated, and marks."""
    drawn: list[Html] = []
    for event in events:
        if event.kind != "setup":
            continue
        session = event.detail.get("session")
        of_session = [e for e in events if e.detail.get("session") == session and e.at >= event.at]
        closed = next((e for e in of_session if e.kind == "closed"), None)
        opened = next((e for e in of_session if e.kind == "setupComplete"), None)
        end = over if closed is None else closed.at
        ready = end if opened is None else opened.at
        label = "session" if session is None else f"session {session}"
        drawn.append(element("i", class_="session", style=scale.place(event.at, end)))
        drawn.append(element("i", class_="opening", style=scale.place(event.at, ready)))
        drawn.append(_words(label, scale.place(ready, end), "session-name"))
    last_setup = max((event.at for event in events if event.kind == "setup"), default=0.0)
    started: Happened | None = None
    for event in events:
        if event.kind in _GENERATED and started is not None:
            style = scale.place(started.at, event.at)
            drawn.append(item(started, "generates", style=style, class_="generating"))
            started = None
            continue
        if event.kind == "llm_started":
            if started is not None:
                drawn.append(mark(started, scale))
            started = event
            continue
        # Another session was needed: this one was lost.
        lost = event.kind == "closed" and event.at <= last_setup
        drawn.append(mark(event, scale, "session lost" if lost else None))
    if started is not None:
        drawn.append(mark(started, scale))
    return drawn


def mark(event: Happened, scale: Scale, lost: str | None = None) -> Html:
    """Something that happened, without a label; `lost`, with a name of its own, as a mishap."""
    shape = " ".join(["mark", *(["wrong"] if lost else _tone(event))])
    style = f"left:{scale.at(event.at)}"
    return item(event, lost or words.name_of(event), style=style, class_=shape)


class _Rows:
    """Which row of a lane a label stands on, so that none covers another."""

    def __init__(self, number: int, scale: Scale) -> None:
        self._free_from = [-1.0] * number
        self._scale = scale
        self.used = 1

    def take(self, start: float, end: float, label: str) -> tuple[int | None, bool]:
        """The row (None: there is no room), and whether the label stands before the thing."""
        left, right = (float(self._scale.at(secs).rstrip("%")) for secs in (start, end))
        width = _AROUND + _CHARACTER * len(label)
        flipped = right + width > 100
        begins, ends = (left - width, right) if flipped else (left, right + width)
        row = next((i for i, free in enumerate(self._free_from) if begins >= free), None)
        if row is not None:
            self._free_from[row] = ends
            self.used = max(self.used, row + 1)
        return row, flipped


def _rooms(
    starts: Sequence[float], scale: Scale, lengths: Sequence[float] | None = None
) -> list[str]:
    """For each thing, where its label stands: from its end (or start) to the next thing."""
    begins = [start + (lengths[i] if lengths else 0.0) for i, start in enumerate(starts)]
    ends = [*starts[1:], scale.end][: len(starts)]
    return [scale.place(begin, end) for begin, end in zip(begins, ends, strict=True)]


def _words(text: str, room: str, shape: str) -> Html:
    """A label that is cut off, or not shown, where its room is too small."""
    return element(
        "span", element("span", text), class_=f"words {shape}", style=room, aria_hidden="true"
    )


def _tone(event: Happened) -> list[str]:
    if event.kind == "bot_interrupted":
        return ["barged"]
    return ["wrong"] if words.is_wrong(event) else []


def _is_of(end: Happened, called: str) -> bool:
    name = end.detail.get("name")
    return not name or not called or name == called


def _was_cancelled(end: Happened) -> bool:
    args = end.detail.get("args")
    return bool(end.detail.get("cancelled") or (isinstance(args, dict) and args.get("cancelled")))
