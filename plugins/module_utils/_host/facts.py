# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is and has, read in one go."""

from __future__ import annotations

import os
import re
import time
import typing as t

Run = t.Callable[..., tuple[int, str, str]]
_SSH_LISTS = {"kex": "kex", "ciphers": "cipher", "macs": "mac", "key_types": "HostKeyAlgorithms"}
_MAX_PARENTS = 40


def missing_packages(run: Run, names: t.Sequence[str]) -> list[str]:
    """Those of some Debian packages that are not installed."""
    if not names:
        return []
    _code, output, _errors = run(["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Abbrev}\\n", *names])
    there = {line.split()[0] for line in output.splitlines() if line.split()[1:2] == ["ii"]}
    return [name for name in names if name not in there]


def outdated(run: Run, readers: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """What has not read its files since they were written.

    Args:
        run: runs a program.
        readers: units that run, or files that are made of others, each with the paths that it reads.

    Returns:
        Those that are older than one of their files. A unit that does not run reads them when it starts; a service is as old as its start or its last
        reload.
    """
    units = [name for name in readers if not name.startswith("/")]
    times = {name: _written(name) for name in readers if name.startswith("/")}
    times.update(_started(run, units) if units else {})
    now = time.time()
    # systemd tells whole seconds. A file of the future tells nothing: the clock was wrong when it was written.
    return [name for name, begun in times.items() if any(int(begun) < int(_written(path)) <= now for path in readers[name])]


def _written(path: str) -> float:
    """When a file was written last; 0 if it is not there."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _started(run: Run, units: t.Sequence[str]) -> dict[str, float]:
    """When those of some units that run were started; services also: when they were reloaded."""
    argv = ["systemctl", "show", "--timestamp=unix", "--property=Id,ActiveState,ActiveEnterTimestamp,StateChangeTimestamp", "--", *units]
    _code, output, _errors = run(argv)
    found = {}
    for unit, block in zip(units, output.strip().split("\n\n")):
        told = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        # Each time that a timer elapses is a change of its state.
        begun = told.get("StateChangeTimestamp" if unit.endswith(".service") else "ActiveEnterTimestamp", "")
        if told.get("ActiveState") == "active" and begun.startswith("@"):
            found[unit] = float(begun[1:])
    return found


def container(run: Run) -> str:
    """What kind of container the host is; empty for none."""
    code, output, _errors = run(["systemd-detect-virt", "--container"])
    return output.strip() if code == 0 else ""


def sysctl(wanted: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """Settings of the kernel: what was asked for, what it has (``None`` where it has no such setting), and whether that can be changed here."""
    found = []
    for name, value in sorted(wanted.items()):
        # A dot within a name (an interface) is written as a slash, as sysctl.d(5) has it.
        path = "/proc/sys/" + name.translate(str.maketrans("./", "/."))
        try:
            with open(path, encoding="utf-8") as stream:
                current: str | None = " ".join(stream.read().split())
        except OSError:
            current = None
        found.append({"name": name, "wanted": " ".join(str(value).split()), "current": current, "writable": current is not None and os.access(path, os.W_OK)})
    return found


def ssh_version(run: Run) -> str:
    """Version of OpenSSH, such as ``9.2``; empty where it is not installed."""
    try:
        _code, output, errors = run(["ssh", "-V"])
    except OSError:
        return ""
    match = re.search(r"OpenSSH_(\d+\.\d+)", output + errors)
    return match[1] if match else ""


def ssh_algorithms(run: Run) -> dict[str, list[str]]:
    """What this version of OpenSSH can do, by kind."""
    return {kind: run(["ssh", "-Q", query])[1].split() for kind, query in _SSH_LISTS.items()}


def ssh_client_address() -> str:
    """Where this run comes from as the host sees it: sudo drops it from the environment, so that of the processes above is read too."""
    pid = os.getpid()
    for _step in range(_MAX_PARENTS):
        address = _variable(pid, b"SSH_CONNECTION")
        if address:
            return address.split()[0]
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
                pid = int(stream.read().rsplit(")", maxsplit=1)[1].split()[1])
        except (OSError, ValueError, IndexError):
            return ""
        if pid < 2:
            return ""
    return ""


def _variable(pid: int, name: bytes) -> str:
    """A variable in the environment of a process."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            pairs = stream.read().split(b"\0")
    except OSError:
        return ""
    return next((pair.partition(b"=")[2].decode(errors="replace") for pair in pairs if pair.startswith(name + b"=")), "")
