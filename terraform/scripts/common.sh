# shellcheck shell=bash
# Sourced by the other scripts: the environment's folder, name and region, and a few commands.

terraform_folder="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

die() {
    echo "$*" >&2
    exit 1
}

# use_environment production/us-east-1: sets `folder`, `name` and `AWS_REGION`.
use_environment() {
    folder="$terraform_folder/environments/${1:?}"
    [ -f "$folder/main.tf" ] || die "There is no environment $1. There are: production/us-east-1 production/us-west-2 staging"
    name=$(sed -n 's/^  name *= "\(.*\)"$/\1/p' "$folder/main.tf")
    AWS_REGION=$(sed -n 's/^  region *= "\(.*\)"$/\1/p' "$folder/main.tf")
    export AWS_REGION AWS_DEFAULT_REGION="$AWS_REGION" AWS_PAGER=""
}

# The value of one key of the secret; nothing when it is not there.
secret_value() {
    local text
    text=$(aws secretsmanager get-secret-value --secret-id "$name" --query SecretString --output text 2>/dev/null) || return 0
    jq --raw-output --arg key "$1" '.[$key] // empty' <<<"$text"
}

# run_task FAMILY_OR_ARN NETWORK: runs a task to its end, and fails when its container does.
run_task() {
    local answer task code
    answer=$(aws ecs run-task --cluster "$name" --task-definition "$1" --launch-type FARGATE \
        --network-configuration "$2" --output json)
    task=$(jq --raw-output '.tasks[0].taskArn // empty' <<<"$answer")
    [ -n "$task" ] || die "The task could not be started: $(jq --compact-output .failures <<<"$answer")"
    aws ecs wait tasks-stopped --cluster "$name" --tasks "$task"
    answer=$(aws ecs describe-tasks --cluster "$name" --tasks "$task" --output json)
    code=$(jq --raw-output '.tasks[0].containers[0].exitCode // "none"' <<<"$answer")
    [ "$code" = 0 ] || die "$1 ended with exit code $code: $(jq --raw-output '.tasks[0].stoppedReason // ""' <<<"$answer") See its log."
}

# until_rolled_out SERVICE REVISION: waits until the service's new tasks are healthy. Old tasks may
# still be there: they end with their last call.
until_rolled_out() {
    local answer state waited=0
    while true; do
        answer=$(aws ecs describe-services --cluster "$name" --services "$1" --output json)
        state=$(jq --raw-output --arg revision "$2" \
            'first(.services[0].deployments[] | select(.taskDefinition == $revision) | .rolloutState) // "REPLACED"' <<<"$answer")
        case "$state" in
            COMPLETED) return 0 ;;
            FAILED | REPLACED) die "$1: ECS rolled the deployment back: $(jq --raw-output '.services[0].events[0].message // ""' <<<"$answer")" ;;
        esac
        # All new tasks run, and what is left are old ones that still have calls.
        if jq --exit-status --arg revision "$2" \
            '.services[0].deployments[] | select(.taskDefinition == $revision) | .runningCount >= .desiredCount and .pendingCount == 0 and .failedTasks == 0 and .desiredCount > 0' <<<"$answer" >/dev/null &&
            [ "$waited" -ge "${SETTLE_SECS:-120}" ]; then
            return 0
        fi
        [ "$waited" -lt "${ROLLOUT_SECS:-1800}" ] || die "$1: the deployment takes too long; see the service's events."
        sleep "${POLL_SECS:-10}"
        waited=$((waited + ${POLL_SECS:-10}))
    done
}
