# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out a plan: prepare every file beside its destination, then rename all, and undo all if one step fails."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import glob
import hashlib
import json
import os
import posixpath
import shutil
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.plan import Change, Plan
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.stage import STAGE_PREFIX, Run, Verdict, staged, validate
from ansible_collections.mainstay.ops.plugins.module_utils._disk import sync_path
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

Undo = t.Callable[[], None]

SCRATCH = "/run"
"""Where check mode stages: in memory, and only root can write there."""


@dataclasses.dataclass(frozen=True)
class Store:
    """The folder of one tree on the host: ``generations/<n>/`` with what change n replaced, and the stage while one runs."""

    root: str

    @property
    def generations(self) -> str:
        """The folder of the generations."""
        return posixpath.join(self.root, "generations")

    def generation(self, number: int) -> str:
        """The folder of one generation."""
        return posixpath.join(self.generations, str(number))

    def numbers(self) -> list[int]:
        """The generations that are kept, oldest first."""
        try:
            return sorted(int(name) for name in os.listdir(self.generations) if name.isdecimal())
        except FileNotFoundError:
            return []

    def latest(self) -> int:
        """The newest generation, 0 if there is none."""
        return max(self.numbers(), default=0)

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Hold the tree for one run at a time, and sweep away what a run that was killed left."""
        os.makedirs(self.generations, mode=0o700, exist_ok=True)
        os.chmod(self.root, 0o700)
        with open(posixpath.join(self.root, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in glob.glob(posixpath.join(glob.escape(self.root), STAGE_PREFIX + "*")):
                shutil.rmtree(left)
            yield


def _private_copy(source: str, target: str) -> None:
    """Copy a file's bytes into a new file that only its owner can read."""
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as reader, open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writer:
        shutil.copyfileobj(reader, writer)


def save_generation(store: Store, plan: Plan) -> int:
    """Keep what the plan replaces, or leave nothing behind and raise OSError.

    Returns:
        The number of the new generation.
    """
    number = store.latest() + 1
    folder = store.generation(number)
    os.mkdir(folder, 0o700)
    try:
        _fill_generation(folder, number, plan)
    except OSError:
        shutil.rmtree(folder)
        raise
    return number


