#!/usr/bin/env bash
# Fills in the environment's secret. A value comes from the variable of that name; what is not there
# is made up when it is ours (a random one), kept when the secret has it, or asked for. Names behind
# the environment are set anew. No value is an argument of a command, or in Terraform's state.
#
#   terraform/scripts/set_secrets.sh production/us-east-1
#   GEMINI_API_KEY=… terraform/scripts/set_secrets.sh production/us-east-1 GEMINI_API_KEY
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || die "usage: $0 ENVIRONMENT [NAME…]"
use_environment "$1"
shift
anew=" $* "

current=$(aws secretsmanager get-secret-value --secret-id "$name" --query SecretString --output text 2>/dev/null || echo '{}')
keys=$(terraform -chdir="$folder" output -json secret | jq --raw-output '.keys[]')
for key in $keys; do
    value=${!key:-}
    known=$(jq --raw-output --arg key "$key" '.[$key] // empty' <<<"$current")
    if [ -z "$value" ] && [ -n "$known" ] && [[ $anew != *" $key "* ]]; then
        continue
    fi
    if [ -z "$value" ]; then
        case "$key" in
            # base64 of 32 bytes, as AES-256 takes it.
            TEMPORAL_CODEC_KEY) value=$(openssl rand -base64 32) ;;
            API_KEYS | STREAM_TOKEN_SECRET | PGPASSWORD) value=$(openssl rand -hex 32) ;;
            *)
                [ -t 0 ] || die "$key is not set, and there is no terminal to ask on."
                read -r -s -p "$key: " value </dev/tty
                echo
                ;;
        esac
    fi
    [ -n "$value" ] || die "$key must not be empty."
    # By the environment: an argument would be in the list of processes.
    current=$(VALUE=$value jq --arg key "$key" '.[$key] = env.VALUE' <<<"$current")
    echo "$key is set."
done
printf '%s' "$current" | aws secretsmanager put-secret-value --secret-id "$name" --secret-string file:///dev/stdin >/dev/null
echo "Tasks that start from now on have these values; scripts/deploy.sh starts new ones."
