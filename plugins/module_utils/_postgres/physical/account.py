# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL and pgBackRest do not run as root: when the module does, programs run as the cluster's owner, and files are made as that user."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore, Store
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def owner_of(*paths: str | None) -> str:
    """Return the user to work as: empty for the current one unless that is root, else who owns the first of some paths that is not root's, or ``postgres``.

    Raises:
        MainstayError: we are root, and there is neither.
    """
    if os.geteuid() != 0:
        return ""
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
    """Make a local store's folder for the user, if only its parent is there, and see that the user can write to it.

    Raises:
        MainstayError: it belongs to another user.
    """
    entry = pwd.getpwnam(user)
    if not os.path.exists(path):
        os.mkdir(path, 0o700)
        os.chown(path, entry.pw_uid, entry.pw_gid)
        return
    facts = os.stat(path)
    groups = os.getgrouplist(user, entry.pw_gid)
    by_group = facts.st_gid in groups and facts.st_mode & stat.S_IWGRP
    if facts.st_uid != entry.pw_uid and not by_group and not facts.st_mode & stat.S_IWOTH:
        raise MainstayError(f"use the local store {path}", f"{user}, who owns the cluster, cannot write there", f"run chown {user} {path}")


@contextlib.contextmanager
def acting_as(user: str) -> t.Iterator[None]:
    """Act as another user for a while, so that files are made as this user, and servers on this host see this user; an empty name changes nothing.

    Keep it short, and import nothing new in it: the user may not be able to read our code.
    """
    if not user:
        yield
        return
    entry, before, groups = pwd.getpwnam(user), (os.geteuid(), os.getegid()), os.getgroups()
    os.setgroups(os.getgrouplist(user, entry.pw_gid))
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        os.setgroups(groups)


def writing_to(store: Store, user: str) -> contextlib.AbstractContextManager[None]:
    """Act as another user where a store is a folder; a bucket does not see users."""
    return acting_as(user if isinstance(store, LocalStore) else "")
