# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies below some paths: entries with their facts, and what cannot or shall not be backed up, by name. No content is read but on request."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import grp
import hashlib
import os
import pwd
import re
import stat
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import Entry, is_below
from ansible_collections.mainstay.ops.plugins.module_utils._files.patterns import Patterns

BLOCK = 1 << 20
SIGNATURE_BYTES = 1 << 18
"""So much of a file's beginning is searched for a private key: a certificate with its chain comes before it in some."""
SECRET = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|AGE-SECRET-KEY-1|PuTTY-User-Key-File-")
SPECIAL = {stat.S_IFSOCK: "socket", stat.S_IFIFO: "named pipe", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}


@dataclasses.dataclass(frozen=True)
class Rules:
    """What belongs to a tree.

    Args:
        exclude: what is left out.
        one_file_system: whether what is mounted below a path is left out; the folder that it is mounted on stays.
    """

    exclude: Patterns
    one_file_system: bool = False


@dataclasses.dataclass
class Scan:
    """What was found.

    Args:
        entries: by path, in order.
        skipped: paths of sockets, devices and named pipes, with what each is.
        unreadable: paths that this user may not read, with the reason.
    """

    entries: dict[str, Entry] = dataclasses.field(default_factory=dict)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)


def roots_of(paths: t.Sequence[str]) -> tuple[str, ...]:
    """Return the paths with links above them followed, without those that lie in another one, in order.

    Raises:
        InvalidInput: there is none, or one is not absolute, does not exist, or is the root of the host.
    """
    if not paths:
        raise InvalidInput("back up files", "paths is empty", "name the files and folders")
    found = set()
    for path in paths:
        if not os.path.isabs(path) or os.path.normpath(path) in ("/", "//"):
            raise InvalidInput(f"back up {path}", "it is no absolute path below /", "name files and folders by their whole paths")
        name = os.path.normpath(path)
        name = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
        if not os.path.lexists(name):
            raise InvalidInput(f"back up {path}", "it does not exist", "take it out of paths, or make it")
        found.add(name)
    return tuple(sorted(name for name in found if not any(name != other and is_below(name, other) for other in found)))


def scan(roots: t.Iterable[str], rules: Rules) -> Scan:
    """Look at everything below some paths, in the order of the index. Links are looked at, never followed."""
    found = Scan()
    for root in roots:
        _visit(root, None, rules, found)
    return found


def _visit(path: str, device: int | None, rules: Rules, found: Scan) -> None:
    pending = [path]
    while pending:
        name = pending.pop()
        try:
            facts = os.lstat(name)
            is_folder = stat.S_ISDIR(facts.st_mode)
            if rules.exclude.fit(name, is_folder):
                continue
            if (kind := SPECIAL.get(stat.S_IFMT(facts.st_mode))) is not None:
                found.skipped[name] = kind
                continue
            if not stat.S_ISLNK(facts.st_mode) and not os.access(name, os.R_OK | (os.X_OK if is_folder else 0), effective_ids=True):
                found.unreadable[name] = "Permission denied"
                continue
            found.entries[name] = entry_of(name, facts)
            device = facts.st_dev if device is None else device
            if is_folder and not (rules.one_file_system and facts.st_dev != device):
                pending += sorted((os.path.join(name, each) for each in os.listdir(name)), reverse=True)
        except FileNotFoundError:
            continue  # it has gone since its folder was read, so it is no part of this backup
        except OSError as error:
            found.unreadable[name] = error.strerror or str(error)


def entry_of(path: str, facts: os.stat_result) -> Entry:
    """Return the facts of a file, folder or link as an entry."""
    type_ = "link" if stat.S_ISLNK(facts.st_mode) else "folder" if stat.S_ISDIR(facts.st_mode) else "file"
    is_file = type_ == "file"
    return Entry(
        path=path,
        type=type_,
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        user=user_name(facts.st_uid),
        group=group_name(facts.st_gid),
        mtime=facts.st_mtime_ns,
        size=facts.st_size if is_file else 0,
        disk=facts.st_blocks * 512 if is_file else 0,
        ctime=facts.st_ctime_ns if is_file else 0,
        inode=facts.st_ino if is_file else 0,
        target=os.readlink(path) if type_ == "link" else "",
    )


@functools.lru_cache(maxsize=4096)
def user_name(number: int) -> str:
    """Return a user's name, empty if there is none."""
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return ""


@functools.lru_cache(maxsize=4096)
def group_name(number: int) -> str:
    """Return a group's name, empty if there is none."""
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return ""


@functools.lru_cache(maxsize=4096)
def user_number(name: str, number: int) -> int:
    """Return the number that a user's name has here; the given one where there is no such name."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return number


@functools.lru_cache(maxsize=4096)
def group_number(name: str, number: int) -> int:
    """Return the number that a group's name has here; the given one where there is no such name."""
    with contextlib.suppress(KeyError):
        return grp.getgrnam(name).gr_gid
    return number


def read_xattrs(path: str, privileged: bool) -> dict[str, bytes]:
    """Return the extended attributes of a file, folder or link, ACLs included; none where the file system has no such thing.

    Args:
        path: the file.
        privileged: whether those count as well that only root can set.
    """
    with contextlib.suppress(OSError):
        names = [name for name in os.listxattr(path, follow_symlinks=False) if privileged or name.startswith(("user.", "system.posix_acl_"))]
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    return {}


def has_attributes(path: str) -> bool:
    """Say whether the file system of a path knows extended attributes; nothing is written, as a plan must not."""
    try:
        os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False
    return True


def xattrs_digest(attributes: t.Mapping[str, bytes]) -> str:
    """Return one hash over extended attributes; empty if there are none."""
    if not attributes:
        return ""
    digest = hashlib.sha256()
    for name, value in sorted(attributes.items()):
        digest.update(f"{name}={len(value)}:".encode() + value)
    return digest.hexdigest()


def content_digest(path: str) -> str:
    """Return the SHA-256 of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def secrets_among(entries: t.Iterable[Entry], patterns: Patterns, look_into: bool) -> dict[str, str]:
    """Return the files that hold secrets, by name or by what they begin with, and how that is known.

    Raises:
        MainstayError: one cannot be read.
    """
    found = {}
    for entry in entries:
        if entry.type != "file":
            continue
        if patterns.fit(entry.path):
            found[entry.path] = "its name fits secret_patterns"
        elif look_into and _begins_with_secret(entry.path):
            found[entry.path] = "it holds a private key"
    return found


def _begins_with_secret(path: str) -> bool:
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as content:
            return SECRET.search(content.read(SIGNATURE_BYTES)) is not None
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MainstayError(f"look into {path} for secrets", error.strerror or error) from error
