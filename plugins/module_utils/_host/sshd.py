# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of sshd in a drop-in: judged together with the rest, and taken back by a timer unless somebody confirms them over a new connection."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import tempfile
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import way_back
from ansible_collections.mainstay.ops.plugins.module_utils._host.way_back import Run

SSHD = "/usr/sbin/sshd"
CONFIG = "/etc/ssh/sshd_config"
DROP_IN = "/etc/ssh/sshd_config.d/10-mainstay.conf"
STATE_DIR = "/var/lib/mainstay/sshd"
TIMER = "mainstay-sshd-restore"
# Where no sshd runs that could read anything (it is started by its socket for each connection), there is nothing to reload.
RELOAD = ("systemctl", "try-reload-or-restart", "ssh.service")
# An empty file is the way back to no drop-in.
_RESTORE = 'if [ -s "$1" ]; then install -m 0600 "$1" "$2.new" && mv -f "$2.new" "$2"; else rm -f "$2"; fi; shift 2; exec "$@"\n'
# Seconds in which a server that got the signal to read its settings does not take a connection with the old ones any more.
_SETTLE = 1.0
_DOING = "change the settings of sshd"
# Of what each list is, and whether it lets in those that it names, and nobody else.
_LISTS = {"DenyUsers": ("users", False), "AllowUsers": ("users", True), "DenyGroups": ("groups", False), "AllowGroups": ("groups", True)}


@dataclass(frozen=True)
class Current:
    """What sshd has.

    Attributes:
        installed: whether sshd is there.
        text: our drop-in, ``None`` if there is none.
        proved: SHA-256 of the drop-in, if it was confirmed over a new connection and all that sshd would read is as it was then; else empty.
    """

    installed: bool
    text: str | None
    proved: str


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _effective(run: Run, path: str) -> tuple[list[str], str]:
    """The settings that a configuration leads to, one a line, and what sshd has against it, empty for nothing."""
    code, output, errors = run([SSHD, "-T", "-f", path])
    if code != 0:
        return [], "; ".join(errors.strip().splitlines()) or f"sshd ended with status {code}"
    return output.splitlines(), ""


def _fingerprint(text: str, settings: t.Iterable[str]) -> dict[str, str]:
    """What was confirmed: our drop-in, and the settings that it leads to together with the rest."""
    return {"drop_in": _digest(text), "settings": _digest("\n".join(sorted(settings)))}


def read(run: Run) -> Current:
    """What sshd has now."""
    text = way_back.read(DROP_IN)
    if not os.path.exists(SSHD):
        return Current(False, text, "")
    if text is None or _known().get("drop_in") != _digest(text):
        return Current(True, text, "")
    settings, refused = _effective(run, CONFIG)
    return Current(True, text, _digest(text) if not refused and _known() == _fingerprint(text, settings) else "")


def _known() -> dict[str, str]:
    """What was confirmed last."""
    try:
        return json.loads(way_back.read(f"{STATE_DIR}/proved.json") or "{}")
    except ValueError:
        return {}


def is_current(current: Current, wanted: str) -> bool:
    """Whether sshd has these settings, and they let us in; without settings whether there is no drop-in."""
    return current.proved == _digest(wanted) if wanted else current.text is None


def try_out(run: Run, wanted: str) -> list[str]:
    """Let sshd judge its whole configuration with a drop-in in front, where the first value of a setting counts.

    Returns:
        The settings that it leads to, one a line.

    Raises:
        MainstayError: sshd does not take it.
    """
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="surrogateescape", prefix="mainstay-sshd-") as trial:
        trial.write(wanted + (way_back.read(CONFIG) or ""))
        trial.flush()
        settings, refused = _effective(run, trial.name)
    if refused:
        raise MainstayError(_DOING, f"sshd: {refused}", "nothing was changed; correct base_ssh_settings")
    return settings


