# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore into the data folder of a server that does not run: what it loads when it starts, which with an AOF is not ``dump.rdb``.

A server with ``appendonly yes`` that finds no AOF starts empty, whatever ``dump.rdb`` holds, and then overwrites that. So it gets what a rewrite of
its AOF would leave: a base file in RDB format, an empty increment, and the manifest that names both. Old files are renamed, never removed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import stat
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._disk import sync_path
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Server, is_local
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import parse_magic, rdb_version, unreadable_because
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import find_program, program_version, quoted
from ansible_collections.mainstay.ops.plugins.module_utils._redis.verify import stage

MULTI_PART_AOF = 10
"""The RDB version of the first servers whose AOF is a folder (Redis 7.0; all of Valkey)."""
SERVERS = ("redis", "valkey", "keydb")
"""What the names of server processes begin with."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where a server keeps its data, as its configuration says: the settings ``dir``, ``appendonly`` and the names of the files."""

    data_dir: str
    appendonly: bool
    appenddirname: str = "appendonlydir"
    appendfilename: str = "appendonly.aof"
    dbfilename: str = "dump.rdb"

    @property
    def names(self) -> tuple[str, ...]:
        """What a server may have in its folder: the AOF's folder, the AOF of before Redis 7, the snapshot."""
        return (self.appenddirname, self.appendfilename, self.dbfilename)

    @property
    def new(self) -> str:
        """The name of what a restore puts into the folder."""
        return self.appenddirname if self.appendonly else self.dbfilename

    def present(self) -> tuple[str, ...]:
        """Return which of the names exist; an empty folder of the AOF is no data."""

        def holds(path: str) -> bool:
            return bool(os.listdir(path)) if os.path.isdir(path) else os.path.lexists(path)

        return tuple(name for name in self.names if holds(os.path.join(self.data_dir, name)))


@dataclasses.dataclass(frozen=True)
class FilesPlan:
    """What a restore into a folder will do: which files it renames, each with its new name, and what it writes."""

    layout: Layout
    owner: int
    group: int
    mode: int
    aside: t.Mapping[str, str]

    @property
    def words(self) -> list[str]:
        """What will be done, for ``actions``."""
        moves = [f"rename {old} to {new} in {self.layout.data_dir}" for old, new in self.aside.items()]
        return [*moves, f"write {self.layout.new} in {self.layout.data_dir}"]


def layout_of(params: t.Mapping[str, t.Any]) -> Layout:
    """Read the options that describe a data folder.

    Raises:
        InvalidInput: one is missing, or a name holds a slash.
    """
    doing = "restore into the files of a server"
    if not params["data_dir"] or params["appendonly"] is None:
        raise InvalidInput(doing, "restore_method=files needs data_dir and appendonly", "give them as the configuration of the server has them")
    layout = Layout(params["data_dir"], params["appendonly"], params["appenddirname"], params["appendfilename"], params["dbfilename"])
    for name in layout.names:
        if not name or name in (".", "..") or "/" in name:
            raise InvalidInput(doing, f"{name!r} is no name of a file within data_dir")
    if len(set(layout.names)) != len(layout.names):
        raise InvalidInput(doing, "appenddirname, appendfilename and dbfilename must differ")
    return layout


def plan_files(layout: Layout, login: Login, manifest: Manifest, force: bool) -> FilesPlan:
    """Look at the folder and decide; nothing is changed.

    Raises:
        InvalidInput: it must not be restored into.
        MainstayError: no server program is on this host.
    """
    doing = f"restore backup {manifest.id} into {layout.data_dir}"
    product, version = program_version(find_program())
    if reason := unreadable_because(parse_magic(manifest.source["rdb_magic"].encode()), product, version):
        raise InvalidInput(doing, reason, "install that version or a later one")
    if layout.appendonly and rdb_version(product, version) < MULTI_PART_AOF:
        cause = f"{product.capitalize()} {version} has an AOF that cannot be written from outside"
        raise InvalidInput(doing, cause, "restore with appendonly=false, start the server with appendonly no, then set it to yes by CONFIG SET")
    try:
        folder = os.stat(layout.data_dir)
    except OSError as error:
        raise InvalidInput(doing, f"{layout.data_dir}: {error.strerror}", "make the folder, for the user that the server runs as") from error
    if not stat.S_ISDIR(folder.st_mode):
        raise InvalidInput(doing, f"{layout.data_dir} is no folder")
    if os.geteuid() not in (0, folder.st_uid):
        raise InvalidInput(doing, "the folder belongs to another user", "run the task as root, or as that user")
    if reason := in_use(layout, folder, login):
        raise InvalidInput(doing, reason, "stop the server, or use restore_method=replicate")
    present = layout.present()
    if present and not force:
        raise InvalidInput(doing, f"it holds {', '.join(present)}", "set force=true if these may be renamed")
    aside = {name: _free_name(layout.data_dir, f"{name}.before-{manifest.id}") for name in present}
    return FilesPlan(layout, folder.st_uid, folder.st_gid, stat.S_IMODE(folder.st_mode), aside)


def _free_name(folder: str, name: str) -> str:
    """Return the name, or with a number after it if there is such a file from an earlier restore."""
    number, free = 1, name
    while os.path.lexists(os.path.join(folder, free)):
        number += 1
        free = f"{name}-{number}"
    return free


