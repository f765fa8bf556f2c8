# shellcheck shell=sh
# Has sshd judge its whole configuration with a new drop-in in front, where the first value of a setting counts.
trial=$(mktemp) || exit 1
trap 'rm -f "$trial"' EXIT
cat "$1" /etc/ssh/sshd_config >"$trial" && /usr/sbin/sshd -t -f "$trial"
