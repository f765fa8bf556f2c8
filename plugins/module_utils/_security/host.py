# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says of itself: its SSH server, kernel settings, listeners, packages and units. Reads only.

Each part returns its facts, or raises :class:`NotKnown` with the reason, which the scan reports instead of judging.
"""

from __future__ import annotations

import fnmatch
import glob
import json
import os
import re
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security import kernel, sshd

Run = t.Callable[..., tuple[int, str, str]]
"""Runs an argv (with ``data`` as its standard input) and returns its exit status, standard output and standard error."""


class NotKnown(Exception):
    """A part of the host that could not be looked at; the text is the reason."""

    failed = True


class NotThere(NotKnown):
    """A part that the host does not have, so that there is nothing to judge."""

    failed = False


def not_judged(part: str, error: NotKnown) -> dict[str, t.Any]:
    """Return how the results say that a part was not judged: the scan fails for what could not be looked at, not for what is not there."""
    return {"part": part, "reason": str(error), "failed": error.failed}


def read_sshd(run: Run, root: str = "/etc/ssh") -> dict[str, t.Any]:
    """Return the settings in force and the lines of Match blocks that loosen them."""
    if not os.path.exists("/usr/sbin/sshd"):
        raise NotThere("there is no SSH server")
    status, out, err = run(["/usr/sbin/sshd", "-T"])
    if status != 0:
        raise NotKnown(f"sshd -T says: {_told(err, status)}")
    matches = [entry for path in [f"{root}/sshd_config", *sorted(glob.glob(f"{root}/sshd_config.d/*.conf"))] for entry in _match_lines(path)]
    return {"settings": parse_sshd(out), "matches": matches}


def parse_sshd(out: str) -> dict[str, str]:
    """Return the settings that ``sshd -T`` printed; one that is there several times has its values joined by spaces."""
    settings: dict[str, str] = {}
    for line in out.splitlines():
        keyword, _space, value = line.partition(" ")
        if keyword:
            settings[keyword.lower()] = f"{settings[keyword.lower()]} {value}" if keyword.lower() in settings else value
    return settings


def _match_lines(path: str) -> t.Iterator[dict[str, t.Any]]:
    within = False
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.split("#")[0].replace("=", " ").split()
        if not words:
            continue
        if words[0].lower() == "match":
            within = [word.lower() for word in words[1:]] != ["all"]
        elif within and len(words) > 1 and words[0].lower() in sshd.LOOSENED:
            yield {"path": path, "line": number, "keyword": words[0], "setting": words[1]}


def read_kernel(run: Run) -> dict[str, t.Any]:
    """Return the settings that the rules know and this kernel has."""
    values = {name: _text(f"/proc/sys/{name.replace('.', '/')}").strip() for name in kernel.NAMES}
    status, out, _err = run(["systemd-detect-virt", "--container"])
    return {"settings": {name: value for name, value in values.items() if value}, "container": out.strip() if status == 0 else ""}


def read_listeners(run: Run) -> list[dict[str, t.Any]]:
    """Return what listens: TCP, and UDP sockets that are bound."""
    status, out, err = run(["ss", "--no-header", "--listening", "--numeric", "--tcp", "--udp", "--processes"])
    if status != 0:
        raise NotKnown(f"ss says: {_told(err, status)}")
    return parse_listeners(out)


def parse_listeners(out: str) -> list[dict[str, t.Any]]:
    """Return the sockets that ``ss`` printed."""
    found = []
    for line in out.splitlines():
        words = line.split()
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            continue
        address, _colon, port = words[4].rpartition(":")
        process = re.search(r'users:\(\("([^"]*)",pid=(\d+)', line)
        address = address.strip("[]").partition("%")[0].replace("*", "::")
        if port.isdigit():
            entry = {"protocol": words[0], "address": address, "port": int(port)}
            found.append({**entry, "process": process[1] if process else "", "pid": int(process[2]) if process else 0})
    return sorted(found, key=lambda entry: (entry["protocol"], entry["port"], entry["address"]))


def read_packages(run: Run, listeners: t.Iterable[dict[str, t.Any]]) -> dict[str, t.Any]:
    """Return the updates that wait, how fresh that knowledge is, and what still runs old code."""
    # The caches that apt would write are switched off, so nothing is left behind.
    argv = ["apt-get", "--simulate", "-o", "Debug::NoLocking=true", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "dist-upgrade"]
    status, out, err = run(argv)
    if status != 0:
        raise NotKnown(f"apt-get says: {_told(err, status)}")
    _status, settings, _err = run(["apt-config", "dump", "APT::Periodic"])
    reached = [entry["pid"] for entry in listeners if entry["pid"] and not entry["address"].startswith("127.") and entry["address"] != "::1"]
    reboot = "/run/reboot-required"
    return {
        "updates": parse_updates(out),
        "lists_age_seconds": _lists_age(),
        "unattended": os.path.exists("/usr/bin/unattended-upgrade") and bool(re.search(r'APT::Periodic::Unattended-Upgrade "[1-9a-z]', settings)),
        "reboot_required": f"asked for by {', '.join(_text(reboot + '.pkgs').split()) or 'a package'}" if os.path.exists(reboot) else "",
        "exposed": sorted(_packages_of(run, {_link(f"/proc/{pid}/exe") for pid in reached})),
        "stale": _stale(),
    }


def parse_updates(out: str) -> list[dict[str, t.Any]]:
    """Return what ``apt-get --simulate`` would install."""
    pattern = re.compile(r"^Inst (?P<name>\S+)(?: \[(?P<installed>[^\]]*)\])? \((?P<candidate>\S+) (?P<origin>[^)]*)\)", re.MULTILINE)
    return [
        {
            "name": match["name"].partition(":")[0],
            "installed": match["installed"] or "",
            "candidate": match["candidate"],
            "security": "security" in match["origin"].lower(),
        }
        for match in pattern.finditer(out)
    ]


def _lists_age() -> float | None:
    if not glob.glob("/var/lib/apt/lists/*Release"):
        return None
    # The folder in which lists arrive changes with each update, while the lists have the times of the mirror.
    stamps = ["/var/lib/apt/lists", "/var/lib/apt/lists/partial", "/var/lib/apt/periodic/update-success-stamp"]
    return max(0.0, time.time() - max(os.stat(path).st_mtime for path in stamps if os.path.exists(path)))


def _packages_of(run: Run, programs: set[str]) -> set[str]:
    """Return the packages that programs belong to; those of merged /usr are known by their old paths as well."""
    paths = sorted({path for program in programs if program for path in (program, program.removeprefix("/usr"))})
    if not paths:
        return set()
    _status, out, _err = run(["dpkg-query", "--search", *paths])
    return {line.partition(": ")[0].partition(":")[0].strip() for line in out.splitlines() if ": /" in line and not line.startswith("diversion")}


def _stale() -> list[dict[str, t.Any]]:
    """Return the processes that map libraries whose files were replaced."""
    found: dict[str, set[str]] = {}
    for path in glob.glob("/proc/[0-9]*/maps"):
        libraries = set(re.findall(r"(/(?:usr/)?lib/\S+?\.so[.\d]*)(?:;[0-9a-f]+)? \(deleted\)$", _text(path), re.MULTILINE))
        if libraries:
            found.setdefault(_text(f"{os.path.dirname(path)}/comm").strip(), set()).update(os.path.basename(library) for library in libraries)
    return [{"process": process, "libraries": sorted(libraries)} for process, libraries in sorted(found.items()) if process]


def read_units(run: Run, own: t.Iterable[str]) -> list[dict[str, t.Any]]:
    """Return the services that systemd has loaded with their exposure.

    Args:
        own: patterns of names of units that count as our own, beside those whose files lie in /etc/systemd/system.
    """
    status, out, err = run(["systemd-analyze", "security", "--no-pager", "--json=short"])
    try:
        judged = json.loads(out) if status == 0 else None
    except ValueError:
        judged = None
    if judged is None:
        raise NotKnown(f"systemd-analyze says: {_told(err, status)}")
    names = [entry["unit"] for entry in judged]
    _status, shown, _err = run(["systemctl", "show", "--property=Id,FragmentPath", "--", *names]) if names else (0, "", "")
    fragments = parse_fragments(shown)
    return [
        {
            "name": entry["unit"],
            "exposure": float(entry["exposure"]),
            "own": fragments.get(entry["unit"], "").startswith("/etc/systemd/system/") or any(fnmatch.fnmatch(entry["unit"], pattern) for pattern in own),
        }
        for entry in judged
        if entry.get("exposure") not in (None, "")
    ]


def parse_fragments(shown: str) -> dict[str, str]:
    """Return the unit file of each unit that ``systemctl show`` printed."""
    found = {}
    for block in shown.split("\n\n"):
        properties = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in properties:
            found[properties["Id"]] = properties.get("FragmentPath", "")
    return found


def _told(err: str, status: int) -> str:
    """Return the first line of what a program complained of."""
    return err.strip().splitlines()[0] if err.strip() else f"exit status {status}"


def _text(path: str) -> str:
    """Return what a small file holds, empty if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path).removesuffix(" (deleted)")
    except OSError:
        return ""
