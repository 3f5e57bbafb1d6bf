#!/bin/sh
# Creates Temporal's two databases and brings them to the newest schema. Safe to run at each start.
set -eu
SQL_PASSWORD="$(cat /run/secrets/postgres_password)"
export SQL_PASSWORD

for database in temporal temporal_visibility; do
  case $database in
    temporal) schema=temporal ;;
    *) schema=visibility ;;
  esac
  sql() {
    temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u voice_ai --db "$database" "$@"
  }
  sql create
  # Fails when the schema is there already; the update, which follows, says what is really wrong.
  sql setup-schema -v 0.0 || true
  sql update-schema -d "/etc/temporal/schema/postgresql/v12/$schema/versioned"
done
