# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count security events in the journal for Prometheus: each run reads what came since the last one.

Figures only: no user, no address and no statement leaves the journal.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import typing as t

# Who writes, by the identifier in the journal; which event; and what it says then. The first one that fits counts.
RULES = [
    (identifier, event, re.compile(pattern))
    for identifier, event, pattern in (
        ("sshd", "login_failed", r"^Failed \S+ for |^Invalid user |^(Connection closed|Connection reset|Disconnected) (by|from) (authenticating|invalid) user "
                                 r"|^error: maximum authentication attempts exceeded "),
        ("sshd", "login", r"^Accepted \S+ for "),
        ("sudo", "sudo_failed", r" : .*(incorrect password attempt|user NOT in sudoers|command not allowed)|authentication failure"),
        ("sudo", "sudo", r"^\s*\S+ : .*COMMAND="),
        ("su", "sudo_failed", r"^FAILED SU|authentication failure"),
        ("fail2ban", "ban", r"\[[^]]+\] (Restore )?Ban "),
        ("postgresql", "login_failed", r"FATAL: +(password authentication failed for|no pg_hba.conf entry for|certificate authentication failed for)"),
        ("postgresql", "role_change", r"(statement|execute [^:]*): +(?i:(/\*.*\*/ *)?((create|alter|drop) +(role|user|group)|grant|revoke|reassign owned))\b"),
        ("account", "account_change", r"^(new user|new group|delete user|removed group|add '|delete '|change user|lock user|unlock user|password changed)"
                                      r"|(password changed for|added to group|removed from group)"),
    )
]
# Identifiers that mean the same writer.
WRITERS = {
    "sshd": "sshd", "sshd-session": "sshd", "sshd-auth": "sshd", "sudo": "sudo", "su": "su", "fail2ban-server": "fail2ban", "fail2ban": "fail2ban",
    "postgres": "postgresql", "patroni": "postgresql", "useradd": "account", "userdel": "account", "usermod": "account", "groupadd": "account",
    "groupdel": "account", "passwd": "account", "chpasswd": "account", "gpasswd": "account",
}
EVENTS = sorted({event for _writer, event, _pattern in RULES})
NAME = "mainstay_security_events"
HELP = "What the journal tells of logins, sudo, bans and changes of roles and accounts."

Entry = t.Mapping[str, t.Any]


def event_of(entry: Entry) -> tuple[str, str] | None:
    """Return the writer and the event of an entry; None if it is none."""
    writer, message = WRITERS.get(str(entry.get("SYSLOG_IDENTIFIER", ""))), entry.get("MESSAGE")
    text = bytes(message).decode(errors="replace") if isinstance(message, list) else str(message or "")
    for wanted, event, pattern in RULES:
        if writer == wanted and pattern.search(text):
            return wanted, event
    return None


def count(entries: t.Iterable[Entry]) -> collections.Counter[tuple[str, str]]:
    """Count events by host. A login that failed is one, however many lines its process has written about it."""
    found: collections.Counter[tuple[str, str]] = collections.Counter()
    seen = set()
    for entry in entries:
        known = event_of(entry)
        if known is None:
            continue
        writer, event = known
        host = str(entry.get("_HOSTNAME", ""))
        attempt = (host, writer, entry.get("_PID"), entry.get("_BOOT_ID"))
        if (writer, event) == ("sshd", "login_failed"):
            if attempt in seen:
                continue
            seen.add(attempt)
        found[host, event] += 1
    return found


def read_journal(directory: str, cursor: str) -> tuple[list[Entry], str]:
    """Return the entries after the cursor, and the cursor of the last one. Without a cursor only the end is looked for: what was before is not counted."""
    place = [f"--directory={directory}"] if directory else []
    begin = [f"--after-cursor={cursor}"] if cursor else ["--lines=1"]
    names = [] if not cursor else [f"--identifier={name}" for name in WRITERS]
    argv = ["journalctl", *place, *begin, *names, "--output=json", "--all", "--quiet", "--no-pager"]
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise SystemExit(f"could not read the journal: {done.stderr.strip() or 'journalctl ended with status %d' % done.returncode}")
    entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = entries[-1]["__CURSOR"] if entries else cursor
    return (entries if cursor else []), last


def figures(counts: t.Mapping[str, t.Mapping[str, int]], now: float) -> str:
    """Return the counts in Prometheus's text format; an event that never was is 0, so that the first one is an increase."""
    lines = [f"# HELP {NAME}_total {HELP}", f"# TYPE {NAME}_total counter"]
    for host in sorted(counts):
        name = host.replace("\\", "").replace('"', "")
        lines += [f'{NAME}_total{{host="{name}",event="{event}"}} {counts[host].get(event, 0)}' for event in EVENTS]
    lines += [f"# HELP {NAME}_timestamp_seconds When the journal was last read.", f"# TYPE {NAME}_timestamp_seconds gauge",
              f"{NAME}_timestamp_seconds {now:.0f}"]
    return "\n".join(lines) + "\n"


def replace(path: str, text: str) -> None:
    """Replace a file in one step; the node exporter never sees half of it."""
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path), prefix=".security-", delete=False) as stream:
        stream.write(text)
        stream.flush()
        os.fchmod(stream.fileno(), 0o644)
        os.fsync(stream.fileno())
    os.replace(stream.name, path)


def load(path: str) -> dict[str, t.Any]:
    """Return what was known after the last run; nothing at the first time."""
    try:
        with open(path, encoding="utf-8") as stream:
            known = json.load(stream)
        return known if isinstance(known, dict) else {}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SystemExit(f"could not read {path}: it is not JSON ({error}); remove it to begin anew") from error


def main() -> int:
    """Count, and write the figures."""
    parser = argparse.ArgumentParser(description="Count security events in the journal for Prometheus.")
    parser.add_argument("--state-dir", required=True, help="folder for what is known, and for security-events.prom")
    parser.add_argument("--directory", default="", help="folder of journals; the host's own if it is not given")
    parser.add_argument("--host", action="append", default=[], help="a host whose figures begin at 0, may be repeated")
    options = parser.parse_args()
    state = os.path.join(options.state_dir, "state.json")
    known = load(state)
    entries, cursor = read_journal(options.directory, known.get("cursor", ""))
    counts: dict[str, dict[str, int]] = {host: dict(events) for host, events in known.get("counts", {}).items()}
    for host in options.host:
        counts.setdefault(host, {})
    for (host, event), number in count(entries).items():
        counts.setdefault(host, {})[event] = counts.get(host, {}).get(event, 0) + number
    replace(state, json.dumps({"cursor": cursor, "counts": counts}, indent=2) + "\n")
    replace(os.path.join(options.state_dir, "security-events.prom"), figures(counts, time.time()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
