# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host wrote down lately: errors in its journal, and what was changed on it. Secrets are masked here, before anything leaves the host."""

from __future__ import annotations

import datetime
import glob
import json
import os
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.masking import mask
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home
from ansible_collections.mainstay.ops.plugins.module_utils._reports.host_state import Run, read_text
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import hide_secrets

MOST_ENTRIES = 2000
"""Entries of the journal that are read, the newest ones."""
MOST_GROUPS = 40
"""Kinds of errors that are told, the most frequent ones."""
MOST_CHARACTERS = 400
"""Characters of a message that are shown."""
MOST_CHANGES = 100
"""Changes that are told, the newest ones."""
OUT_OF_MEMORY = re.compile(r"Out of memory: Killed process|oom-kill:|Memory cgroup out of memory")
_VARYING = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|\d+")
"""What differs between two messages of one kind: numbers, addresses, identifiers."""
_DPKG = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (install|upgrade|remove|purge) (\S+?)(?::\S+)? (\S+) (\S+)$")


def shown(text: str, secrets: t.Sequence[str] = ()) -> str:
    """Return a text as it may be shown: without secrets, and not too long."""
    return hide_secrets(mask(text[:MOST_CHARACTERS * 4], secrets))[:MOST_CHARACTERS]


def journal_errors(run: Run, since: float, until: float) -> tuple[dict[str, t.Any], str]:
    """Return the errors of the journal, grouped by unit and kind, and why they are not known.

    Args:
        run: runs a program.
        since: Unix time of the first one; until: of the last one.
    """
    argv = ["journalctl", "--priority=3", f"--since=@{int(since)}", f"--until=@{int(until) + 1}", "--output=json", "--no-pager", "--quiet",
            "--output-fields=MESSAGE,_SYSTEMD_UNIT,SYSLOG_IDENTIFIER,_TRANSPORT", f"--lines={MOST_ENTRIES}"]
    try:
        code, output, errors = run(argv)
    except OSError as error:
        return {}, f"journalctl cannot be run: {error.strerror}"
    if code != 0:
        return {}, f"journalctl did not tell: {errors.strip()[:200]}"
    return group_errors(output), ""


def group_errors(output: str) -> dict[str, t.Any]:
    """Group entries of the journal, one JSON object a line."""
    groups: dict[tuple[str, str], dict[str, t.Any]] = {}
    total = killed = 0
    for line in output.splitlines():
        try:
            entry = json.loads(line)
            message, at = _message(entry.get("MESSAGE")), int(entry["__REALTIME_TIMESTAMP"]) / 1e6
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        total += 1
        killed += bool(OUT_OF_MEMORY.search(message))
        unit = str(entry.get("_SYSTEMD_UNIT") or entry.get("SYSLOG_IDENTIFIER") or "kernel")
        group = groups.setdefault((unit, _VARYING.sub("*", message)), {"unit": unit, "count": 0, "first": at})
        group.update(count=group["count"] + 1, last=at, message=shown(message))
    ranked = sorted(groups.values(), key=lambda group: (-group["count"], -group["last"]))
    return {
        "total": total,
        "complete": total < MOST_ENTRIES,
        "out_of_memory": killed,
        "groups": ranked[:MOST_GROUPS],
        "groups_left_out": len(ranked[MOST_GROUPS:]),
    }


def _message(told: t.Any) -> str:
    """Return a message; the journal has those that are not text as lists of bytes."""
    return bytes(told).decode("utf-8", "replace") if isinstance(told, list) else str(told or "")


def changes(since: float, trees: str, roots: t.Sequence[str]) -> tuple[list[dict[str, t.Any]], list[str]]:
    """Return what was changed since a Unix time, the newest first, and what could not be read.

    Args:
        trees: folder in which ``config_tree`` keeps generations.
        roots: folders of applications.
    """
    found = [*package_changes(read_text("/var/log/dpkg.log.1") + read_text("/var/log/dpkg.log")), *tree_changes(trees), *_boot()]
    unread = []
    for root in roots:
        try:
            found += release_changes(root)
        except MainstayError as error:
            unread.append(str(error))
    recent = [change for change in found if change["time"] >= since]
    return sorted(recent, key=lambda change: -change["time"])[:MOST_CHANGES], unread


def package_changes(log: str) -> list[dict[str, t.Any]]:
    """Return what dpkg did, by its log, which is in the host's own time."""
    found: dict[tuple[str, str], dict[str, t.Any]] = {}
    for line in log.splitlines():
        match = _DPKG.match(line)
        if match:
            at = datetime.datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").astimezone().timestamp()
            versions = {"install": match[5], "upgrade": f"{match[4]} to {match[5]}"}.get(match[2], match[4])
            # One run of apt is one change.
            minute = (match[1][:15], match[2])
            change = found.setdefault(minute, {"time": at, "kind": "packages", "what": "", "names": []})
            change["names"].append(f"{match[3]} {versions}")
    words = {"install": "installed", "upgrade": "upgraded", "remove": "removed", "purge": "purged"}
    for (_minute, verb), change in found.items():
        names = change.pop("names")
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        change["what"] = f"{words[verb]} {', '.join(names[:5])}{more}"
    return list(found.values())


def tree_changes(folder: str) -> list[dict[str, t.Any]]:
    """Return when the configuration was changed: each generation is a folder that was made then."""
    found = []
    for path in glob.glob(os.path.join(glob.escape(folder), "*", "generations", "*")):
        name = path.split(os.sep)[-3]
        try:
            found.append({"time": os.stat(path).st_mtime, "kind": "configuration", "what": f"{name}: change {os.path.basename(path)}"})
        except OSError:
            continue
    return found


def release_changes(root: str) -> list[dict[str, t.Any]]:
    """Return what went live in the folder of an application.

    Raises:
        MainstayError: it cannot be read.
    """
    found = []
    for record in Home(root).read().history:
        try:
            at = datetime.datetime.fromisoformat(record.time).timestamp()
        except ValueError:
            continue
        found.append({"time": at, "kind": record.kind, "what": f"{os.path.basename(root)}: release {record.release} in {record.slot}, by {record.by}"})
    return found


def _boot() -> list[dict[str, t.Any]]:
    """Return when the host was started."""
    for line in read_text("/proc/stat").splitlines():
        if line.startswith("btime "):
            return [{"time": float(line.split()[1]), "kind": "boot", "what": "the host was started"}]
    return []
