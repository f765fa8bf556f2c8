# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where backups are kept: a folder or an S3 bucket. An object is there in full or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import io
import os
import re
import secrets
import stat
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._disk import sync_path
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

BLOCK = 1 << 20


class ObjectMissing(MainstayError):
    """The store has no object of that key."""


class ObjectExists(MainstayError):
    """The store already has an object of that key, and objects are never overwritten."""


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """An object as the store lists it: its key, its bytes and when it was written (UTC, by the store's clock)."""

    key: str
    bytes: int
    modified: datetime.datetime


class Store(t.Protocol):
    """What a place for backups must be able to do. Keys are relative, with ``/`` between their parts."""

    def describe(self) -> str:
        """Return where it is, for messages and results: ``/var/backups/pg`` or ``s3://bucket/prefix``."""

    def list(self, prefix: str) -> list[StoredObject]:
        """Return the objects whose key starts with ``prefix``, sorted by key; an empty list if there are none."""

    def open_read(self, key: str) -> t.BinaryIO:
        """Return a binary file (a context manager) of the object.

        Raises:
            ObjectMissing: there is no such object.
        """

    def write_stream(self, key: str, stream: t.Any, expected_bytes: int) -> None:
        """Write everything that ``stream.read(size)`` gives. The object appears when all of it is stored; after any error nothing of it is there.

        Args:
            key: the object's key.
            stream: what is read; an exception that it raises aborts the write and passes through.
            expected_bytes: an estimate of the size; it decides the size of S3's parts.
        """

    def put_new(self, key: str, data: bytes) -> None:
        """Write a small object that must not exist yet.

        Raises:
            ObjectExists: there is an object of that key.
        """

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def clock(self) -> datetime.datetime:
        """Return the time by the store's own clock (UTC), which dated the objects of :meth:`list`.

        Raises:
            MainstayError: the store does not answer, or does not say its time.
        """

    def abandon(self, prefix: str, older_than: datetime.timedelta) -> list[str]:
        """Remove what writers that were killed have left unfinished (uploads, temporary files), if it was begun longer ago than ``older_than``.

        Nothing of it was ever an object. Younger ones may belong to a writer that is at work.

        Returns:
            The keys that they would have become.
        """


def read_small(store: Store, key: str, limit: int = 64 << 20) -> bytes:
    """Return a small object's content.

    Raises:
        ObjectMissing: there is no such object.
        MainstayError: it is larger than ``limit`` bytes.
    """
    blocks, count = [], 0
    with store.open_read(key) as stored:
        while block := stored.read(BLOCK):
            blocks.append(block)
            count += len(block)
            if count > limit:
                raise MainstayError(f"read {key} from {store.describe()}", f"it is larger than {limit} bytes")
    return b"".join(blocks)


def check_key(key: str) -> str:
    """Return the key if each of its parts is a plain name that does not start with a dot.

    Raises:
        InvalidInput: it is not such a key.
    """
    if not all(part and not part.startswith(".") and part.isprintable() for part in key.split("/")):
        raise InvalidInput("use an object's key", f"{key!r} is not made of plain names")
    return key


