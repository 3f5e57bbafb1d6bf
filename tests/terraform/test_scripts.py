"""terraform/scripts do their steps in order, and stop when one fails; `aws` is a file's account."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).parent.parent.parent
SCRIPTS = REPO / "terraform" / "scripts"
NAME = "voice-ai-production"
REGISTRY = f"111122223333.dkr.ecr.us-east-1.amazonaws.com/{NAME}"
ARN = "arn:aws:ecs:us-east-1:111122223333:task-definition"
OLD, NOW, NEW = (f"{REGISTRY}@sha256:{digit * 64}" for digit in "abc")
DEPLOYED = {"voice-ai.deployed": "yes"}
TERRAFORM = """#!/bin/sh
echo "terraform $*" >>"$(dirname "$0")/commands.log"
case "$*" in
    *"output -json secret"*) echo '{"keys": ["API_KEYS", "GEMINI_API_KEY"]}' ;;
    *"output -json tasks"*) echo '{"app": 2, "worker": 1}' ;;
    *"output -raw base_url"*) echo 'https://voice-west.example.com' ;;
esac
echo "password: ${TF_VAR_database_password:-none}" >&2
"""


@dataclass
class Account:
    """The folder on PATH with `aws` and `terraform`, and what they know and were asked."""

    folder: Path

    @property
    def state(self) -> Any:
        return json.loads((self.folder / "account.json").read_text())

    def change(self, **changes: Any) -> None:
        state = self.state if (self.folder / "account.json").exists() else {}
        (self.folder / "account.json").write_text(json.dumps(state | changes))

    @property
    def commands(self) -> list[str]:
        return (self.folder / "commands.log").read_text().splitlines()

    def changed(self, service: str) -> str:
        return str(self.state["services"][service]["taskDefinition"])

    def run(self, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            [self.folder / "repo" / "scripts" / script, *arguments],
            env={"PATH": path, "POLL_SECS": "1", "ROLLOUT_SECS": "1", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )


def definition(kind: str, image: str, **more: Any) -> dict[str, Any]:
    container = {"name": kind, "image": image, "command": [kind], **more}
    return {"family": f"{NAME}-{kind}", "containerDefinitions": [container], "cpu": "512"}


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Two revisions of each task; the second, of another image, runs."""
    for name in ("bash", "jq"):
        assert shutil.which(name), f"{name} is needed"
    shutil.copy(Path(__file__).parent / "aws_account.py", tmp_path / "aws")
    (tmp_path / "aws").chmod(0o755)
    shutil.copytree(SCRIPTS.parent, tmp_path / "repo", ignore=shutil.ignore_patterns("modules"))
    (tmp_path / "terraform").write_text(TERRAFORM)
    (tmp_path / "terraform").chmod(0o755)
    account = Account(tmp_path)
    kinds = ("app", "worker", "migrate")
    account.change(
        families={
            f"{NAME}-{kind}": [definition(kind, OLD), definition(kind, NOW)] for kind in kinds
        },
        services={
            kind: {"taskDefinition": f"{ARN}/{NAME}-{kind}:2", "networkConfiguration": {"in": kind}}
            for kind in ("app", "worker")
        },
        exit_code=0,
        secret={},
    )
    return account


def test_a_deploy_migrates_and_then_moves_worker_and_app(account: Account) -> None:
    done = account.run("deploy.sh", "production/us-east-1", NEW)
    assert done.returncode == 0, done.stderr
    steps = [
        line.split(" --")[0]
        for line in account.commands
        if " run-task" in line or " update-" in line
    ]
    assert steps == ["ecs run-task", "ecs update-service", "ecs update-service"]
    ran = next(line for line in account.commands if " run-task" in line)
    assert f"{ARN}/{NAME}-migrate:3" in ran
    assert '"in": "worker"' in ran
    assert account.changed("app") == f"{ARN}/{NAME}-app:3"
    assert account.changed("worker") == f"{ARN}/{NAME}-worker:3"
    newest = account.state["families"][f"{NAME}-app"][2]
    assert newest == definition("app", NEW, dockerLabels=DEPLOYED)


def test_a_migration_that_fails_moves_nothing(account: Account) -> None:
    account.change(exit_code=1)
    done = account.run("deploy.sh", "production/us-east-1", NEW)
    assert done.returncode != 0
    assert "ended with exit code 1" in done.stderr
    assert account.changed("app") == f"{ARN}/{NAME}-app:2"
    assert not [line for line in account.commands if " update-service" in line]


def test_a_deployment_that_ecs_rolls_back_fails(account: Account) -> None:
    account.change(rollout="REPLACED")
    done = account.run("deploy.sh", "production/us-east-1", NEW)
    assert done.returncode != 0
    assert "rolled the deployment back: (service) failed" in done.stderr


@pytest.mark.long
def test_a_deployment_that_waits_for_old_calls_is_done_when_the_new_tasks_are(
    account: Account,
) -> None:
    account.change(rollout="IN_PROGRESS")
    slow = account.run("deploy.sh", "production/us-east-1", NEW, SETTLE_SECS="900")
    assert slow.returncode != 0
    assert "takes too long" in slow.stderr
    assert account.run("deploy.sh", "production/us-east-1", NEW, SETTLE_SECS="0").returncode == 0


@pytest.mark.parametrize("image", [f"{REGISTRY}:latest", f"{REGISTRY}@sha256:abc", ""])
def test_only_a_digest_is_deployed(account: Account, image: str) -> None:
    done = account.run("deploy.sh", "production/us-east-1", image)
    assert done.returncode != 0
    assert "by its digest" in done.stderr


