# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore files: plan what each path would become, bring everything into a private folder beside it, compare that, then exchange the two.

Until the exchange nothing of the old tree is touched, and the exchange is one system call for each path where the kernel and the file system have it
(``renameat2`` with ``RENAME_EXCHANGE``, Linux 3.15).
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import shutil
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.workspace import private_folder
from ansible_collections.mainstay.ops.plugins.module_utils._disk import sync_path
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files.backup import NAMES_KEPT
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import Changes, Entry, Index, as_restored, compare, is_below
from ansible_collections.mainstay.ops.plugins.module_utils._files.patterns import Patterns
from ansible_collections.mainstay.ops.plugins.module_utils._files.scan import (
    Rules,
    content_digest,
    has_attributes,
    read_xattrs,
    scan,
    xattrs_digest,
)
from ansible_collections.mainstay.ops.plugins.module_utils._files.unpack import (
    Source,
    prune_folders,
    require_space,
    require_whole,
    unpack,
)
from ansible_collections.mainstay.ops.plugins.module_utils._process import uninterrupted

PREFIX = ".mainstay-restore-"
SWAP_PREFIX = ".mainstay-swap-"
"""What the private folder is called while paths are exchanged: from then on it may hold the old tree, so no later run removes it."""
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@dataclasses.dataclass(frozen=True)
class Desired:
    """What is to be restored, and where; see the module's options of the same names."""

    restore_paths: tuple[str, ...]
    target_dir: str
    on_existing: str
    compare_contents: bool


@dataclasses.dataclass(frozen=True)
class Unit:
    """A path that is restored as a whole.

    Args:
        path: in the backup.
        dest: where it goes.
        entries: what the backup has of it.
        changes: what becomes of what is there, in paths of the backup.
        exists: whether there is anything.
        previous: where what is there is kept; empty if it is not.
    """

    path: str
    dest: str
    entries: t.Mapping[str, Entry]
    changes: Changes
    exists: bool
    previous: str = ""

    @property
    def words(self) -> str:
        """What is to be done, in words."""
        fate = "" if not self.exists else f", keep what is there as {self.previous}" if self.previous else ", replacing what is there"
        return f"restore {self.path} to {self.dest}: {self.changes.words}{fate}"


def plan(source: Source, index: Index, desired: Desired) -> list[Unit]:
    """Compare the backup with what is there; nothing is written.

    Raises:
        InvalidInput: a path is not in the backup, leads elsewhere by a link, or holds something that the options do not give away.
    """
    paths = desired.restore_paths or index.roots
    units = []
    for path in sorted({os.path.normpath(path) for path in paths}):
        if path not in index.entries:
            known = f"it holds {', '.join(index.roots)}"
            raise InvalidInput(f"restore {path} from backup {source.backup.id}", f"the backup does not hold it; {known}", "correct restore_paths")
        if not any(is_below(path, unit.path) for unit in units):
            units.append(_unit(source, index, desired, path))
    return units


def _unit(source: Source, index: Index, desired: Desired, path: str) -> Unit:
    dest = path if not desired.target_dir else os.path.normpath(desired.target_dir) + path
    _require_straight(dest, desired.target_dir)
    entries = index.below(path)
    exists = os.path.lexists(dest)
    changes = _changes(source, entries, path, dest, desired.compare_contents) if exists else Changes(created=tuple(entries))
    unit = Unit(path, dest, entries, changes, exists)
    if not exists or not changes.any:
        return unit
    doing = f"restore {path} from backup {source.backup.id} to {dest}"
    if os.path.ismount(dest):
        raise InvalidInput(doing, "a file system is mounted there", "restore into another target_dir, or what is in it by restore_paths")
    if desired.on_existing == "fail" and not (os.path.isdir(dest) and not os.path.islink(dest) and not os.listdir(dest)):
        raise InvalidInput(
            doing,
            f"it is there already, and would differ: {changes.words}",
            "say on_existing=rename to keep it beside the new one, on_existing=replace to remove it, or restore into another target_dir",
            changes=changes.plain(NAMES_KEPT),
        )
    if desired.on_existing == "rename":
        unit = dataclasses.replace(unit, previous=f"{dest}.before-{source.backup.id}")
        if os.path.lexists(unit.previous):
            raise InvalidInput(doing, f"{unit.previous} is there already", "look at it and move it away")
    return unit


def _require_straight(dest: str, target_dir: str) -> None:
    """Refuse a place that is reached through a symbolic link below ``target_dir``, or below the host's root where that is not given."""
    above = os.path.dirname(dest)
    base = os.path.normpath(target_dir) if target_dir else "/"
    straight = os.path.join(os.path.realpath(base), os.path.relpath(above, base)) if above != base else os.path.realpath(base)
    if os.path.realpath(above) != os.path.normpath(straight):
        raise InvalidInput(f"restore to {dest}", f"a symbolic link leads from there to {os.path.realpath(above)}", "remove the link, or restore elsewhere")


