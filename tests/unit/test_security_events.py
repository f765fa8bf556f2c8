# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What counts as a security event: lines as the programs of Debian write them, and lines that are much like them."""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import typing as t

import pytest

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "roles/log_host/files/security_events.py"


def load() -> t.Any:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("security_events", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


events = load()


@pytest.mark.parametrize(("identifier", "message", "event"), [
    ("sshd", "Failed password for root from 192.0.2.9 port 40000 ssh2", "login_failed"),
    ("sshd-session", "Invalid user admin from 192.0.2.9 port 40000", "login_failed"),
    ("sshd", "Connection closed by authenticating user root 192.0.2.9 port 40000 [preauth]", "login_failed"),
    ("sshd", "Disconnected from authenticating user root 192.0.2.9 port 40000 [preauth]", "login_failed"),
    ("sshd", "error: maximum authentication attempts exceeded for root from 192.0.2.9 port 40000 ssh2 [preauth]", "login_failed"),
    ("sshd", "Accepted publickey for ops from 192.0.2.9 port 40000 ssh2: ED25519 SHA256:abc", "login"),
    ("sshd", "Disconnected from user ops 192.0.2.9 port 40000", None),
    ("sshd", "Connection closed by 192.0.2.9 port 40000 [preauth]", None),
    ("sudo", "     ops : TTY=pts/0 ; PWD=/home/ops ; USER=root ; COMMAND=/usr/bin/id", "sudo"),
    ("sudo", "     ops : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id", "sudo_failed"),
    ("sudo", "     bob : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id", "sudo_failed"),
    ("sudo", "     bob : command not allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id", "sudo_failed"),
    ("sudo", "pam_unix(sudo:session): session opened for user root(uid=0) by (uid=1000)", None),
    ("su", "FAILED SU (to root) bob on pts/0", "sudo_failed"),
    ("fail2ban", "[sshd] Ban 192.0.2.9", "ban"),
    ("fail2ban-server", "NOTICE [sshd] Ban 192.0.2.9", "ban"),
    ("fail2ban-server", "NOTICE [sshd] Restore Ban 192.0.2.9", "ban"),
    ("fail2ban-server", "NOTICE [sshd] Unban 192.0.2.9", None),
    ("postgres", '2026-11-28 08:00:00 UTC [7] x@y FATAL:  password authentication failed for user "x"', "login_failed"),
    ("patroni", '2026-11-28 08:00:00 UTC [7] LOG:  statement: ALTER ROLE x SUPERUSER', "role_change"),
    ("postgres", "LOG:  duration: 1.0 ms  statement: grant select on t to x", "role_change"),
    ("postgres", "LOG:  execute <unnamed>: CREATE USER x", "role_change"),
    ("postgres", "LOG:  statement: /* request_id=abcd */ DROP ROLE x", "role_change"),
    ("postgres", "LOG:  statement: SELECT 'grant'", None),
    ("postgres", "LOG:  statement: CREATE TABLE role_of (x int)", None),
    ("postgres", "LOG:  statement: granted", None),
    ("useradd", "new user: name=bob, UID=1001, GID=1001, home=/home/bob, shell=/bin/sh, from=/dev/pts/0", "account_change"),
    ("passwd", "pam_unix(passwd:chauthtok): password changed for bob", "account_change"),
    ("usermod", "add 'bob' to group 'sudo'", "account_change"),
    ("userdel", "delete user 'bob'", "account_change"),
    ("ledger-blue", "Failed password for root from 192.0.2.9", None),
    ("sshd", None, None),
])
def test_event_of(identifier: str, message: str | None, event: str | None) -> None:
    """By the writer and its words."""
    found = events.event_of({"SYSLOG_IDENTIFIER": identifier, "MESSAGE": message})
    assert (found[1] if found else None) == event


def test_a_login_that_failed_is_one() -> None:
    """Whatever number of lines its process writes; two processes are two, and so are two hosts."""
    lines = [("app1", 7, "Invalid user x from y"), ("app1", 7, "Failed password for invalid user x from y"), ("app1", 8, "Failed password for root from y"),
             ("app2", 7, "Failed password for root from y")]
    entries = [{"SYSLOG_IDENTIFIER": "sshd", "_HOSTNAME": host, "_PID": pid, "MESSAGE": text} for host, pid, text in lines]
    assert events.count(entries) == {("app1", "login_failed"): 2, ("app2", "login_failed"): 1}


def test_figures_begin_at_0_and_are_well_formed() -> None:
    """So that the first event is an increase."""
    text = events.figures({"app1": {}, "app2": {"ban": 3}}, 1795370400.0)
    assert 'mainstay_security_events_total{host="app1",event="login_failed"} 0' in text and 'host="app2",event="ban"} 3' in text
    assert subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False).returncode == 0


def test_a_damaged_state_is_said(tmp_path: pathlib.Path) -> None:
    """It is not taken for the first time, which would forget all counts."""
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(SystemExit, match="remove it to begin anew"):
        events.load(str(tmp_path / "state.json"))