def load(run: Run, current: Current, wanted: str, seconds: int) -> None:
    """Have sshd read new settings, with a timer set before that brings the former ones back.

    Args:
        run: runs a program.
        current: what it has.
        wanted: the drop-in that it is to have; empty for none.
        seconds: after which time the former one comes back, unless the new one is confirmed.

    Raises:
        MainstayError: sshd does not take the settings, or they would have no effect; the former ones stay.
    """
    if not current.installed:
        raise MainstayError(_DOING, f"there is no {SSHD}", "install openssh-server, or set base_ssh to false")
    try_out(run, wanted)
    former = f"{STATE_DIR}/former.conf"
    # One that is there was left by a run that did not come to its end: what is in place now was not confirmed.
    if way_back.read(former) is None:
        way_back.write(former, current.text or "")
    # A file, for systemd has a meaning of its own for dollar signs in a command.
    way_back.write(f"{STATE_DIR}/restore.sh", _RESTORE)
    restore = ["/bin/sh", f"{STATE_DIR}/restore.sh", former, DROP_IN, *RELOAD]
    way_back.arm(run, TIMER, seconds, restore, _DOING)
    try:
        _put_in(run, wanted)
    except MainstayError:
        run(restore)
        way_back.disarm(run, TIMER)
        way_back.remove(former)
        raise
    time.sleep(_SETTLE)


def _put_in(run: Run, wanted: str) -> None:
    """Write the drop-in, see that it leads to what it says, and have sshd read it.

    Raises:
        MainstayError: something else wins over it, or sshd could not be reloaded.
    """
    if wanted:
        way_back.write(DROP_IN, wanted)
    else:
        way_back.remove(DROP_IN)
    settings, refused = _effective(run, CONFIG)
    if refused:
        raise MainstayError(_DOING, f"sshd: {refused}", "the former ones are back; look at: sshd -T")
    ignored = [line for line in dict.fromkeys(try_out(run, wanted)) if line not in settings]
    if ignored:
        folder, name = os.path.split(DROP_IN)
        next_step = f"the former ones are back; have {CONFIG} begin with: Include {folder}/*.conf, and no file before {name} there set the same"
        raise MainstayError(_DOING, f"{DROP_IN} would not lead to: {'; '.join(ignored)}", next_step)
    code, _output, errors = run(list(RELOAD))
    if code != 0:
        raise MainstayError(_DOING, f"sshd could not be reloaded: {errors.strip()}", "the former ones are back; look at: journalctl -u ssh")


def confirm(run: Run, wanted: str) -> None:
    """Keep what was loaded: stop the timer.

    Raises:
        MainstayError: the former settings came back already.
    """
    was_armed = way_back.disarm(run, TIMER)
    if not was_armed or (way_back.read(DROP_IN) or "") != wanted:
        cause = "no new connection got through in time, and the host has brought the former ones back"
        raise MainstayError(_DOING, cause, "correct base_ssh_settings, or give it more time by base_ssh_rollback_after")
    way_back.write(f"{STATE_DIR}/proved.json", json.dumps(_fingerprint(wanted, _effective(run, CONFIG)[0])) + "\n")
    way_back.remove(f"{STATE_DIR}/former.conf")


def shuts_out(settings: t.Mapping[str, t.Any], user: str, groups: t.Collection[str], port: int) -> list[str]:
    """The settings by which an account could not log in any more; pure.

    Args:
        settings: what the drop-in says, by keyword. Patterns with a host are left to the new connection.
        user: the account.
        groups: all groups that it will be in.
        port: where it comes in.
    """
    given = {name.lower(): str(value) for name, value in settings.items()}
    named = {"users": [user], "groups": list(groups)}
    found = []
    for keyword, (kind, lets_in) in _LISTS.items():
        patterns = [pattern for pattern in given.get(keyword.lower(), "").split() if "@" not in pattern]
        fits = any(fnmatch.fnmatchcase(name, pattern) for name in named[kind] for pattern in patterns)
        # One with a host may still let in.
        told = keyword.lower() in given and (not lets_in or patterns == given[keyword.lower()].split())
        if told and fits is not lets_in:
            found.append(f"{keyword} {given[keyword.lower()]}")
    if user == "root" and given.get("permitrootlogin") in ("no", "forced-commands-only"):
        found.append(f"PermitRootLogin {given['permitrootlogin']}")
    if given.get("port", str(port)) != str(port):
        found.append(f"Port {given['port']}")
    return found
