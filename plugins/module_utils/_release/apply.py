# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that change an application's folder. Each is whole or not done at all."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import datetime
import fcntl
import json
import os
import shutil
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release import archive as archives
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import STAMP, Home, Lock, Record, Run, State
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import Taking, appended, plan_present


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _write(path: str, content: t.Mapping[str, t.Any]) -> None:
    """Write a JSON file that is there whole or not at all."""
    beside = f"{path}.new"
    with open(beside, "w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(beside, 0o644)
    os.rename(beside, path)


def need_root(home: Home) -> None:
    """Refuse a folder that the role has not made."""
    if not os.path.isdir(home.releases):
        raise MainstayError(f"use {home.root}", "it is not the folder of an application", "run the role app_host on this host first")


def unpack(home: Home, release: str, archive: str, sha256: str) -> None:
    """Unpack an archive beside the other releases and put it in place by one rename, over one of the same name that nothing uses.

    Of two that do so at the same time the second one finds the release there.

    Raises:
        MainstayError: it is not the archive that ``sha256`` names, or it cannot be unpacked.
    """
    need_root(home)
    found = archives.file_sha256(archive)
    if sha256 and found != sha256:
        raise MainstayError(f"unpack release {release}", f"the archive has the SHA-256 {found}, not {sha256}", "build it anew, or correct the hash")
    with alone(home.releases):
        if plan_present(home.read(), release, found) != "unchanged":
            archives.unpack(archive, incoming_folder(home, release))
            place(home, release, found)


def incoming_folder(home: Home, release: str) -> str:
    """Where a release is made before it is put in place."""
    return os.path.join(home.releases, f".incoming-{release}")


def place(home: Home, release: str, content: str) -> None:
    """Put what is in the incoming folder in place by one rename, over a release of the same name that nothing uses.

    Args:
        home: the application's folder.
        release: name of the release.
        content: hash of what it was made from.

    Raises:
        MainstayError: it cannot be written; nothing of the incoming folder is left.
    """
    incoming, outgoing = incoming_folder(home, release), os.path.join(home.releases, f".outgoing-{release}")
    try:
        stamp(incoming, release, content)
        shutil.rmtree(outgoing, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            os.rename(home.release(release), outgoing)
        os.rename(incoming, home.release(release))
    except OSError as exc:
        shutil.rmtree(incoming, ignore_errors=True)
        raise MainstayError(f"put release {release} in place", exc, "remove the cause and run again") from exc
    shutil.rmtree(outgoing, ignore_errors=True)


def stamp(folder: str, release: str, content: str) -> None:
    """Write into a release's folder what it was made from; without that file it does not count as a release, so all others are on the disk before.

    Raises:
        OSError: they cannot be written.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    finally:
        os.close(handle)
    _write(os.path.join(folder, STAMP), {"release": release, "sha256": content, "unpacked": _now()})


def _keep(path: str, content: t.Mapping[str, t.Any]) -> None:
    """Write a file of the application's folder; raises MainstayError if it cannot be written, and the old one is still there."""
    try:
        _write(path, content)
    except OSError as exc:
        raise MainstayError(f"write {path}", exc, "it is as it was; make room, or mend the file system, and run again") from exc


def record(home: Home, state: State, new: Record, by: str) -> None:
    """Append a record to the history; raises MainstayError if it cannot be written."""
    need_root(home)
    _keep(home.history, {"records": appended(state.history, dataclasses.replace(new, time=_now(), by=by))})


def remove(home: Home, releases: t.Iterable[str]) -> None:
    """Remove unpacked releases."""
    for release in releases:
        shutil.rmtree(home.release(release))


@contextlib.contextmanager
def alone(folder: str) -> t.Iterator[None]:
    """Have a folder for oneself while the block runs, among all that ask in this way."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def take_lock(home: Home, wanted: Lock, plan: t.Callable[[Lock | None, float], Taking], check_mode: bool) -> Taking:
    """Take the lock for one run, or say that it is alive if it holds the lock already.

    Args:
        home: the application's folder.
        wanted: the lock as it shall be, without times.
        plan: says of the lock as it is, at a time, what taking it means, as :func:`plan_locked` and :func:`plan_renewed` do.
        check_mode: whether to leave everything as it is.

    Raises:
        MainstayError: ``plan`` does not permit it, or the lock cannot be written.
    """
    if check_mode:
        return plan(home.read_lock(), time.time())
    need_root(home)
    with alone(home.root):
        now, found = time.time(), home.read_lock()
        taking = plan(found, now)
        since = now if taking.needed or found is None else found.since
        _keep(home.lock, dataclasses.asdict(dataclasses.replace(wanted, since=since, renewed=now)))
        return taking


def release_lock(home: Home, owner: str, check_mode: bool, run: Run | None = None) -> bool:
    """Give the lock back if this run holds it; an empty ``owner`` takes it from anybody. How the run ended is written down before, if ``run`` says so.

    Returns:
        Whether there was something to give back.
    """
    if not os.path.isdir(home.root):
        return False
    with alone(home.root):
        lock = home.read_lock()
        if lock is None or owner not in ("", lock.owner):
            return False
        if not check_mode:
            if run is not None:
                # A disk that is full must not keep the lock.
                with contextlib.suppress(MainstayError):
                    _keep(home.last_run, dataclasses.asdict(run))
            os.unlink(home.lock)
        return True
