#!/usr/bin/env bash
# Runs the jobs of a self-hosted Temporal: its schema, and its namespace once the server is up.
#
#   terraform/scripts/setup_temporal.sh production/us-east-1
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || die "usage: $0 ENVIRONMENT"
use_environment "$1"

jobs=$(terraform -chdir="$folder" output -json temporal_jobs)
[ "$(jq '.tasks | length' <<<"$jobs")" -gt 0 ] || die "Temporal is not self-hosted in $1."
network() {
    jq --compact-output --arg group "$1" '{awsvpcConfiguration: {subnets: .subnets,
        securityGroups: [.groups[$group]],
        assignPublicIp: (if .public_ip then "ENABLED" else "DISABLED" end)}}' <<<"$jobs"
}

run_task "$name-temporal-schema" "$(network temporal)"
# It may have failed without its schema.
aws ecs update-service --cluster "$name" --service temporal --force-new-deployment >/dev/null
aws ecs wait services-stable --cluster "$name" --services temporal
run_task "$name-temporal-namespace" "$(network worker)"
echo "Temporal is ready."