class _File(io.FileIO):
    """A file whose read errors are ours."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        try:
            return super().read(size)
        except OSError as error:
            raise MainstayError(f"read {self.name!s}", error.strerror or error) from error


class LocalStore:
    """A folder: files 0600, folders 0700, temporary name, fsync, rename, fsync of the folder."""

    def __init__(self, path: str) -> None:
        """Take the absolute path of a folder that exists, or whose parent exists.

        The parent must exist so that a disk which is not mounted is noticed.

        Raises:
            InvalidInput: it is relative, or its parent is not there.
        """
        if not os.path.isabs(path):
            raise InvalidInput(f"use the local store {path!r}", "the path is not absolute")
        self._root = os.path.normpath(path)
        if not os.path.isdir(os.path.dirname(self._root)):
            raise InvalidInput(f"use the local store {self._root}", "its parent folder does not exist", "create it or mount the disk")

    def describe(self) -> str:
        """Return the folder's path."""
        return self._root

    def _path(self, key: str) -> str:
        return os.path.join(self._root, check_key(key))

    def list(self, prefix: str) -> list[StoredObject]:
        """See :meth:`Store.list`; temporary files (names that start with a dot) are not objects."""
        found: list[StoredObject] = []

        def failed(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):
                raise MainstayError(f"list {error.filename}", error.strerror or error) from error

        for folder, names, files in os.walk(os.path.join(self._root, os.path.dirname(prefix)), onerror=failed):
            names[:] = [name for name in names if not name.startswith(".")]
            for name in files:
                path = os.path.join(folder, name)
                key = os.path.relpath(path, self._root)
                if name.startswith(".") or not key.startswith(prefix):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    facts = os.stat(path)
                    if stat.S_ISREG(facts.st_mode):
                        found.append(StoredObject(key, facts.st_size, datetime.datetime.fromtimestamp(facts.st_mtime, datetime.timezone.utc)))
        return sorted(found, key=lambda item: item.key)

    def open_read(self, key: str) -> t.BinaryIO:
        """See :meth:`Store.open_read`."""
        try:
            return t.cast(t.BinaryIO, _File(self._path(key), "rb"))
        except FileNotFoundError as error:
            raise ObjectMissing(f"read {key} from {self._root}", "there is no such file") from error
        except OSError as error:
            raise MainstayError(f"read {key} from {self._root}", error.strerror or error) from error

    def write_stream(self, key: str, stream: t.Any, expected_bytes: int) -> None:
        """See :meth:`Store.write_stream`."""
        with self._new_file(key) as target:
            while block := stream.read(BLOCK):
                view = memoryview(block)
                while view:
                    view = view[os.write(target, view) :]

    def put_new(self, key: str, data: bytes) -> None:
        """See :meth:`Store.put_new`."""
        with self._new_file(key) as target:
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]

    @contextlib.contextmanager
    def _new_file(self, key: str) -> t.Iterator[int]:
        """Yield a descriptor of a temporary file that becomes the object at the end, or is removed after an error."""
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, f".{os.path.basename(path)}.{secrets.token_hex(4)}.tmp")
        try:
            self._make_folders(folder)
            target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                try:
                    yield target
                    os.fsync(target)
                finally:
                    os.close(target)
                _rename_new(temporary, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
            sync_path(folder)
        except FileExistsError as error:
            raise ObjectExists(f"write {key} to {self._root}", "there is such a file already") from error
        except OSError as error:
            self._remove_empty(folder)
            raise MainstayError(f"write {key} to {self._root}", error.strerror or error, _space(self._root)) from error
        except BaseException:
            self._remove_empty(folder)
            raise

    def _make_folders(self, folder: str) -> None:
        if not os.path.isdir(folder):
            self._make_folders(os.path.dirname(folder))
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
            sync_path(os.path.dirname(folder))

    def _remove_empty(self, folder: str) -> None:
        with contextlib.suppress(OSError):
            while folder != self._root and folder.startswith(self._root):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def delete(self, key: str) -> None:
        """See :meth:`Store.delete`; folders that become empty go with it."""
        path = self._path(key)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                sync_path(os.path.dirname(path))
        except OSError as error:
            raise MainstayError(f"delete {key} from {self._root}", error.strerror or error) from error
        self._remove_empty(os.path.dirname(path))

    def clock(self) -> datetime.datetime:
        """See :meth:`Store.clock`: this host's time."""
        return datetime.datetime.now(datetime.timezone.utc)

    def abandon(self, prefix: str, older_than: datetime.timedelta) -> list[str]:
        """See :meth:`Store.abandon`."""
        limit = (self.clock() - older_than).timestamp()
        abandoned = []
        for folder, _unused, files in os.walk(os.path.join(self._root, os.path.dirname(prefix))):
            for match in filter(None, (_TEMPORARY.fullmatch(name) for name in files)):
                path, key = os.path.join(folder, match[0]), os.path.relpath(os.path.join(folder, match[1]), self._root)
                with contextlib.suppress(OSError):
                    if key.startswith(prefix) and os.stat(path).st_mtime < limit:
                        os.unlink(path)
                        abandoned.append(key)
            if abandoned:
                self._remove_empty(folder)
        return sorted(abandoned)


_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
"""The names that ``_new_file`` gives."""


def _rename_new(temporary: str, path: str) -> None:
    """Give a file its final name, which must be free; where the file system has no hard links, by a look before the rename."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.rename(temporary, path)


def _space(path: str) -> str:
    """Say how much room a file system has left, as a next step."""
    try:
        facts = os.statvfs(path)
    except OSError:
        return ""
    return f"{facts.f_bavail * facts.f_frsize} bytes are free on the file system of {path}"