def _fill_generation(folder: str, number: int, plan: Plan) -> None:
    records = []
    for change in plan.pending:
        current = change.current
        record = {"dest": change.entry.dest, "change": change.change, "before": current.kind}
        if current.kind == "file":
            kept = posixpath.join(folder, "files") + change.entry.dest
            os.makedirs(posixpath.dirname(kept), mode=0o700, exist_ok=True)
            _private_copy(change.entry.dest, kept)
        if current.kind in ("file", "directory"):
            record |= {"owner": current.owner, "group": current.group, "mode": f"{current.mode:04o}"}
        if current.kind == "link":
            record["target"] = current.target
        records.append(record)
    summary = {"generation": number, "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "changes": records}
    with open(os.open(posixpath.join(folder, "generation.json"), os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as stream:
        json.dump(summary, stream, indent=2)


def prune(store: Store, keep: int) -> None:
    """Remove all but the newest generations."""
    numbers = store.numbers()
    for number in numbers[: max(len(numbers) - keep, 0)]:
        shutil.rmtree(store.generation(number))


def _beside(dest: str, purpose: str, folder: str = "") -> str:
    """A name in the folder of a destination that no include pattern matches; the same in every run, so that a leftover is found."""
    return posixpath.join(folder or posixpath.dirname(dest), f".mainstay-{purpose}-{hashlib.sha256(dest.encode()).hexdigest()[:16]}")


def _discard(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _prepare(change: Change) -> str:
    """Write the new file or link beside its destination, complete with owner, group and mode, on disk."""
    entry = change.entry
    path = _beside(entry.dest, "new")
    _discard(path)
    if entry.state == "link":
        os.symlink(entry.target, path)
        return path
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
            stream.write(entry.content)
            stream.flush()
            os.fchown(stream.fileno(), change.uid, change.gid)
            os.fchmod(stream.fileno(), entry.mode)
            os.fsync(stream.fileno())
    except OSError:
        _discard(path)
        raise
    return path


def _keep_aside(dest: str, path: str) -> None:
    """Give what is at a destination a second name, so that going back needs no space."""
    _discard(path)
    try:
        os.link(dest, path, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(dest, path, follow_symlinks=False)
        found = os.lstat(dest)
        os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)


def _set_attributes(path: str, uid: int, gid: int, mode: int) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


class Swap:
    """The steps that change the host, each with its way back."""

    def __init__(self) -> None:
        """Nothing done yet."""
        self._undo: list[Undo] = []
        self._leftovers: list[str] = []
        self._folders: set[str] = set()

    def run(self, plan: Plan) -> None:
        """Do all steps of a plan; each raises OSError if it fails."""
        for path in plan.parents:
            self._folder(path, -1, -1, 0o755)
        pending = plan.pending
        for change in sorted((c for c in pending if c.entry.state == "directory" and c.change == "created"), key=lambda c: c.entry.dest.count("/")):
            self._folder(change.entry.dest, change.uid, change.gid, change.entry.mode)
        replaced = [c for c in pending if c.entry.state in ("file", "link") and c.change in ("created", "modified")]
        for change, path in [(change, self._ready(change)) for change in replaced]:
            self._replace(change, path)
        for change in pending:
            if change.change == "mode":
                self._attributes(change)
        removed = sorted((c for c in pending if c.change == "removed"), key=lambda c: -c.entry.dest.count("/"))
        gone = frozenset(c.entry.dest for c in removed if c.current.kind == "directory")
        for change in removed:
            self._remove(change, gone)
        self._sync()

    def _folder(self, path: str, uid: int, gid: int, mode: int) -> None:
        os.mkdir(path, 0o700)
        self._undo.append(lambda: os.rmdir(path))
        _set_attributes(path, uid, gid, mode)
        self._folders.add(posixpath.dirname(path))

    def _ready(self, change: Change) -> str:
        path = _prepare(change)
        self._undo.append(lambda: _discard(path))
        return path

    def _replace(self, change: Change, path: str) -> None:
        dest = change.entry.dest
        if change.current.kind == "absent":
            os.rename(path, dest)
            self._undo.append(lambda: os.unlink(dest))
        else:
            old = _beside(dest, "old")
            self._leftovers.append(old)
            _keep_aside(dest, old)
            os.rename(path, dest)
            self._undo.append(lambda: os.rename(old, dest))
        self._folders.add(posixpath.dirname(dest))

    def _attributes(self, change: Change) -> None:
        dest, current = change.entry.dest, change.current
        self._undo.append(lambda: _set_attributes(dest, current.uid, current.gid, current.mode))
        _set_attributes(dest, change.uid, change.gid, change.entry.mode)

    def _remove(self, change: Change, gone: frozenset[str]) -> None:
        """Remove one path; a file waits under another name, in the nearest folder that stays, until all steps are done."""
        dest, current = change.entry.dest, change.current
        folder = posixpath.dirname(dest)
        while folder in gone:
            folder = posixpath.dirname(folder)
        if current.kind == "directory":
            os.rmdir(dest)
            self._undo += [lambda: _set_attributes(dest, current.uid, current.gid, current.mode), lambda: os.mkdir(dest, 0o700)]
        else:
            old = _beside(dest, "old", folder)
            os.rename(dest, old)
            self._leftovers.append(old)
            self._undo.append(lambda: os.rename(old, dest))
        self._folders.add(folder)

    def _sync(self) -> None:
        for folder in sorted(self._folders):
            with contextlib.suppress(FileNotFoundError):
                sync_path(folder)

    def roll_back(self) -> list[str]:
        """Undo the steps that were done, last first.

        Returns:
            What could not be undone, in words.
        """
        failed = []
        while self._undo:
            try:
                self._undo.pop()()
            except OSError as exc:
                failed.append(str(exc))
        if not failed:
            self.clean()
        return failed

    def clean(self) -> None:
        """Remove the helper names beside the destinations."""
        for path in self._leftovers:
            _discard(path)


def _swap(store: Store, plan: Plan) -> int:
    """Keep the previous versions, then swap everything in, or nothing."""
    try:
        number = save_generation(store, plan)
    except OSError as exc:
        raise MainstayError("keep the previous files", exc, "nothing was changed; remove the cause and run again") from exc
    swap = Swap()
    try:
        swap.run(plan)
    except OSError as exc:
        failed = swap.roll_back()
        kept = store.generation(number)
        if failed:
            advice = f"not everything could be undone ({'; '.join(failed)}): the previous files are in {kept}"
            raise MainstayError("swap the new files in", exc, advice) from exc
        shutil.rmtree(kept)
        raise MainstayError("swap the new files in", exc, "all files are as they were before; remove the cause and run again") from exc
    swap.clean()
    return number


def carry_out(plan: Plan, store: Store, run: Run, check_mode: bool, keep: int) -> tuple[list[Verdict], int]:
    """Validate the staged tree and, outside check mode, swap it in.

    Args:
        plan: what differs.
        store: where the tree's generations are kept.
        run: runs a validator.
        check_mode: whether nothing may be changed; the validators whose programs are there run all the same.
        keep: how many generations are kept.

    Returns:
        What became of the validators, and the number of the generation that holds what was, or would be, replaced.

    Raises:
        MainstayError: a validator refuses, an account or a folder is missing, or the swap failed and was undone.
    """
    if plan.blockers and not check_mode:
        raise MainstayError("write the files", "; ".join(plan.blockers), "nothing was changed; create what is missing first")
    if not plan.writes:
        return [], store.latest()
    entries = [change.entry for change in plan.changes]
    with contextlib.nullcontext() if check_mode else store.locked():
        verdicts: list[Verdict] = []
        if plan.validators:
            scratch = SCRATCH if os.access(SCRATCH, os.W_OK) else None
            try:
                with staged(entries, scratch if check_mode else store.root) as stage:
                    verdicts = validate(plan.validators, entries, stage, run, check_mode)
            except OSError as exc:
                raise MainstayError("write the files to a folder where they are validated", exc, "nothing was changed; make room and run again") from exc
        if check_mode:
            return verdicts, store.latest() + 1
        number = _swap(store, plan)
        prune(store, keep)
        return verdicts, number
