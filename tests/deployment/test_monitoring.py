"""Dashboards and alerts ask for metrics that are exported, and each alert says what to do."""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client import Metric

from server.observability.metrics import Metrics

REPO = Path(__file__).parents[2]
DASHBOARDS = sorted((REPO / "docker/grafana/dashboards").glob("*.json"))
RULES = [
    rule
    for group in yaml.safe_load((REPO / "docker/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
# Names of PromQL that stand where a metric could.
WORDS = {
    *("sum", "min", "max", "avg", "by", "le", "rate", "increase", "histogram_quantile", "on"),
    *("and", "or", "unless", "ignoring", "bool", "offset", "without"),
}
# What Prometheus adds to each scrape.
SCRAPED = {"up": "gauge"}
TARGET_LABELS = {"job", "instance", "le", "namespace", "task_queue", "service_name", "status_code"}


def exported() -> dict[str, str]:
    """The name of each time series that this system and Temporal export, and its type."""
    ours = {
        name: family.type for family in Metrics().registry.collect() for name in series_of(family)
    }
    lines = (REPO / "tests/deployment/temporal_metrics.txt").read_text().splitlines()
    temporal = dict(line.split() for line in lines if not line.startswith("#"))
    histograms = {
        f"{name}_{part}": "histogram"
        for name, kind in temporal.items()
        if kind == "histogram"
        for part in ("bucket", "count", "sum")
    }
    return {**ours, **temporal, **histograms, **SCRAPED}


def series_of(family: Metric) -> list[str]:
    match family.type:
        case "counter":
            return [f"{family.name}_total"]
        case "histogram":
            return [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
        case _:
            return [family.name]


EXPORTED = exported()


def panels(path: Path) -> Iterator[dict[str, Any]]:
    yield from json.loads(path.read_text())["panels"]


def expressions() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
    for rule in RULES:
        yield f"alerts.yml: {rule['alert']}", rule["expr"]


def metrics_in(expression: str) -> set[str]:
    """The names of metrics in a PromQL expression."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring) \([^)]*\)", "", bare)
    return set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) - WORDS


ALL = list(expressions())


def test_the_names_of_metrics_are_found() -> None:
    assert metrics_in(
        'sum by (le, instance) (rate(a_bucket{x=~"b|c"}[$__rate_interval])) / sum(d{e="f"}) > 0.1'
    ) == {"a_bucket", "d"}
    assert metrics_in("histogram_quantile(0.95, sum by (le) (rate(g_bucket[5m])))") == {"g_bucket"}


@pytest.mark.parametrize(("where", "expression"), ALL, ids=[where for where, _ in ALL])
def test_an_expression_asks_for_what_is_exported_as_its_type_is_asked_for(
    where: str, expression: str
) -> None:
    names = metrics_in(expression)
    assert names, expression
    assert names - set(EXPORTED) == set()
    grows = set(re.findall(r"(?:rate|increase)\((\w+)", expression))
    assert {name for name in grows if EXPORTED[name] == "gauge"} == set()
    assert {name for name in names - grows if EXPORTED[name] == "counter"} == set()


def test_labels_that_are_asked_for_are_those_of_the_metric() -> None:
    labels = {
        name: set(collector._labelnames)
        for collector, names in Metrics().registry._collector_to_names.items()
        if hasattr(collector, "_labelnames")
        for name in names
    }
    wrong = {
        f"{where}: {name} has no label {label}"
        for where, expression in ALL
        for name, chosen in re.findall(r"\b(voice_ai_\w+)\{([^}]*)\}", expression)
        for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", re.sub(r'"[^"]*"', '""', chosen))
        if label not in labels[name] | {"instance", "job"}
    }
    assert wrong == set()
    grouped = {
        f"{where}: {name} has no label {label}"
        for where, expression in ALL
        for by, rest in re.findall(r"by \(([^)]*)\)\s*(\([^)]*)", expression)
        for name in re.findall(r"\bvoice_ai_\w+", rest)
        for label in by.replace(" ", "").split(",")
        if label not in labels[name] | {"instance", "job", "le"}
    }
    assert grouped == set()


def test_every_metric_of_ours_is_on_a_dashboard() -> None:
    shown = {
        name for where, expression in ALL if ".json" in where for name in metrics_in(expression)
    }
    ours = {
        family.name for family in Metrics().registry.collect() if family.name.startswith("voice")
    }
    unseen = {
        family
        for family in ours
        if not any(re.fullmatch(rf"{family}(_total|_bucket|_count|_sum)?", name) for name in shown)
    }
    # How long preparing took, running pipelines beside live calls, bytes: for whoever looks deeper.
    assert unseen == {
        "voice_ai_cassettes",
        "voice_ai_cassette_bytes",
        "voice_ai_warm_up_seconds",
        "voice_ai_running_pipelines",
        "voice_ai_recording_bytes",
        "voice_ai_tools_let_go",
    }


def maker() -> ModuleType:
    path = REPO / "docker/grafana/make_dashboards.py"
    spec = importlib.util.spec_from_file_location("make_dashboards", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["make_dashboards"] = module
    spec.loader.exec_module(module)
    return module


def test_the_dashboards_are_those_that_their_script_makes() -> None:
    made = maker()
    assert {path.stem: path.read_text() for path in DASHBOARDS} == {
        name: made.as_json(dashboard) for name, dashboard in made.DASHBOARDS.items()
    }


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_takes_its_data_source_from_a_variable_and_its_panels_do_not_overlap(
    path: Path,
) -> None:
    board = json.loads(path.read_text())
    assert board["templating"]["list"][0]["type"] == "datasource"
    cells: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["description"]
        at = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        cells |= taken


def test_dashboards_have_fixed_addresses() -> None:
    assert {path.stem: json.loads(path.read_text())["uid"] for path in DASHBOARDS} == {
        "calls": "voice-ai-calls",
        "callers": "voice-ai-callers",
        "process": "voice-ai-process",
        "temporal": "voice-ai-temporal",
    }


def test_every_alert_has_a_section_in_the_runbook_and_no_section_is_left_over() -> None:
    titles = re.findall(r"^### (\w+)$", (REPO / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sorted(titles) == sorted(rule["alert"] for rule in RULES)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_every_alert_has_a_unit_test() -> None:
    tests = yaml.safe_load((REPO / "docker/prometheus/alerts_test.yml").read_text())["tests"]
    tested = {case["alertname"] for test in tests for case in test["alert_rule_test"]}
    assert tested == {rule["alert"] for rule in RULES}
