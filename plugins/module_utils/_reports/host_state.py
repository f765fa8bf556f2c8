# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host feels: load, pressure, memory, disks and units, read without changing anything."""

from __future__ import annotations

import os
import re
import typing as t

Run = t.Callable[..., tuple[int, str, str]]
NO_DISKS = frozenset(
    {
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "fusectl",
        "hugetlbfs",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "squashfs",
        "sysfs",
        "tmpfs",
        "tracefs",
        "iso9660",
        "efivarfs",
    }
)
"""Kinds of file systems that are no disk of this host's own. The root of a container is an overlay, and is looked at all the same."""
PROCESSES = 5
"""How many processes are told, by memory."""


def read_text(path: str) -> str:
    """Return the content of a small file; nothing if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def load(cpus: int) -> dict[str, t.Any]:
    """Return how many processes run or wait, over 1, 5 and 15 minutes, for so many CPUs."""
    return {"averages": [round(number, 2) for number in os.getloadavg()], "cpus": cpus}


def memory(text: str) -> dict[str, int]:
    """Return bytes of memory and swap from the text of ``/proc/meminfo``."""
    told = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if line.endswith(" kB")}
    names = {"total": "MemTotal", "available": "MemAvailable", "swap_total": "SwapTotal", "swap_free": "SwapFree"}
    return {name: told.get(key, 0) for name, key in names.items()}


def pressure(folder: str = "/proc/pressure") -> dict[str, dict[str, float]]:
    """Return for CPU, memory and I/O which per cent of the last minute ``some`` and ``full`` (all) work stood still; nothing where the kernel does not tell."""
    found: dict[str, dict[str, float]] = {}
    for name in ("cpu", "memory", "io"):
        for line in read_text(os.path.join(folder, name)).splitlines():
            words = line.split()
            averages = dict(word.split("=") for word in words[1:] if "=" in word)
            if "avg60" in averages:
                found.setdefault(name, {})[words[0]] = float(averages["avg60"])
    return found


def filesystems(mounts: str) -> list[dict[str, t.Any]]:
    """Return the disks of ``/proc/self/mountinfo`` (proc(5)), each once, with bytes and inodes.

    A part of a disk may be mounted a second time, read-only for whoever looks there. After an error the kernel makes the whole disk read-only, which only
    the options of the file system itself tell, the last ones of a line.
    """
    found: dict[int, dict[str, t.Any]] = {}
    for line in mounts.splitlines():
        mount, _separator, system = line.partition(" - ")
        place, (kind, _device, options) = mount.split()[4], system.split()
        # A blank of a path is written as \040.
        place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)
        if (kind in NO_DISKS or kind.startswith("fuse")) and place != "/":
            continue
        try:
            device, told = os.stat(place).st_dev, os.statvfs(place)
        except OSError:
            continue
        if not told.f_blocks or device in found or not os.path.isdir(place):
            continue
        found[device] = {
            "mount": place,
            "type": kind,
            "size": told.f_blocks * told.f_frsize,
            # What only root could still write is as good as full.
            "available": told.f_bavail * told.f_frsize,
            "inodes": told.f_files,
            "inodes_free": told.f_favail,
            "read_only": "ro" in options.split(","),
        }
    return sorted(found.values(), key=lambda disk: disk["mount"])


def processes(folder: str = "/proc") -> list[dict[str, t.Any]]:
    """Return those that take the most memory, by the name of their program: arguments may hold secrets."""
    found = []
    for name in os.listdir(folder):
        if name.isdecimal():
            status = dict(line.split(":", 1) for line in read_text(f"{folder}/{name}/status").splitlines() if ":" in line)
            if "VmRSS" in status:
                found.append({"pid": int(name), "program": status["Name"].strip(), "bytes": int(status["VmRSS"].split()[0]) * 1024})
    return sorted(found, key=lambda process: -process["bytes"])[:PROCESSES]


def failed_units(run: Run) -> tuple[list[str], str]:
    """Return the units that failed, and why that is not known."""
    try:
        code, output, errors = run(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager", "--full"])
    except OSError as error:
        return [], f"systemctl cannot be run: {error.strerror}"
    if code != 0:
        return [], f"systemctl did not tell: {(errors or output).strip()[:200]}"
    return [line.split()[0] for line in output.splitlines() if line.strip()], ""


def clock_synchronised(run: Run) -> bool | None:
    """Tell whether the clock is kept right by others; None if nobody knows."""
    try:
        code, output, _errors = run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
    except OSError:
        return None
    return {"yes": True, "no": False}.get(output.strip()) if code == 0 else None
