"""Compose files: gates, closed ports, secrets of their own, containers without rights."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).parents[2]
OURS = ("app", "worker", "migrate", "secrets")
JOBS = ("migrate", "secrets", "temporal-schema", "temporal-namespace")


@cache
def services(overlay: str | None = None) -> dict[str, dict[str, Any]]:
    files = ["docker-compose.yml", *([f"docker-compose.{overlay}.yml"] if overlay else ())]
    config = subprocess.run(
        [
            Path(sys.executable).parent / "docker-compose",
            *(part for name in files for part in ("-f", name)),
            *("config", "--no-env-resolution", "--format", "json"),
        ],
        cwd=REPO,
        env={**os.environ, "DOMAIN": "voice.example.com", "TLS_FOLDER": "/tls"},
        check=True,
        capture_output=True,
    )
    named: dict[str, dict[str, Any]] = json.loads(config.stdout)["services"]
    return named


def published(overlay: str | None = None) -> dict[str, set[tuple[str, str]]]:
    return {
        name: {(port.get("host_ip", "everywhere"), port["published"]) for port in one["ports"]}
        for name, one in services(overlay).items()
        if one.get("ports")
    }


def test_a_laptop_finds_each_service_at_its_port_and_nobody_else_does() -> None:
    ports = {
        "nginx": "8000",
        "temporal-ui": "8080",
        "grafana": "3000",
        "prometheus": "9090",
        "postgres": "5433",
    }
    assert published() == {name: {("127.0.0.1", port)} for name, port in ports.items()}


def test_production_opens_80_and_443_only() -> None:
    ports = published("prod")
    assert ports.pop("nginx") == {("everywhere", "80"), ("everywhere", "443")}
    assert "postgres" not in ports
    assert {host for those in ports.values() for host, _ in those} == {"127.0.0.1"}


def test_no_secret_stands_in_the_files() -> None:
    for overlay in (None, "prod"):
        for name, one in services(overlay).items():
            for variable, value in (one.get("environment") or {}).items():
                if any(word in variable for word in ("PASSWORD", "SECRET", "TOKEN", "KEY", "PWD")):
                    is_file = variable.endswith(("_FILE", "_FOLDER"))
                    assert not value or is_file, f"{overlay}: {name}: {variable}"
            assert "://" not in str((one.get("environment") or {}).get("DATABASE_URL", ""))


def test_production_is_said_to_be_production() -> None:
    for name in ("app", "worker", "migrate"):
        environment = services("prod")[name]["environment"]
        assert environment["ENVIRONMENT"] == "production"
        assert environment["BASE_URL"] == "https://voice.example.com"


def test_production_needs_a_domain() -> None:
    done = subprocess.run(
        [
            Path(sys.executable).parent / "docker-compose",
            *("-f", "docker-compose.yml", "-f", "docker-compose.prod.yml", "config", "-q"),
        ],
        cwd=REPO,
        env={name: value for name, value in os.environ.items() if name != "DOMAIN"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode
    assert "DOMAIN" in done.stderr


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights(name: str) -> None:
    one = services()[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]


def test_every_service_is_gated_on_health_and_jobs_run_once() -> None:
    for name, one in services().items():
        for other, gate in (one.get("depends_on") or {}).items():
            expected = "service_completed_successfully" if other in JOBS else "service_healthy"
            assert gate["condition"] == expected, f"{name} on {other}"
            if other not in JOBS and other not in ("app",):
                assert services()[other]["healthcheck"]["test"], other
    for job in JOBS:
        assert services()[job]["restart"] in ("no", "on-failure:10")


def test_the_migration_runs_before_what_uses_the_database() -> None:
    for name in ("app", "worker"):
        assert "migrate" in services()[name]["depends_on"]
    assert services()["migrate"]["command"] == ["migrate"]


def test_postgresql_keeps_its_data_where_version_18_wants_it() -> None:
    postgres = services()["postgres"]
    assert postgres["image"].startswith("postgres:18")
    assert "/var/lib/postgresql" in {volume["target"] for volume in postgres["volumes"]}


def test_calls_have_time_to_end_before_a_container_is_killed() -> None:
    for name in ("app", "worker"):
        assert services()[name]["stop_grace_period"] == "2m0s"
    assert services()["nginx"]["stop_signal"] == "SIGQUIT"


def test_only_the_demo_has_emulators() -> None:
    assert {"gemini", "twilio"} & set(services()) == set()
    assert {"gemini", "twilio"} & set(services("prod")) == set()
    assert {"gemini", "twilio"} <= set(services("demo"))
    assert services("demo")["app"]["environment"]["BASE_URL"] == "http://nginx:8000"
