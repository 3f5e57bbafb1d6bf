"""Prints calls for people: a table of many, a page of one; whole at 80 columns.

Everything may quote strangers, so control characters are escaped, and nothing is read as markup.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.cli.call_cost import cost_of
from server.cli.latency_chart import draw, shows_blocks
from server.observability.printable import printable

Json = Mapping[str, Any]

# Enough to tell apart the calls of a day.
SHORT_ID = 8
PIPE_WIDTH = 80
_ARROWS = {"inbound": "in", "outbound": "out"}
# Nobody needs these twice: the page has them in other places.
_ELSEWHERE = {"latency", "usage", "id", "status", "end_reason", "error", "duration_seconds"}


def console() -> Console:
    """Standard output; 80 columns wide where nobody looks, unless COLUMNS says otherwise."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def print_calls(calls: Sequence[Json]) -> None:
    """One line a call, with the beginning of its id."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "created (UTC)", "way"):
        table.add_column(name, no_wrap=True)
    table.add_column("number", overflow="fold", max_width=22)
    for name in ("status", "ended by"):
        table.add_column(name, no_wrap=True)
    table.add_column("lasted", justify="right", no_wrap=True)
    for call in calls:
        lasted = call["duration_seconds"]
        table.add_row(
            call["id"][:SHORT_ID],
            call["created_at"][5:19].replace("T", " "),
            _ARROWS[call["direction"]],
            _text(call["phone_number"]),
            call["status"],
            call["end_reason"] or "",
            "" if lasted is None else f"{lasted:.0f} s",
        )
    console().print(table)


def print_call(call: Json, turns: Sequence[Json], events: Sequence[Json]) -> None:
    """How it ended, its fields, what was said and done, how fast it was, what it cost."""
    out = console()
    lasted = call["duration_seconds"]
    head = Text(call["status"], style="bold")
    head.append(f" ({call['end_reason']})" if call["end_reason"] else "", style="not bold")
    head.append("" if lasted is None else f", {lasted:.1f} s", style="not bold")
    out.print(Text.assemble((call["id"], "bold"), "  ", head))
    if call["error"]:
        out.print(_text(call["error"]), style="red")
    out.print(
        _pairs({k: v for k, v in call.items() if k not in _ELSEWHERE and v not in (None, {})})
    )
    if turns:
        _section(out, "conversation")
        out.print(_conversation(turns))
    if tools := _tools(events):
        _section(out, "tools")
        out.print(tools)
    if chart := draw(call["latency"], blocks=shows_blocks()):
        out.print()
        for line in chart:
            out.print(Text(line))
    if call["usage"] or lasted:
        _section(out, "cost")
        out.print(_cost(call))
    _section(out, "events")
    out.print(_events(events))


def _section(out: Console, name: str) -> None:
    out.print()
    out.print(Text(name, style="bold"))


def _grid(*columns: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for column in ({"width": 0}, *columns):
        grid.add_column(**column)
    return grid


def _pairs(values: Json) -> Table:
    grid = _grid({"style": "dim", "no_wrap": True}, {"overflow": "fold"})
    for name, value in values.items():
        grid.add_row("", name, _text(_plain(value)))
    return grid


def _conversation(turns: Sequence[Json]) -> Table:
    grid = _grid({"justify": "right", "no_wrap": True}, {"no_wrap": True}, {"overflow": "fold"})
    for turn in turns:
        cut = " … (interrupted)" if turn["interrupted"] else ""
        grid.add_row("", f"{turn['start_ms'] / 1000:.1f} s", turn["who"], _text(turn["text"] + cut))
    return grid


def _tools(events: Sequence[Json]) -> Table | None:
    """Each call of a tool with its arguments, then its answers in the order that they came."""
    grid = _grid({"no_wrap": True}, {"overflow": "fold"})
    for event in events:
        detail = event["detail"]
        if event["kind"] == "tool.called":
            grid.add_row("", _text(detail["name"]), _text(f"called {_plain(detail['arguments'])}"))
        elif event["kind"] == "tool.answered":
            how = "answered" if detail["ok"] else "failed"
            why = f": {detail['why']}" if detail.get("why") else ""
            grid.add_row("", _text(detail["name"]), _text(f"{how} after {detail['ms']} ms{why}"))
    return grid if grid.row_count else None


def _cost(call: Json) -> Table:
    grid = _grid({"overflow": "fold"})
    tokens = [f"{it['tokens']} {it['modality']} {it['direction']}" for it in call["usage"]]
    if tokens:
        grid.add_row("", _text("tokens: " + ", ".join(tokens)))
    for line in cost_of(call).lines:
        grid.add_row("", line)
    return grid


def _events(events: Sequence[Json]) -> Table:
    """What happened, in the order in which it happened, with the seconds since the first."""
    grid = _grid({"justify": "right", "no_wrap": True}, {"no_wrap": True}, {"overflow": "fold"})
    moments = sorted((datetime.fromisoformat(event["at"]), n) for n, event in enumerate(events))
    for at, number in moments:
        event = events[number]
        detail = "  ".join(f"{name}={_plain(it)}" for name, it in event["detail"].items())
        secs = (at - moments[0][0]) / timedelta(seconds=1)
        grid.add_row("", f"{secs:.3f} s", _text(event["kind"]), _text(detail))
    return grid


def _plain(value: Any) -> str:
    """A value of JSON as JSON writes it; text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(text: str) -> Text:
    return Text(printable(text))
