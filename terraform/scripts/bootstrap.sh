#!/usr/bin/env bash
# Makes the bucket for an environment's Terraform state, in the environment's own region, and
# initialises Terraform with it. Safe to run again.
#
#   terraform/scripts/bootstrap.sh production/us-east-1
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || die "usage: $0 ENVIRONMENT"
use_environment "$1"

account=$(aws sts get-caller-identity --query Account --output text)
bucket="$name-state-$account-$AWS_REGION"
if ! aws s3api head-bucket --bucket "$bucket" 2>/dev/null; then
    location=()
    [ "$AWS_REGION" = us-east-1 ] || location=(--create-bucket-configuration "LocationConstraint=$AWS_REGION")
    aws s3api create-bucket --bucket "$bucket" "${location[@]}" >/dev/null
fi
aws s3api put-public-access-block --bucket "$bucket" --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
aws s3api put-bucket-versioning --bucket "$bucket" --versioning-configuration Status=Enabled
aws s3api put-bucket-encryption --bucket "$bucket" --server-side-encryption-configuration \
    '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}'

cat >"$folder/backend.hcl" <<END
bucket       = "$bucket"
key          = "terraform.tfstate"
region       = "$AWS_REGION"
encrypt      = true
use_lockfile = true
END
terraform -chdir="$folder" init -input=false -backend-config=backend.hcl
