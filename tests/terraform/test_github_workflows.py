"""The workflows that a user copies: no keys, one build, digests, staging before production."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).parent.parent.parent
WORKFLOWS = sorted((REPO / "deploy" / "github").glob("*.yml"))


def jobs(name: str) -> dict[str, Any]:
    text = (REPO / "deploy" / "github" / name).read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["jobs"])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_and_has_no_key(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert not re.search(r"ACCESS_KEY|secrets\.", text)
    assert re.search(rf"Copy to \.github/workflows/{path.name}", text)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for script in set(re.findall(r"(?:terraform/)?scripts/\w+\.sh", text)):
        assert (REPO / script).is_file(), script
    makefile = (REPO / "Makefile").read_text()
    for target in re.findall(r"run: make ([\w-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for environment in re.findall(r"'(staging|production/[\w-]+)'", text):
        assert (REPO / "terraform" / "environments" / environment / "main.tf").is_file()


def test_an_image_is_tested_built_once_and_goes_to_staging_before_production() -> None:
    deploy = jobs("deploy.yml")
    assert [(name, job.get("needs")) for name, job in deploy.items()] == [
        ("test", None),
        ("build", "test"),
        ("staging", "build"),
        ("production", "staging"),
    ]
    assert deploy["test"]["uses"] == "./.github/workflows/test.yml"
    assert [name for name, job in deploy.items() if "docker/build" in str(job)] == ["build"]


@pytest.mark.parametrize("name", ["staging", "production"])
def test_a_deploy_takes_a_role_by_githubs_token_and_a_digest(name: str) -> None:
    job = jobs("deploy.yml")[name]
    # The role's trust names this environment.
    assert job["environment"] == name
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    steps = job["steps"]
    roles = [step["with"] for step in steps if "configure-aws-credentials" in str(step.get("uses"))]
    assert [sorted(role) for role in roles] == [
        ["aws-region", "role-duration-seconds", "role-to-assume"]
    ]
    assert 'deploy.sh "$TARGET" "$REPOSITORY@$(cat digest)"' in steps[-1]["run"]
