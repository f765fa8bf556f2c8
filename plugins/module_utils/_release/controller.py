# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The run that holds a lock, as a process of its controller: who it is, and whether it is surely gone.

A process number alone says little: it is used again, and means something else in each container and after each boot. So it counts together with the
kernel's boot, the namespace of process numbers, and the time at which the process started.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

ALIVE, GONE, UNKNOWN = "alive", "gone", "unknown"

FIRST_NAMESPACE = "pid:[4026531836]"
"""The namespace of process numbers that a machine boots with (PROC_PID_INIT_INO in the kernel's proc_ns.h); containers have others."""

STRAGGLER_SECONDS = 10.0
"""How long the workers of a run that was killed may take to end what they have begun."""

ENDING_SECONDS = 5.0
"""How long they may take to end when they are told to."""

_PROC = pathlib.Path("/proc")
_START_FIELD = 19
"""Of the fields of /proc/PID/stat that follow the name in parentheses, the one with the start in clock ticks since the boot (field 22 in proc(5))."""

_STACK_FIELD, _ARGUMENTS_FIELD = 25, 45
"""Those with the addresses of the stack and of the arguments (fields 28 and 48), 0 for who may not see them."""

Identity = t.Mapping[str, t.Any]


def _fields(pid: int) -> list[str]:
    """The fields of a process's state that follow its name; none if there is none, or only what is left of it until it is reaped."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in ("Z", "X") else fields


def started(pid: int) -> str:
    """When a process started, in clock ticks since the boot; empty if there is none."""
    fields = _fields(pid)
    return fields[_START_FIELD] if fields else ""


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _command(pid: int) -> str:
    """A fingerprint of one start of a program, which its forks have in common and no other start has, not even one with the same arguments.

    The kernel puts the stack and the arguments of each program that it starts at addresses of chance; a fork keeps them.
    """
    fields = _fields(pid)
    try:
        content = (_PROC / str(pid) / "cmdline").read_bytes()
        folder = os.readlink(_PROC / str(pid) / "cwd")
    except OSError:
        return ""
    if not content or not fields or fields[_STACK_FIELD] == "0":
        return ""
    place = f"{fields[_STACK_FIELD]} {fields[_ARGUMENTS_FIELD]} {folder}"
    return hashlib.sha256(content + place.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def identity(pid: int) -> dict[str, t.Any]:
    """Who a process of this machine is; the parts that the system does not tell are empty."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return {
        "host": socket.gethostname(),
        "machine": _text("/etc/machine-id"),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": namespace,
        "pid": pid,
        "started": started(pid),
        "command": _command(pid),
    }


def fate(holder: Identity, here: Identity, started_now: t.Callable[[int], str] = started) -> str:
    """Say whether the process that holds a lock is alive, surely gone, or unknown, as seen from another one.

    Args:
        holder: its identity, as it was written into the lock.
        here: the identity of the process that asks.
        started_now: tells when a process of this machine started.
    """
    told = all(identity.get(name) for identity in (holder, here) for name in ("boot", "namespace", "started"))
    if not told:
        return UNKNOWN
    if holder["boot"] == here["boot"]:
        if holder["namespace"] != here["namespace"]:
            return UNKNOWN
        return ALIVE if started_now(int(holder["pid"])) == holder["started"] else GONE
    same_machine = all(holder.get(name) and holder.get(name) == here.get(name) for name in ("machine", "host"))
    return GONE if same_machine and holder["namespace"] == here["namespace"] == FIRST_NAMESPACE else UNKNOWN


def stragglers(holder: Identity, here: Identity) -> list[int]:
    """The workers of a process that is gone: its forks, younger than it and older than this run."""
    if holder.get("boot") != here.get("boot") or not holder.get("command"):
        return []
    first, last = int(holder["started"]), int(here["started"])
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and _command(int(entry.name)) == holder["command"]:
            began = started(int(entry.name))
            if began and first <= int(began) < last:
                found.append(int(entry.name))
    return found


def see_off(holder: Identity, here: Identity, seconds: float = STRAGGLER_SECONDS, ending: float = ENDING_SECONDS) -> None:
    """Wait until the workers of a process that is gone have ended; end those that take longer, whose results nobody waits for any more.

    Args:
        holder: the identity of the process that is gone.
        here: that of this run.
        seconds: how long they may take for what they have begun.
        ending: how long they may take to end when they are told to.

    Raises:
        MainstayError: one goes on all the same.
    """
    if not _wait(holder, here, seconds):
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for pid in stragglers(holder, here):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, sign)
        if not (left := _wait(holder, here, ending)):
            return
    raise MainstayError("take over the lock of a run that was killed", f"its workers still run as the processes {', '.join(map(str, left))}",
                        "end them on this machine, and run again")


def _wait(holder: Identity, here: Identity, seconds: float) -> list[int]:
    """Wait for the workers of a process that is gone, and return those that are left."""
    deadline = time.monotonic() + seconds
    while (left := stragglers(holder, here)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left