def _changes(source: Source, entries: t.Mapping[str, Entry], path: str, dest: str, contents: bool) -> Changes:
    """Compare what a path would hold with what is there."""
    found = scan([dest], Rules(Patterns((), "exclude")))
    attributes = source.as_root and has_attributes(dest)
    there: dict[str, Entry] = {}
    for name, entry in found.entries.items():
        inside = path + name[len(dest) :]
        wanted = entries.get(inside)
        if attributes:
            entry = dataclasses.replace(entry, xattrs=xattrs_digest(read_xattrs(name, privileged=True)))
        if contents and entry.type == "file" and wanted is not None and entry.size == wanted.size:
            entry = dataclasses.replace(entry, sha256=content_digest(name))
        there[inside] = dataclasses.replace(entry, path=inside)
    wanted_here = {name: source.here(entry if attributes else dataclasses.replace(entry, xattrs="")) for name, entry in entries.items()}
    changes = compare(there, wanted_here, lambda one, other: as_restored(other, one))
    lost = sorted(path + name[len(dest) :] for name in (*found.skipped, *found.unreadable))
    return dataclasses.replace(changes, deleted=(*changes.deleted, *lost))


def restore(source: Source, index: Index, units: t.Sequence[Unit], phases: dict[str, float]) -> None:
    """Do what was planned.

    Args:
        source: the backup.
        index: its index.
        units: those of the plan that change something.
        phases: filled with seconds: ``fetch``, ``check``, ``swap``.

    Raises:
        MainstayError: it failed; what was there is as it was.
    """
    groups: dict[int, list[Unit]] = {}
    for unit in units:
        groups.setdefault(os.stat(_nearest(unit.dest)).st_dev, []).append(unit)
    doing = f"restore backup {source.backup.id}"
    with contextlib.ExitStack() as stack:
        prepared = []
        for group in groups.values():
            folder = stack.enter_context(private_folder(_nearest(group[0].dest), PREFIX, doing))
            wanted = {path: entry for unit in group for path, entry in unit.entries.items()}
            require_space(folder, wanted.values(), doing)
            with timed(phases, "fetch"):
                unpack(source, index, wanted, folder)
                prune_folders(folder, wanted)
            with timed(phases, "check"):
                require_whole(source, wanted, folder)
            prepared.append((folder, group))
        with timed(phases, "swap"), uninterrupted():
            _swap_all(prepared, source.backup, doing)


def _nearest(dest: str) -> str:
    """Return the folder that a path lies in, or the next one above that is there."""
    above = os.path.dirname(dest)
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    return above


def _swap_all(prepared: t.Sequence[tuple[str, t.Sequence[Unit]]], backup: Backup, doing: str) -> None:
    """Put everything in its place; an error puts back what was there."""
    done: list[tuple[str, Unit]] = []
    moved = [(folder, os.path.join(os.path.dirname(folder), SWAP_PREFIX + os.path.basename(folder)[len(PREFIX) :])) for folder, _unused in prepared]
    try:
        for (folder, group), (_unused, held) in zip(prepared, moved):
            os.rename(folder, held)
            for unit in group:
                os.makedirs(os.path.dirname(unit.dest), 0o755, exist_ok=True)
                _put(held + unit.path, unit)
                done.append((held + unit.path, unit))
    except OSError as error:
        for staged, unit in reversed(done):
            _take_back(staged, unit)
        for folder, held in moved:
            with contextlib.suppress(FileNotFoundError):
                os.rename(held, folder)
        cause = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
        raise MainstayError(doing, cause, "what was there is as it was") from error
    for staged, unit in done:
        if unit.exists and unit.previous:
            os.rename(staged, unit.previous)
        sync_path(os.path.dirname(unit.dest))
    for _unused, held in moved:
        shutil.rmtree(held, ignore_errors=True)


def _put(staged: str, unit: Unit) -> None:
    if unit.exists:
        _exchange(staged, unit.dest)
    else:
        os.rename(staged, unit.dest)


def _take_back(staged: str, unit: Unit) -> None:
    if unit.exists:
        _exchange(staged, unit.dest)
    else:
        os.rename(unit.dest, staged)


def _exchange(one: str, other: str) -> None:
    """Let two paths change places, at once where the kernel and the file system can.

    Raises:
        OSError: they are as they were.
    """
    library = ctypes.CDLL(None, use_errno=True)
    rename = getattr(library, "renameat2", None)
    if rename is not None and rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return
    aside = f"{one}.old"
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)


def left_behind(units: t.Iterable[Unit]) -> list[str]:
    """Return the folders of restores that were killed while they exchanged paths; each may hold an old tree."""
    places = sorted({_nearest(unit.dest) for unit in units})
    return [entry.path for place in places for entry in os.scandir(place) if entry.name.startswith(SWAP_PREFIX)]
