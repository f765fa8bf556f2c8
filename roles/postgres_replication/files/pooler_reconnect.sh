#!/bin/sh
# Patroni calls this when the role of its server has changed or the server was started:
#   pooler_reconnect.sh SOCKET_DIR PORT POOLER_PORT ACTION ROLE CLUSTER
# The pooler tells new clients what its first connection was told, whether the server is a standby among it, and forgets that at a RECONNECT alone.
# Until then libpq with target_session_attrs=read-write refuses a new primary. Connections are renewed between transactions.
set -eu
socket=$1 port=$2 pooler=$3 role=$5
case $role in
  primary | master | promoted) standby=f ;;
  *) standby=t ;;
esac
export PGCONNECT_TIMEOUT=5
tries=0
# Patroni calls as soon as it has asked for the promotion.
until [ "$(psql -XAtq -h "$socket" -p "$port" -U postgres -d postgres -c 'SELECT pg_catalog.pg_is_in_recovery()' 2>/dev/null)" = $standby ]; do
  tries=$((tries + 1))
  [ $tries -lt 120 ] || exit 1
  sleep 0.5
done
exec psql -XAtq -h "$socket" -p "$pooler" -U postgres -d pgbouncer -c RECONNECT
