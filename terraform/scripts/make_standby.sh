#!/usr/bin/env bash
# Makes a region the pilot light of another: its tasks stop, and its database is DELETED and made
# anew as a copy of the other's. After a failover this is the first half of the way back.
#
#   terraform/scripts/make_standby.sh production/us-east-1 ARN_OF_THE_ACTIVE_DATABASE
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -eq 2 ] || die "usage: $0 ENVIRONMENT ARN_OF_THE_ACTIVE_DATABASE"
use_environment "$1"
case "$2" in
    arn:aws:rds:"$AWS_REGION":*) die "That database is in $AWS_REGION itself." ;;
    arn:aws:rds:*) ;;
    *) die "The ARN of a database starts with arn:aws:rds:" ;;
esac
if [ "${CONFIRM:-}" != "$name" ]; then
    read -r -p "The database of $1 will be deleted, with a last snapshot. Type $name to go on: " typed
    [ "$typed" = "$name" ] || die "Nothing was changed."
fi

aws ecs update-service --cluster "$name" --service app --desired-count 0 >/dev/null
aws ecs update-service --cluster "$name" --service worker --desired-count 0 >/dev/null
# Terraform cannot delete what is protected.
aws rds modify-db-instance --db-instance-identifier "$name" --no-deletion-protection --apply-immediately >/dev/null
aws rds wait db-instance-available --db-instance-identifier "$name"
# Its last snapshot has a name that the next one needs, too.
aws rds create-db-snapshot --db-instance-identifier "$name" --db-snapshot-identifier "$name-$(date -u +%Y%m%d%H%M%S)" >/dev/null
aws rds wait db-instance-available --db-instance-identifier "$name"
aws rds delete-db-snapshot --db-snapshot-identifier "$name-final" >/dev/null 2>&1 || true

printf 'mode                = "pilot_light"\ndatabase_replica_of = "%s"\n' "$2" >"$folder/mode.auto.tfvars"
"$(dirname "$0")/apply.sh" "$1" -input=false -auto-approve -replace=module.region.module.data.aws_db_instance.this
echo "$1 waits, as a copy of $2. Commit $1/mode.auto.tfvars."
