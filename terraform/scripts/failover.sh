#!/usr/bin/env bash
# Makes a pilot light take calls: its database stops following the other and takes writes, the cache
# is made, tasks start. Uses nothing of the other region. What the other database did not send yet
# is lost, and it must take no calls any more: stop its tasks when it can be reached
# (scripts/make_standby.sh).
#
#   terraform/scripts/failover.sh production/us-west-2 [IMAGE@sha256:…]
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || die "usage: $0 ENVIRONMENT [IMAGE@sha256:…]"
use_environment "$1"

here=$(dirname "$0")
echo 'mode = "active"' >"$folder/mode.auto.tfvars"
"$here/apply.sh" "$1" -input=false -auto-approve
image=${2:-}
if [ -z "$image" ]; then
    # The newest image that the other region sent here.
    registry=$(aws ecr describe-repositories --repository-names "$name" --query 'repositories[0].repositoryUri' --output text)
    image=$registry@$(aws ecr describe-images --repository-name "$name" \
        --query 'sort_by(imageDetails, &imagePushedAt)[-1].imageDigest' --output text)
fi
"$here/deploy.sh" "$1" "$image"
# Terraform leaves the number of tasks to autoscaling, which does not start from none.
tasks=$(terraform -chdir="$folder" output -json tasks)
for service in app worker; do
    aws ecs update-service --cluster "$name" --service "$service" --desired-count "$(jq ".$service" <<<"$tasks")" >/dev/null
done
aws ecs wait services-stable --cluster "$name" --services app worker
echo "$(terraform -chdir="$folder" output -raw base_url) takes calls. Commit $1/mode.auto.tfvars."
