"""Terraform gives the tasks what the server reads: settings, secrets, metrics, the password."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from agent.record.database import open_engine
from server.observability.cloudwatch import CloudWatchMetrics
from server.observability.metrics import Metrics
from server.settings.settings import NEEDED_IN_PRODUCTION, Settings
from tests.postgres import Postgres

MODULES = Path(__file__).parent.parent.parent / "terraform" / "modules"
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in MODULES.glob("*/*.tf"))
# Read by asyncpg and by Python themselves, and what Temporal's client is configured by.
READ_BY_OTHERS = {"PGPASSWORD", "TMPDIR"}
TEMPORAL = {"TEMPORAL_TLS", "TEMPORAL_API_KEY", "TEMPORAL_CODEC_KEY"}


def source(path: str) -> str:
    return (MODULES / path).read_text(encoding="utf-8")


def given() -> set[str]:
    """Names of the variables that the modules put into tasks."""
    plain = re.findall(r"\b([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|PORT|ENVIRONMENT) +=", SOURCE)
    secret = re.findall(r'"([A-Z][A-Z0-9_]+)"', source("region/main.tf"))
    needed = re.findall(r'"([A-Z][A-Z0-9_]+)"', source("data/outputs.tf"))
    server = set(re.findall(r"^ +([A-Z][A-Z_0-9]+) +=", source("temporal/main.tf"), re.MULTILINE))
    return {*plain, *secret, *needed} - server - {"DB_PORT", "POSTGRES_SEEDS", "POSTGRES_USER"}


def test_tasks_get_nothing_that_the_server_does_not_read() -> None:
    names = given() - READ_BY_OTHERS - TEMPORAL
    assert {"BASE_URL", "DATABASE_URL", "REDIS_URL", "CLOUDWATCH_NAMESPACE"} <= names
    assert sorted(name for name in names if name.lower() not in Settings.model_fields) == []


def test_what_production_needs_is_given_or_asked_for() -> None:
    asked = re.search(r"setsubtract\(\[(.*?)\]", source("region/variables.tf"))
    assert asked is not None
    there = given() | set(re.findall(r'"(\w+)"', asked[1]))
    assert sorted(name for name in NEEDED_IN_PRODUCTION if name.upper() not in there) == []


def test_autoscaling_and_alarms_watch_metrics_that_the_app_writes() -> None:
    metrics = CloudWatchMetrics(Metrics().registry, namespace="n", capacity=1)
    written = set(re.findall(r'"Name": "(\w+)"', metrics.line()))
    scaling = set(re.findall(r'metric_name = "(\w+)"', source("ecs/autoscaling.tf")))
    alarms = set(
        re.findall(
            r'namespace = var\.metrics_namespace, metric = "(\w+)"',
            source("observability/alarms.tf"),
        )
    )
    assert scaling == {"OccupiedPercent"}
    assert len(alarms) > 4
    # CriticalLines is counted from the log.
    assert scaling | alarms - {"CriticalLines"} <= written


async def test_a_database_url_without_a_password_takes_it_from_pgpassword(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = postgres.folder / "data" / "pg_hba.conf"
    rules.write_text("local all voice_ai scram-sha-256\n" + rules.read_text())
    async with postgres.administrator() as administrator:
        await administrator.execute("CREATE ROLE voice_ai LOGIN PASSWORD 'p@ss/word'")
        await administrator.execute("SELECT pg_reload_conf()")
    url = f"postgresql+asyncpg://voice_ai@/postgres?host={postgres.folder}"

    monkeypatch.setenv("PGPASSWORD", "p@ss/word")
    engine = open_engine(url, 1)
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT current_user"))).scalar() == "voice_ai"
    await engine.dispose()

    monkeypatch.setenv("PGPASSWORD", "wrong")
    engine = open_engine(url, 1)
    with pytest.raises(Exception, match="password authentication failed"):
        async with engine.connect():
            pass
    await engine.dispose()
