#!/bin/sh
# Starts a daemon for a second with settings that are not in place yet, on a socket in a folder of its own: it knows best what it takes.
#   try_settings.sh STAGE PROGRAM SETTINGS SECRETS USERS [MASTER]      with MASTER, the program is a Sentinel
set -eu
stage=$1 program=$2 settings=$3 secrets=$4 users=$5 master=${6:-}
# A check of a bare host has no program yet.
command -v "$program" >/dev/null || exit 0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Certificates are tried as they will be.
sed -E "s|^(tls-[a-z-]+-file) (/.*)|\1 $stage\2|" "$stage$settings" "$stage$secrets" >"$folder/settings"
if [ -n "$master" ]; then
  echo "sentinel monitor $master 127.0.0.1 1 1" >"$folder/state"
  set --
else
  : >"$folder/state"
  set -- --appendonly no --save ""
fi
status=0
timeout 1 "$program" "$folder/state" --include "$folder/settings" --aclfile "$stage$users" --port 0 --tls-port 0 --unixsocket "$folder/socket" \
  --dir "$folder" --pidfile "$folder/pid" --logfile "" "$@" >"$folder/log" 2>&1 || status=$?
# timeout ends with 124 if the program was still running.
if [ $status -ne 124 ]; then
  grep -vE '^[[:space:]]*$|\*\*\*|oO0OoO0OoO0Oo' "$folder/log" | tail -n 4
  exit 1
fi
