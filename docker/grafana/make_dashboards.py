"""Writes the Grafana dashboards of this folder: `python docker/grafana/make_dashboards.py`.

Classic JSON, as Grafana loads it from files. Each row of panels is a line below: its title, what it
means to a reader, its unit, and one query for each legend. The data source is a variable, so that
a dashboard can be imported anywhere.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 24, 8


@dataclass(frozen=True)
class Panel:
    """One panel; `queries` by legend. `kind`: timeseries, stat, bargauge or heatmap."""

    title: str
    says: str
    unit: str
    queries: Mapping[str, str]
    kind: str = "timeseries"
    width: int = 8
    thresholds: Sequence[tuple[float, str]] = ()
    stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; `uid` never changes, so that links to it stay good."""

    uid: str
    title: str
    says: str
    panels: Sequence[Panel]
    # Instances of which job the variable `instance` chooses among.
    job: str = "voice-ai"
    tags: Sequence[str] = field(default=("voice-ai",))


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Per second, of the chosen instances."""
    return f"sum{_by(by)}(rate({metric}{{{_selected(where)}}}[$__rate_interval]))"


def count(metric: str, by: str = "", where: str = "") -> str:
    """How many in the time that is shown."""
    return f"sum{_by(by)}(increase({metric}{{{_selected(where)}}}[$__range]))"


def total(metric: str, by: str = "", where: str = "") -> str:
    """The sum of gauges."""
    return f"sum{_by(by)}({metric}{{{_selected(where)}}})"


def quantile(q: float, metric: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram, named without `_bucket`."""
    labels = f"le, {by}" if by else "le"
    of = f"{metric}_bucket{{{_selected(where)}}}"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({of}[$__rate_interval])))"


