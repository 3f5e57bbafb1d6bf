#!/usr/bin/env bash
# Deploys an image: new revisions of the task definitions, the migration as a job, then app and
# worker. Needs no Terraform. An old task with calls goes on with them, and takes no new one.
#
#   terraform/scripts/deploy.sh production/us-east-1 ACCOUNT.dkr.ecr.us-east-1.amazonaws.com/voice-ai-production@sha256:…
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -eq 2 ] || die "usage: $0 ENVIRONMENT IMAGE@sha256:…"
use_environment "$1"
image=$2
[[ $image =~ @sha256:[0-9a-f]{64}$ ]] || die "The image has to be named by its digest: …@sha256:…"

# The newest revision, which Terraform or a deploy made, with another image. The label tells
# rollback.sh which revisions were deployed: Terraform's have whatever image it was told first.
new_revision() {
    aws ecs describe-task-definition --task-definition "$name-$1" --query taskDefinition --output json |
        jq --arg image "$image" '.containerDefinitions[] |= (.image = $image | .dockerLabels = {"voice-ai.deployed": "yes"})
            | del(.taskDefinitionArn, .revision, .status, .requiresAttributes, .compatibilities,
                  .registeredAt, .registeredBy, .deregisteredAt)' >"$work/$1.json"
    aws ecs register-task-definition --cli-input-json "file://$work/$1.json" \
        --query taskDefinition.taskDefinitionArn --output text
}

work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# The migration runs where the worker does: it only has to reach the database.
network=$(aws ecs describe-services --cluster "$name" --services worker \
    --query 'services[0].networkConfiguration' --output json)
migrate=$(new_revision migrate)
app=$(new_revision app)
worker=$(new_revision worker)

echo "Migrating with $migrate"
run_task "$migrate" "$network"

echo "Moving the worker to $worker, and the app to $app"
aws ecs update-service --cluster "$name" --service worker --task-definition "$worker" >/dev/null
aws ecs update-service --cluster "$name" --service app --task-definition "$app" >/dev/null
until_rolled_out app "$app"
until_rolled_out worker "$worker"
echo "Deployed $image"
