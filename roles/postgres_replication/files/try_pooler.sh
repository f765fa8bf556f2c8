#!/bin/sh
# Starts the pooler for a moment with settings that are not in place yet, on a socket in a folder of its own: it knows best what it takes.
#   try_pooler.sh STAGED_FOLDER
set -eu
staged=$1
# A check of a bare host has no program yet.
command -v pgbouncer >/dev/null && id postgres >/dev/null 2>&1 || exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Certificates are left out: those of this run may not be in place yet. The section of the pooler itself is the last one.
grep -vE '^(%include|client_tls_)' "$staged/pgbouncer.ini" >"$folder/pgbouncer.ini"
cp "$staged/hba.conf" "$staged/userlist.txt" "$folder/"
printf 'unix_socket_dir = %s\nauth_hba_file = %s/hba.conf\nauth_file = %s/userlist.txt\n' "$folder" "$folder" "$folder" >>"$folder/pgbouncer.ini"
chown -R postgres "$folder"
status=0
timeout --signal=KILL 2 setpriv --reuid=postgres --regid=postgres --init-groups pgbouncer "$folder/pgbouncer.ini" >"$folder/log" 2>&1 || status=$?
# Of a line of hba.conf that it does not understand it only warns. Killed by timeout is 137: it was still running.
if [ $status -ne 137 ] || grep -q 'hba' "$folder/log"; then
  grep -E 'hba|ERROR|FATAL|WARNING' "$folder/log" | sed 's/^.*\] //' | head -n 4
  exit 1
fi
