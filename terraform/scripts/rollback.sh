#!/usr/bin/env bash
# Takes app and worker back to the image before the one they run. The database keeps its schema:
# each migration has to leave it fit for the version before (expand first, contract a release later).
#
#   terraform/scripts/rollback.sh production/us-east-1
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || die "usage: $0 ENVIRONMENT"
use_environment "$1"

# The image of a revision; with `deployed`, nothing when it was not deployed.
image_of() {
    aws ecs describe-task-definition --task-definition "$1" --query 'taskDefinition.containerDefinitions[0]' --output json |
        jq --raw-output --arg only "${2:-}" 'select($only == "" or .dockerLabels["voice-ai.deployed"] == "yes") | .image'
}

# before SERVICE: the newest older revision with another image that was deployed.
before() {
    local now image revision other
    now=$(aws ecs describe-services --cluster "$name" --services "$1" \
        --query 'services[0].taskDefinition' --output text)
    image=$(image_of "$now")
    revision=${now##*:}
    while [ "$revision" -gt 1 ]; do
        revision=$((revision - 1))
        other=$(image_of "${now%:*}:$revision" deployed 2>/dev/null) || continue
        if [ -n "$other" ] && [ "$other" != "$image" ]; then
            echo "${now%:*}:$revision"
            return
        fi
    done
    die "$1 has no older revision that was deployed with another image: deploy.sh takes any digest."
}

app=$(before app)
worker=$(before worker)
echo "Back to $(image_of "$app")"
aws ecs update-service --cluster "$name" --service app --task-definition "$app" >/dev/null
aws ecs update-service --cluster "$name" --service worker --task-definition "$worker" >/dev/null
until_rolled_out app "$app"
until_rolled_out worker "$worker"
echo "Rolled back."