def test_a_rollback_goes_to_the_newest_other_image_that_was_deployed(account: Account) -> None:
    families, services = account.state["families"], account.state["services"]
    for kind in ("app", "worker"):
        families[f"{NAME}-{kind}"] = [
            definition(kind, OLD),
            definition(kind, OLD, dockerLabels=DEPLOYED),
            definition(kind, NOW, dockerLabels=DEPLOYED),
            # A new setting, by Terraform, and its deploy.
            definition(kind, NEW),
            definition(kind, NOW, dockerLabels=DEPLOYED),
        ]
        services[kind]["taskDefinition"] = f"{ARN}/{NAME}-{kind}:5"
    account.change(families=families, services=services)
    done = account.run("rollback.sh", "production/us-east-1")
    assert done.returncode == 0, done.stderr
    assert account.changed("app") == f"{ARN}/{NAME}-app:2"
    assert account.changed("worker") == f"{ARN}/{NAME}-worker:2"
    again = account.run("rollback.sh", "production/us-east-1")
    assert again.returncode != 0
    assert "no older revision" in again.stderr


def test_secrets_are_made_up_kept_or_taken_and_never_in_an_argument(account: Account) -> None:
    first = account.run("set_secrets.sh", "production/us-east-1", GEMINI_API_KEY="one'\"$x")
    assert first.returncode == 0, first.stderr
    secret = account.state["secret"]
    assert secret["GEMINI_API_KEY"] == "one'\"$x"
    assert len(secret["API_KEYS"]) == 64
    again = account.run("set_secrets.sh", "production/us-east-1")
    assert again.returncode == 0
    assert account.state["secret"] == secret
    anew = account.run("set_secrets.sh", "production/us-east-1", "API_KEYS")
    assert anew.returncode == 0
    assert account.state["secret"]["API_KEYS"] != secret["API_KEYS"]
    said = "\n".join(account.commands) + first.stdout + first.stderr + anew.stdout
    assert "one'" not in said
    assert secret["API_KEYS"] not in said


def test_a_vendors_key_is_not_made_up(account: Account) -> None:
    done = account.run("set_secrets.sh", "production/us-east-1")
    assert done.returncode != 0
    assert "GEMINI_API_KEY is not set" in done.stderr
    assert account.state["secret"] == {}


def test_apply_hands_the_password_to_terraform_by_the_environment(account: Account) -> None:
    account.change(secret={"PGPASSWORD": "of the database"})
    done = account.run("apply.sh", "production/us-east-1", "-refresh=false")
    assert "password: of the database" in done.stderr
    (line,) = [line for line in account.commands if line.startswith("terraform")]
    assert line.endswith("environments/production/us-east-1 apply -refresh=false")
    account.change(secret=None)
    assert "password: none" in account.run("apply.sh", "production/us-east-1").stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["production/us-east-1", "arn:aws:rds:us-east-1:1:db:x"], "is in us-east-1 itself"),
        (["production/us-east-1", "voice-ai"], "starts with arn:aws:rds:"),
        (["production/mars", "arn:aws:rds:us-west-2:1:db:x"], "There is no environment"),
        (["production/us-east-1", "arn:aws:rds:us-west-2:1:db:x"], ""),
    ],
)
def test_a_database_is_not_deleted_by_mistake(
    account: Account, arguments: list[str], says: str
) -> None:
    done = account.run("make_standby.sh", *arguments)
    assert done.returncode != 0
    assert says in done.stderr
    assert not (account.folder / "commands.log").exists()


def test_a_failover_promotes_deploys_and_then_starts_tasks(account: Account) -> None:
    done = account.run("failover.sh", "production/us-west-2", NEW)
    assert done.returncode == 0, done.stderr
    mode = (
        account.folder / "repo" / "environments" / "production" / "us-west-2" / "mode.auto.tfvars"
    )
    assert mode.read_text() == 'mode = "active"\n'
    steps = [line for line in account.commands if re.search(r" apply | run-task | update-", line)]
    assert re.search(r"production/us-west-2 apply .*-auto-approve", steps[0])
    assert " run-task " in steps[1]
    assert [line.split("--service ")[1].split()[0] for line in steps[2:]] == [
        *("worker", "app"),
        *("app", "worker"),
    ]
    services = account.state["services"]
    assert (services["app"]["desiredCount"], services["worker"]["desiredCount"]) == (2, 1)
    assert "https://voice-west.example.com takes calls" in done.stdout


def test_a_standby_stops_its_tasks_before_its_database_is_made_anew(account: Account) -> None:
    active = "arn:aws:rds:us-west-2:111122223333:db:voice-ai-production"
    done = account.run("make_standby.sh", "production/us-east-1", active, CONFIRM=NAME)
    assert done.returncode == 0, done.stderr
    services = account.state["services"]
    assert (services["app"]["desiredCount"], services["worker"]["desiredCount"]) == (0, 0)
    order = [line.split(" --")[0] for line in account.commands if not line.startswith("rds wait")]
    assert order[:4] == ["ecs update-service"] * 2 + [
        "rds modify-db-instance",
        "rds create-db-snapshot",
    ]
    assert "-replace=module.region.module.data.aws_db_instance.this" in account.commands[-1]
    mode = (
        account.folder / "repo" / "environments" / "production" / "us-east-1" / "mode.auto.tfvars"
    )
    assert f'database_replica_of = "{active}"' in mode.read_text()


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_bash_without_mistakes_of_syntax(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert os.access(script, os.X_OK) is (script.name != "common.sh")
    assert script.name == "common.sh" or f"terraform/scripts/{script.name} " in script.read_text()
