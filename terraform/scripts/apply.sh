#!/usr/bin/env bash
# `terraform apply` for an environment, with PostgreSQL's password from its secret. Further arguments
# are Terraform's.
#
#   terraform/scripts/apply.sh production/us-east-1
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || die "usage: $0 ENVIRONMENT [ARGUMENT…]"
use_environment "$1"
shift
TF_VAR_database_password=$(secret_value PGPASSWORD)
export TF_VAR_database_password
[ -n "$TF_VAR_database_password" ] || unset TF_VAR_database_password
terraform -chdir="$folder" apply "$@"
