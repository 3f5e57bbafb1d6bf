#!/usr/bin/env bash
# Checks terraform/ without an account: format, validity, and the promises of each environment on a
# mocked provider.
#
#   scripts/check_terraform.sh            with the provider hashicorp/aws that is on this machine
#   scripts/check_terraform.sh --online   may fetch it
#
# A provider is looked for in TERRAFORM_MIRROR, in Terraform's own folders and below /opt, in the
# layout of a filesystem mirror (HOST/hashicorp/aws/VERSION/SYSTEM). Without one, only the format is
# checked, and the last line says so.
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"
environments=(production/us-east-1 production/us-west-2 staging)

if ! command -v terraform >/dev/null; then
    echo "terraform: NOT CHECKED: there is no terraform command on this machine."
    exit 0
fi
version=$(terraform version -json 2>/dev/null | sed -n 's/.*"terraform_version": "\([0-9]*\.[0-9]*\).*/\1/p')
if [ "$(printf '%s\n1.11\n' "$version" | sort --version-sort | head -1)" != 1.11 ]; then
    echo "terraform: NOT CHECKED: version $version is older than 1.11."
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A file that is named and not there is a warning at each command.
[ -z "${TF_CLI_CONFIG_FILE:-}" ] || [ -f "$TF_CLI_CONFIG_FILE" ] || unset TF_CLI_CONFIG_FILE
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_INPUT=0

terraform fmt -recursive -check -diff "$root/terraform"
echo "terraform: format is right."

mirror() {
    local folder provider
    for folder in "${TERRAFORM_MIRROR:-}" "$HOME/.terraform.d/plugins" /usr/local/share/terraform/plugins \
        /usr/share/terraform/plugins /opt; do
        [ -d "$folder" ] || continue
        provider=$(find "$folder" -maxdepth 8 -path '*/hashicorp/aws/5.*/terraform-provider-aws_v5*' -print -quit 2>/dev/null)
        if [ -n "$provider" ]; then
            # …/MIRROR/HOST/hashicorp/aws/VERSION/SYSTEM/FILE
            (cd "$(dirname "$provider")/../../../../.." && pwd)
            return
        fi
    done
}

if [ "${1:-}" != --online ]; then
    found=$(mirror)
    if [ -z "$found" ]; then
        echo "terraform: validate and test NOT RUN: no provider hashicorp/aws 5.x on this machine (--online fetches it)."
        exit 0
    fi
    printf 'provider_installation {\n  filesystem_mirror {\n    path = "%s"\n  }\n}\n' "$found" >"$work/terraform.rc"
    export TF_CLI_CONFIG_FILE="$work/terraform.rc"
fi

# In a copy: the working folders and the lock files of `init` are not for the repository.
cp -r "$root/terraform" "$work/terraform"

check() {
    cd "$work/terraform/environments/$1"
    terraform init -backend=false -no-color >/dev/null
    # `test` validates what it runs, too; us-east-1 has all that the others have.
    [ "$1" != production/us-east-1 ] || terraform validate -no-color
    terraform test -no-color
}

# Side by side: most of the time the provider tells its schema.
running=()
for environment in "${environments[@]}"; do
    check "$environment" >"$work/${environment//\//-}.log" 2>&1 &
    running+=($!)
done
failed=0
for index in "${!environments[@]}"; do
    environment=${environments[$index]}
    if wait "${running[$index]}"; then
        echo "terraform: $environment: $(grep -c '\.\.\. pass$' "$work/${environment//\//-}.log") passes."
    else
        echo "terraform: $environment: FAILED"
        cat "$work/${environment//\//-}.log"
        failed=1
    fi
done
exit "$failed"