def in_use(layout: Layout, folder: os.stat_result, login: Login) -> str:
    """Say why a server must be taken to run on a folder; empty if none does.

    A server's current folder is its data folder, and an AOF is open all the time. Files are compared by their number, not by their path, which is another
    one within a container.
    """
    files = {_number(found) for found in _stats(layout)}
    hidden = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
                name = comm.read().strip()
            is_server = name.startswith(SERVERS)
            try:
                if is_server and _number(os.stat(f"/proc/{pid}/cwd")) == _number(folder):
                    return f"process {pid} ({name}) runs in it"
                if _opened(pid) & files:
                    return f"process {pid} ({name}) has files of it open"
            except PermissionError:
                hidden += [f"{pid} ({name})"] if is_server else []
    if _answers_from(login, folder):
        return f"the server at {login.address} says that it is its folder"
    return f"this user may not see what the processes {', '.join(hidden)} work on, so run the task as root" if hidden else ""


def _stats(layout: Layout) -> t.Iterator[os.stat_result]:
    """Yield what is known of each data file of a folder."""
    aof = os.path.join(layout.data_dir, layout.appenddirname)
    paths = [os.path.join(layout.data_dir, name) for name in layout.names]
    paths += [os.path.join(aof, name) for name in os.listdir(aof)] if os.path.isdir(aof) else []
    for path in paths:
        with contextlib.suppress(OSError):
            yield os.stat(path)


def _number(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _opened(pid: int) -> set[tuple[int, int]]:
    """Return the numbers of the files that a process has open."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.add(_number(os.stat(f"/proc/{pid}/fd/{name}")))
    return found


def _answers_from(login: Login, folder: os.stat_result) -> bool:
    """Ask the server at the login's address, if one answers there, whether this is its folder."""
    if not is_local(login):
        return False
    with contextlib.suppress(MainstayError, OSError), Server(login) as server:
        return _number(os.stat(server.config("dir")["dir"])) == _number(folder)
    return False


def restore_files(plan: FilesPlan, catalogue: Catalogue, backup: Backup, identity: Identity, phases: dict[str, float]) -> list[str]:
    """Write a backup's data into the folder. Everything is prepared beside its place; the old files are renamed and the new ones appear at the end.

    Args:
        plan: as :func:`plan_files` made it.
        catalogue: holds the backup.
        backup: what is restored.
        identity: the private key.
        phases: filled with seconds: ``fetch``, ``swap``.

    Returns:
        The paths of the old files.

    Raises:
        MainstayError: it failed; the folder is as it was.
    """
    layout = plan.layout
    doing = f"restore backup {backup.id} into {layout.data_dir}"
    try:
        folder = tempfile.mkdtemp(prefix=".mainstay-", dir=layout.data_dir)
    except OSError as error:
        raise MainstayError(doing, error.strerror or error) from error
    try:
        with timed(phases, "fetch"):
            stage(catalogue, backup, identity, folder)
        with timed(phases, "swap"):
            prepared = _prepare(plan, folder)
            _swap(plan, prepared)
    except OSError as error:
        raise MainstayError(doing, f"{error.filename or layout.data_dir}: {error.strerror}", "the folder is as it was") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [os.path.join(layout.data_dir, name) for name in plan.aside.values()]


def _prepare(plan: FilesPlan, folder: str) -> str:
    """Complete what is to be put in place within the private folder, on the disk with its owner and mode; return its path."""
    layout, staged = plan.layout, os.path.join(folder, "dump.rdb")
    if not layout.appendonly:
        _finish(plan, staged)
        return staged
    aof = os.path.join(folder, "aof")
    os.mkdir(aof, 0o700)
    base, increment = f"{layout.appendfilename}.1.base.rdb", f"{layout.appendfilename}.1.incr.aof"
    os.rename(staged, os.path.join(aof, base))
    with open(os.path.join(aof, increment), "wb"):
        pass
    with open(os.path.join(aof, f"{layout.appendfilename}.manifest"), "w", encoding="utf-8") as manifest:
        manifest.write(f"file {_named(base)} seq 1 type b\nfile {_named(increment)} seq 1 type i\n")
    for name in os.listdir(aof):
        _finish(plan, os.path.join(aof, name))
    _finish(plan, aof)
    return aof


def _named(name: str) -> str:
    """Return a name as the manifest of an AOF has it: quoted where it has a space or a quote."""
    return quoted(name) if any(character in name for character in " \"'\\") else name


def _finish(plan: FilesPlan, path: str) -> None:
    """Give a file or a folder the owner and the mode of the data folder, and bring it to the disk."""
    os.chown(path, plan.owner, plan.group)
    os.chmod(path, plan.mode if os.path.isdir(path) else plan.mode & 0o666)
    sync_path(path)


def _swap(plan: FilesPlan, prepared: str) -> None:
    """Rename the old files, then the new one into its place; an error puts the old ones back."""
    data_dir, done = plan.layout.data_dir, []
    try:
        for old, new in plan.aside.items():
            os.rename(os.path.join(data_dir, old), os.path.join(data_dir, new))
            done.append((old, new))
        os.rename(prepared, os.path.join(data_dir, plan.layout.new))
    except BaseException:
        for old, new in reversed(done):
            os.rename(os.path.join(data_dir, new), os.path.join(data_dir, old))
        raise
    sync_path(data_dir)
