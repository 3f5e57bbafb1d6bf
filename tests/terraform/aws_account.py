#!/usr/bin/env -S python3 -IS
"""An AWS account on disk, as the `aws` command: what the scripts in terraform/scripts need of it.

State is `account.json` beside this file: task definitions by family (their revisions in order),
services by name, the exit code of tasks, the secret. Each command is a line in `commands.log`.
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
STATE = FOLDER / "account.json"
ARN = "arn:aws:ecs:us-east-1:111122223333"


def options(arguments: list[str]) -> dict[str, str]:
    """`--name value` pairs; a flag has an empty value."""
    found, name = {}, ""
    for argument in arguments:
        if argument.startswith("--"):
            name = argument[2:]
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {argument}".strip()
    return found


def revision_of(account: Any, name: str) -> dict[str, Any]:
    """A task definition by family, family:revision or ARN; the newest by family."""
    family, _, number = name.rpartition("/")[2].partition(":")
    revisions = account["families"][family]
    index = int(number) - 1 if number else len(revisions) - 1
    arn = f"{ARN}:task-definition/{family}:{index + 1}"
    return {"taskDefinitionArn": arn, "revision": index + 1, "status": "ACTIVE", **revisions[index]}


def describe_service(account: Any, name: str) -> dict[str, Any]:
    service = account["services"][name]
    deployment = {
        "taskDefinition": service["taskDefinition"],
        "rolloutState": account.get("rollout", "COMPLETED"),
        "runningCount": 2,
        "desiredCount": 2,
        "pendingCount": 0,
        "failedTasks": 0,
    }
    deployments = [] if account.get("rollout") == "REPLACED" else [deployment]
    return {**service, "deployments": deployments, "events": [{"message": "(service) failed"}]}


def run(account: Any, command: str, said: dict[str, str]) -> Any:
    """The answer to one command."""
    if command == "ecs describe-task-definition":
        return {"taskDefinition": revision_of(account, said["task-definition"])}
    if command == "ecs register-task-definition":
        new = json.loads(Path(said["cli-input-json"].removeprefix("file://")).read_text())
        if unknown := {"revision", "status", "taskDefinitionArn"} & set(new):
            sys.exit(f"Unknown parameter in input: {unknown}")
        account["families"][new["family"]].append(new)
        return {"taskDefinition": revision_of(account, new["family"])}
    if command == "ecs describe-services":
        return {"services": [describe_service(account, said["services"])]}
    if command == "ecs update-service":
        service = account["services"][said["service"]]
        service["taskDefinition"] = said.get("task-definition", service["taskDefinition"])
        service["desiredCount"] = int(said.get("desired-count", service.get("desiredCount", 2)))
        return {}
    if command == "ecs run-task":
        return {"tasks": [{"taskArn": f"{ARN}:task/1"}], "failures": []}
    if command == "ecs describe-tasks":
        exit_code = {"exitCode": account["exit_code"]}
        return {
            "tasks": [{"containers": [exit_code], "stoppedReason": "Essential container exited"}]
        }
    if command == "secretsmanager get-secret-value":
        if account.get("secret") is None:
            sys.exit("An error occurred (ResourceNotFoundException)")
        return {"SecretString": json.dumps(account["secret"])}
    if command == "secretsmanager put-secret-value":
        account["secret"] = json.loads(
            Path(said["secret-string"].removeprefix("file://")).read_text()
        )
        return {}
    if command.startswith(("ecs wait", "rds ")):
        return {}
    sys.exit(f"unknown command: {command}")


def queried(answer: Any, query: str) -> Any:
    """What of JMESPath the scripts use: names, and indices in brackets."""
    for part in query.replace("[", ".[").split(".") if query else []:
        answer = answer[int(part[1:-1])] if part.startswith("[") else answer[part]
    return answer


def main(arguments: list[str]) -> None:
    """One call of `aws`."""
    account = json.loads(STATE.read_text())
    command, said = " ".join(arguments[:2]), options(arguments[2:])
    with (FOLDER / "commands.log").open("a") as log:
        log.write(" ".join(arguments) + "\n")
    answer = queried(run(account, command, said), said.get("query", ""))
    STATE.write_text(json.dumps(account))
    sys.stdout.write(answer if said.get("output") == "text" else json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
