#!/bin/sh
# Run once by the image, when it makes the database: the role that the orchestrator connects as. It owns nothing, so that
# it cannot switch off what keeps the journal (SAFETY D3); `orchestrator db upgrade --service-role` gives it its rights.
set -eu
psql --quiet --set=ON_ERROR_STOP=1 --set="secret=$(cat /run/secrets/trader_password)" \
    --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
CREATE ROLE trader LOGIN PASSWORD :'secret';
SQL