def quantiles(metric: str) -> dict[str, str]:
    """What half, most and nearly all feel."""
    return {name: quantile(q, metric) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


def heat(metric: str) -> dict[str, str]:
    """A histogram as a heat map."""
    of = f"{metric}_bucket{{{_selected('')}}}"
    return {"{{le}}": f"sum by (le) (increase({of}[$__rate_interval]))"}


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _selected(where: str) -> str:
    return ", ".join(filter(None, ['instance=~"$instance"', where]))


GREEN_TO_RED = ((0, "green"), (0.7, "orange"), (0.85, "red"))
ANY_IS_RED = ((0, "green"), (1, "red"))
SCHEDULE = "temporal_{}_schedule_to_start_latency"

CALLS = Dashboard(
    "voice-ai-calls",
    "Calls",
    "How many calls there are, and how they end.",
    [
        Panel(
            "Live calls",
            "Places held now.",
            "short",
            {"": total("voice_ai_active_calls")},
            "stat",
            4,
        ),
        Panel(
            "Places taken",
            "Live calls by capacity. Beyond 85 % an alert fires; at 100 % callers are turned away.",
            "percentunit",
            {"": f"{total('voice_ai_active_calls')} / {total('voice_ai_call_capacity')}"},
            "stat",
            4,
            GREEN_TO_RED,
        ),
        Panel(
            "Calls", "In the time shown.", "short", {"": count("voice_ai_calls_total")}, "stat", 4
        ),
        Panel(
            "Without a model",
            "Callers who heard an apology.",
            "short",
            {"": count("voice_ai_calls_total", where='end_reason="no_model"')},
            "stat",
            4,
            ANY_IS_RED,
        ),
        Panel(
            "Lost by us",
            "Calls that this system ended: a process died, or stopped too early.",
            "short",
            {"": count("voice_ai_calls_total", where='end_reason="system"')},
            "stat",
            4,
            ANY_IS_RED,
        ),
        Panel(
            "Turned away",
            "Calls for which there was no place.",
            "short",
            {"": count("voice_ai_rejected_requests_total", where='reason="capacity"')},
            "stat",
            4,
            ANY_IS_RED,
        ),
        Panel(
            "Live calls by instance",
            "An even spread means that the load balancer does its work.",
            "short",
            {"{{instance}}": total("voice_ai_active_calls", "instance")},
            width=12,
            stacked=True,
        ),
        Panel(
            "Calls that end, by status",
            "Twilio's word for it: an answered call ends completed.",
            "cps",
            {"{{status}}": rate("voice_ai_calls_total", "status")},
            width=12,
            stacked=True,
        ),
        Panel(
            "End reasons",
            "Who or what ended the calls in the time shown.",
            "short",
            {"{{end_reason}}": count("voice_ai_calls_total", "end_reason")},
            "bargauge",
        ),
        Panel(
            "Direction",
            "Inbound and outbound calls.",
            "cps",
            {"{{direction}}": rate("voice_ai_calls_total", "direction")},
        ),
        Panel(
            "Refused requests",
            "By reason; a flood of one reason is somebody's mistake, or an attack.",
            "reqps",
            {"{{reason}}": rate("voice_ai_rejected_requests_total", "reason")},
        ),
        Panel(
            "Callers in line",
            "Who waited for a free place, by how that ended; how long, until they were taken.",
            "short",
            {
                "{{outcome}}": count("voice_ai_inbound_queue_seconds_count", "outcome"),
                "seconds, p95": quantile(
                    0.95, "voice_ai_inbound_queue_seconds", where='outcome="taken"'
                ),
            },
        ),
        Panel(
            "How long calls last",
            "From answer to end.",
            "s",
            quantiles("voice_ai_call_duration_seconds"),
            width=12,
        ),
        Panel(
            "Recordings by outcome",
            "Only when RECORDINGS is on.",
            "cps",
            {"{{outcome}}": rate("voice_ai_recordings_total", "outcome")},
            width=12,
        ),
    ],
)

CALLERS_FEEL = Dashboard(
    "voice-ai-callers",
    "What callers feel",
    "Latency, gaps and dead air, as measured at the phone by Twilio's marks.",
    [
        Panel(
            "First sound",
            "From answer to the agent's first sound. Prepared calls: tens of milliseconds.",
            "s",
            quantiles("voice_ai_first_sound_seconds"),
        ),
        Panel(
            "Response",
            "From the caller's last sound to the reply heard.",
            "s",
            quantiles("voice_ai_turn_response_seconds"),
        ),
        Panel(
            "Barge-in",
            "From the caller's interruption to silence.",
            "s",
            quantiles("voice_ai_barge_in_seconds"),
        ),
        Panel(
            "First sound, all of them",
            "Two bands mean two kinds of calls: prepared while they rang, and cold.",
            "s",
            heat("voice_ai_first_sound_seconds"),
            "heatmap",
            12,
        ),
        Panel(
            "Response, all of them",
            "The model's thinking and ours.",
            "s",
            heat("voice_ai_turn_response_seconds"),
            "heatmap",
            12,
        ),
        Panel(
            "Gaps inside a reply",
            "Gaps for each answer: the model, the network or a busy loop was too slow.",
            "short",
            {
                "gaps an answer": f"{rate('voice_ai_playback_gap_seconds_count')}"
                f" / {rate('voice_ai_turn_response_seconds_count')}"
            },
        ),
        Panel(
            "Length of gaps",
            "Below 60 ms few people notice.",
            "s",
            quantiles("voice_ai_playback_gap_seconds"),
        ),
        Panel(
            "Dead air",
            "Who was silent for so long that something was done.",
            "cps",
            {"{{what}}": rate("voice_ai_dead_air_total", "what")},
        ),
        Panel(
            "Waiting for the model",
            "Why callers waited for too long, and what was done: prompted, filled or given up.",
            "cps",
            {"{{cause}}, {{action}}": rate("voice_ai_model_dead_air_total", "cause, action")},
        ),
        Panel(
            "Sessions that took over",
            "Planned between two turns, forced, or because another one spoke first.",
            "cps",
            {"{{cause}}": rate("voice_ai_model_switches_total", "cause")},
        ),
        Panel(
            "Prepared while it rang",
            "used: the session was open and the greeting ready. cold: it was not.",
            "cps",
            {"{{outcome}}": rate("voice_ai_warm_ups_total", "outcome")},
            width=12,
            stacked=True,
        ),
        Panel(
            "Our own share",
            "What this system adds to a packet: p99, each way.",
            "s",
            {
                "caller to Gemini": quantile(0.99, "voice_ai_share_in_seconds"),
                "Gemini to caller": quantile(0.99, "voice_ai_share_out_seconds"),
            },
            width=12,
        ),
    ],
)

PROCESS = Dashboard(
    "voice-ai-process",
    "The process",
    "CPU, event loop and memory of each instance, and its connections to Gemini.",
    [
        Panel(
            "CPU",
            "Cores used. One process uses one core at most.",
            "percentunit",
            {"{{instance}}": rate("process_cpu_seconds_total", "instance")},
        ),
        Panel(
            "Event-loop lag, p99",
            "A lag over 100 ms may be heard as a gap.",
            "s",
            {"{{instance}}": quantile(0.99, "voice_ai_event_loop_lag_seconds", "instance")},
        ),
        Panel(
            "Memory",
            "Resident. It should be flat over days.",
            "bytes",
            {"{{instance}}": total("process_resident_memory_bytes", "instance")},
        ),
        Panel(
            "Connects to Gemini",
            "By outcome: ok, or why not.",
            "cps",
            {"{{outcome}}": rate("voice_ai_model_connects_total", "outcome")},
            stacked=True,
        ),
        Panel(
            "Time to connect",
            "Opening a session, set-up included.",
            "s",
            quantiles("voice_ai_model_connect_seconds"),
        ),
        Panel(
            "Sessions dropped",
            "By reason: callers hear at most a breath.",
            "cps",
            {"{{reason}}": rate("voice_ai_model_drops_total", "reason")},
            stacked=True,
        ),
        Panel(
            "Packets",
            "50 a second and call come in.",
            "pps",
            {"{{direction}}": rate("voice_ai_packets_total", "direction")},
        ),
        Panel(
            "Record waiting",
            "Rows that are not in the database yet, and rows lost.",
            "short",
            {
                "{{instance}} waiting": total("voice_ai_record_rows_waiting", "instance"),
                "{{instance}} lost": total("voice_ai_record_rows_lost", "instance"),
            },
        ),
        Panel(
            "Ready",
            "1: as it should be.",
            "short",
            {"{{check}}": f"min by (check) (voice_ai_ready{{{_selected('')}}})"},
        ),
        Panel(
            "Prepared sessions",
            "Open for phones that ring, and tokens of those that nobody talked to.",
            "short",
            {
                "open": total("voice_ai_warm_sessions"),
                "tokens a second": rate("voice_ai_warm_waste_tokens_total"),
            },
        ),
        Panel(
            "Messages not used",
            "Of Gemini by what was wrong, and of media streams.",
            "cps",
            {
                "{{what}}": rate("voice_ai_model_left_out_total", "what"),
                "media stream": rate("voice_ai_bad_messages_total"),
            },
        ),
        Panel(
            "Relays",
            "Streams that are passed on to the instance of their call, and how that went.",
            "short",
            {
                "{{instance}} now": total("voice_ai_relayed_streams", "instance"),
                "{{outcome}} a second": rate("voice_ai_relays_total", "outcome"),
            },
        ),
        Panel(
            "Moves between instances",
            "Calls that leave an instance, by reason and outcome; and how those left that go on.",
            "cps",
            {
                "{{reason}}, {{outcome}}": rate("voice_ai_moves_total", "reason, outcome"),
                "goes on, {{how}}": rate("voice_ai_calls_taken_over_total", "how"),
            },
        ),
        Panel(
            "Open files",
            "Each call holds two sockets.",
            "short",
            {"{{instance}}": total("process_open_fds", "instance")},
        ),
    ],
)

TEMPORAL = Dashboard(
    "voice-ai-temporal",
    "Temporal",
    "Workers (SDK) and the server that carries the lives of calls. Durations are milliseconds.",
    [
        Panel(
            "Workflow tasks wait, p95",
            "For a worker. Over a second: start more workers.",
            "ms",
            {"{{task_queue}}": quantile(0.95, SCHEDULE.format("workflow_task"), "task_queue")},
        ),
        Panel(
            "Activities wait, p95",
            "For a worker.",
            "ms",
            {"{{task_queue}}": quantile(0.95, SCHEDULE.format("activity"), "task_queue")},
        ),
        Panel(
            "Backlog",
            "Tasks that wait, as the server estimates.",
            "short",
            {"{{taskqueue}}": "sum by (taskqueue) (approximate_backlog_count)"},
        ),
        Panel(
            "Workflows that ended",
            "One for each call.",
            "cps",
            {
                "completed": rate("temporal_workflow_completed"),
                "failed": rate("temporal_workflow_failed"),
            },
        ),
        Panel(
            "Activities that failed",
            "By type; Temporal tries them again.",
            "cps",
            {"{{activity_type}}": rate("temporal_activity_execution_failed", "activity_type")},
        ),
        Panel(
            "Activities, p95",
            "By type.",
            "ms",
            {
                "{{activity_type}}": quantile(
                    0.95, "temporal_activity_execution_latency", "activity_type"
                )
            },
        ),
        Panel(
            "Requests to the server, p95",
            "By operation.",
            "ms",
            {"{{operation}}": quantile(0.95, "temporal_request_latency", "operation")},
        ),
        Panel(
            "Requests that failed",
            "By operation.",
            "cps",
            {"{{operation}}": rate("temporal_request_failure", "operation")},
        ),
        Panel(
            "Slots free",
            "Work that a worker may take on.",
            "short",
            {"{{worker_type}}": total("temporal_worker_task_slots_available", "worker_type")},
        ),
        Panel(
            "Server: requests",
            "By service.",
            "reqps",
            {
                "{{service_name}}": "sum by (service_name) "
                "(rate(service_requests[$__rate_interval]))"
            },
        ),
        Panel(
            "Server: errors",
            "By kind; some are normal, such as not found.",
            "cps",
            {
                "{{error_type}}": "sum by (error_type) "
                "(rate(service_error_with_type[$__rate_interval]))"
            },
        ),
        Panel(
            "Server: database, p95",
            "PostgreSQL as Temporal sees it.",
            "s",
            {
                "{{operation}}": "histogram_quantile(0.95, sum by (le, operation) "
                "(rate(persistence_latency_bucket[$__rate_interval])))"
            },
        ),
    ],
    job="voice-ai-worker",
)

DASHBOARDS = {
    "calls": CALLS,
    "callers": CALLERS_FEEL,
    "process": PROCESS,
    "temporal": TEMPORAL,
}


def as_json(dashboard: Dashboard) -> str:
    """The dashboard as Grafana reads it."""
    model = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.says,
        "tags": list(dashboard.tags),
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "links": [
            {
                "type": "dashboards",
                "title": "Voice AI",
                "tags": ["voice-ai"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": _variables(dashboard.job)},
        "panels": list(_placed(dashboard.panels)),
    }
    return json.dumps(model, indent=2) + "\n"


def _variables(job: str) -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Instance",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": f'label_values(up{{job="{job}"}}, instance)', "refId": "instance"},
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _placed(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    x = y = last_height = 0
    for number, panel in enumerate(panels, 1):
        height = HEIGHT // 2 if panel.kind == "stat" else HEIGHT
        if x + panel.width > WIDTH:
            x, y = 0, y + last_height
        yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height})
        x, last_height = x + panel.width, height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = [
        {"color": color, "value": value if value else None}
        for value, color in panel.thresholds or ((0, "green"),)
    ]
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {
            "fillOpacity": 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
        }
    return {
        "id": number,
        "title": panel.title,
        "description": panel.says,
        "type": panel.kind,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {"mode": "absolute", "steps": steps},
            },
            "overrides": [],
        },
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
                "format": "heatmap" if panel.kind == "heatmap" else "time_series",
                "instant": panel.kind in ("stat", "bargauge"),
                "range": panel.kind not in ("stat", "bargauge"),
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "stat" | "bargauge":
            return {"reduceOptions": {"calcs": ["lastNotNull"]}, "orientation": "horizontal"}
        case "heatmap":
            return {"calculate": False, "yAxis": {"unit": panel.unit}}
        case _:
            return {"tooltip": {"mode": "multi", "sort": "desc"}, "legend": {"displayMode": "list"}}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(as_json(dashboard), encoding="utf-8")
