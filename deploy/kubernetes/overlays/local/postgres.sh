#!/bin/sh
# Makes the databases at the first start, then serves. Their data goes with the pod.
set -eu
PATH="$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH"
export PGHOST=/tmp
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username=postgres --pwfile=/run/secrets/batzen/postgres/password --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 > /dev/null
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl start --wait --silent --options="-c listen_addresses= -c unix_socket_directories=/tmp"
  psql --username=postgres --quiet --set=ON_ERROR_STOP=1 --file=/run/secrets/batzen/postgres/databases.sql
  pg_ctl stop --wait --silent
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c max_connections=200
