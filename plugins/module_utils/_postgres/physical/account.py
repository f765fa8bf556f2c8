# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL and pgBackRest do not run as root: when the module does, its work is done by a child that has become the cluster's owner for good."""

from __future__ import annotations

import os
import pickle
import pwd
import signal
import stat
import threading
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _errors, _progress
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import Interrupted
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

T = t.TypeVar("T")


def owner_of(*paths: str | None) -> str:
    """Return the name of whoever owns the first of some paths that is there and is not root's, else ``postgres``.

    Raises:
        MainstayError: there is neither.
    """
    for path in paths:
        try:
            owner = os.stat(path).st_uid if path else 0
            if owner:
                return pwd.getpwuid(owner).pw_name
        except (OSError, KeyError):
            continue
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError as error:
        cause = "pgBackRest and PostgreSQL do not run as root, and there is no user postgres on this host"
        raise MainstayError("choose the user to work as", cause, "install PostgreSQL, or become another user") from error


def prepare_folder(path: str, user: str) -> None:
    """Make a local store's folder for the user, if only its parent is there, and see that the user can enter it.

    Raises:
        MainstayError: it belongs to another user.
    """
    entry = pwd.getpwnam(user)
    if not os.path.exists(path) and os.path.isdir(os.path.dirname(path)):
        os.mkdir(path, 0o700)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    facts = os.stat(path) if os.path.exists(path) else None
    if facts is not None and facts.st_uid != entry.pw_uid and not facts.st_mode & stat.S_IWOTH and not (facts.st_mode & stat.S_IWGRP):
        owner = facts.st_uid
        cause = f"{user}, who owns the cluster, cannot write to {path}, which belongs to the user {owner}"
        raise MainstayError(f"use the local store {path}", cause, f"run chown {user} {path}")


def as_user(user: str, action: t.Callable[[], T]) -> T:
    """Run something in a child process that has become another user for good, and return what it returned, or raise what it raised.

    The child gets the signals that end the module. What it returns must be picklable.

    Args:
        user: whom to become; the child has this user's groups only.
        action: what to do.

    Raises:
        MainstayError: the child's own, or it died.
    """
    entry = pwd.getpwnam(user)
    _progress.current()
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_fd)
        _work(entry, action, write_fd)
    os.close(write_fd)
    content = bytearray()
    try:
        while part := os.read(read_fd, 1 << 16):
            content += part
    except Interrupted:
        os.kill(child, signal.SIGTERM)
        raise
    finally:
        os.close(read_fd)
        _unused, status = os.waitpid(child, 0)
    if not content:
        raise MainstayError(f"work as the user {user}", f"the process that did ended with status {os.waitstatus_to_exitcode(status)}")
    kind, value = pickle.loads(bytes(content))  # noqa: S301  (from our own child)
    if kind == "error":
        raise _revived(*value)
    return t.cast(T, value)


def _work(entry: pwd.struct_passwd, action: t.Callable[[], T], write_fd: int) -> t.NoReturn:
    """Become the user, act, send the result, and end without running anything of the parent's."""
    status = 1
    try:
        os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        os.environ.update({"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name})
        os.chdir("/")
        try:
            message = ("result", action())
        except MainstayError as error:
            message = ("error", (type(error).__module__, type(error).__name__, error.doing, error.cause, error.next_step, error.details))
        data = pickle.dumps(message)
        while data:
            data = data[os.write(write_fd, data) :]
        status = 0
    except BaseException:  # noqa: BLE001  (it must not return into the parent's code)
        import traceback

        traceback.print_exc()
    finally:
        threading.excepthook = lambda _args: None
        os._exit(status)


def _revived(module: str, name: str, doing: str, cause: str, next_step: str, details: dict[str, t.Any]) -> MainstayError:
    """Return an error of the child as one of ours: bad input stays bad input, an interruption one."""
    kind = {"InvalidInput": _errors.InvalidInput, "Interrupted": Interrupted}.get(name, MainstayError)
    return kind(doing, cause, next_step, **details)
