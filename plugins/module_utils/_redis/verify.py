# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a stored snapshot: stage it, parse it, load it into a throwaway server, compare what came out."""

from __future__ import annotations

import contextlib
import os
import shutil
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, ObjectRecord
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.pipeline import BLOCK
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, Process, ProgramKilled
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current
from ansible_collections.mainstay.ops.plugins.module_utils._redis.accounts import ACL_NAME, CONFIG_NAME, parse_acl, parse_config, set_user
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Refused, Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.content import survey
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, bounds_from, compare_keys
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import BadSnapshot, RdbObserver
from ansible_collections.mainstay.ops.plugins.module_utils._redis.source import read_host_memory
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import Listen, LoadFailed, Throwaway, find_program, private_folder, throwaway

PARSERS: t.Mapping[str, t.Callable[[bytes], object]] = {ACL_NAME: parse_acl, CONFIG_NAME: parse_config}
"""The small objects beside the snapshot, by how their names begin."""
CHECKERS = ("redis-check-rdb", "valkey-check-rdb")
SPARE_BYTES = 64 << 20
"""What must stay free, of disk and of memory, beside the snapshot."""


def rdb_record(manifest: Manifest) -> ObjectRecord:
    """Return the object of a backup that holds the snapshot.

    Raises:
        MainstayError: there is none.
    """
    for record in manifest.objects:
        if record.name.startswith("dump.rdb"):
            return record
    raise MainstayError(f"read backup {manifest.id}", "it holds no dump.rdb")


def stage(catalogue: Catalogue, backup: Backup, identity: Identity, folder: str) -> RdbObserver:
    """Write the snapshot of a backup, opened, to ``dump.rdb`` in a private folder.

    Raises:
        VerificationFailed: it is not the RDB file that the manifest describes.
        MainstayError: it could not be read, or the disk is full.
    """
    record = rdb_record(backup.require_manifest())
    doing = f"write the snapshot of backup {backup.id} to {folder}"
    if (free := shutil.disk_usage(folder).free) < record.plain_bytes + SPARE_BYTES:
        raise MainstayError(doing, f"{free} bytes are free, {record.plain_bytes} and {SPARE_BYTES} to spare are needed", "set work_dir to a larger file system")
    observer = RdbObserver()

    def write(plain: t.BinaryIO) -> None:
        try:
            with open(os.open(f"{folder}/dump.rdb", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
                while block := plain.read(BLOCK):
                    target.write(block)
                    observer.feed(block)
        except OSError as error:
            raise MainstayError(doing, error.strerror or error, "set work_dir to a larger file system") from error
        except BadSnapshot as error:
            raise VerificationFailed(f"read backup {backup.id}", error.cause) from error

    with current().phase(f"fetch backup {backup.id}", record.plain_bytes, exact=True):
        catalogue.read(backup, record.name, identity, write)
    _check_whole(backup.id, observer, record)
    return observer


def _check_whole(backup_id: str, observer: RdbObserver, record: ObjectRecord) -> None:
    doing = f"read backup {backup_id}"
    try:
        observer.finish()
    except BadSnapshot as error:
        raise VerificationFailed(doing, error.cause) from error
    if observer.bytes != record.plain_bytes:
        raise VerificationFailed(doing, f"the snapshot has {observer.bytes} bytes, its manifest says {record.plain_bytes}")


def check_memory(manifest: Manifest, copies: int = 1) -> None:
    """Check that the host can hold the dataset ``copies`` times more.

    Raises:
        MainstayError: it cannot.
    """
    needed = copies * int(manifest.source.get("used_memory", 0)) + SPARE_BYTES
    if (free := read_host_memory().available) < needed:
        raise MainstayError("load the snapshot into a throwaway server", f"{free >> 20} MiB of memory are free, {needed >> 20} are needed", "use another host")


def loaded_keys(facts: ServerFacts) -> dict[str, int]:
    """Return the keys per database of a server."""
    return {name: entry.keys for name, entry in facts.keyspace.items()}


class RedisChecks:
    """What verification needs to know of snapshots; see ``_catalog.verify.KindChecks``."""

    def __init__(self, catalogue: Catalogue, identity: Identity, work_dir: str, wait_timeout: float) -> None:
        """Take what is needed to open a backup and to try it.

        Args:
            catalogue: holds the backup.
            identity: the private key.
            work_dir: folder below which the throwaway server's private folder is made.
            wait_timeout: seconds that loading may take.
        """
        self._catalogue, self._identity = catalogue, identity
        self._work_dir, self._wait_timeout = work_dir, wait_timeout

    def content(self, backup: Backup, record: ObjectRecord) -> t.Callable[[t.BinaryIO], None]:
        """Return a parser of an object: of the snapshot's magic, length, end, with ``redis-check-rdb`` over all of it where that is installed, or of the
        lines of the ACL users or the configuration.
        """
        for name, parse_lines in PARSERS.items():
            if record.name.startswith(name):
                return _line_parser(f"read {name} of backup {backup.id}", parse_lines)

        def parse(plain: t.BinaryIO) -> None:
            observer = RdbObserver()
            with _Checker() as checker:
                try:
                    while block := plain.read(BLOCK):
                        observer.feed(block)
                        checker.feed(block)
                except BadSnapshot as error:
                    raise VerificationFailed(f"read backup {backup.id}", error.cause) from error
                if observer.bytes < record.plain_bytes:
                    return  # the stream broke off: the pipeline knows where, and says so
                _check_whole(backup.id, observer, record)
                if problem := checker.finish():
                    raise VerificationFailed(f"parse backup {backup.id}", problem)

        return parse

    def restore(self, backup: Backup, phases: dict[str, float]) -> dict[str, t.Any]:
        """Load the backup into a throwaway server and compare its keys with the manifest."""
        with self.restored(backup, phases) as (_unused, details):
            return details

    @contextlib.contextmanager
    def restored(self, backup: Backup, phases: dict[str, float], listen: Listen | None = None) -> t.Iterator[tuple[Throwaway, dict[str, t.Any]]]:
        """Do what :meth:`restore` does, and yield the server with what was seen; it is removed at the end. It keeps keys whose time to live is over."""
        manifest = backup.require_manifest()
        program = find_program()
        check_memory(manifest)
        with private_folder(self._work_dir) as folder:
            with timed(phases, "fetch"):
                observer = stage(self._catalogue, backup, self._identity, folder)
            with throwaway(program, folder, listen, keep_expired=True) as server:
                yield server, self._check(backup, server, observer, phases)

    def _check(self, backup: Backup, server: Throwaway, observer: RdbObserver, phases: dict[str, float]) -> dict[str, t.Any]:
        """Wait until the server has loaded, and compare what it has with the manifest."""
        manifest = backup.require_manifest()
        try:
            with timed(phases, "load"), current().phase("load the snapshot into a throwaway server"):
                facts = server.wait_loaded(self._wait_timeout)
        except LoadFailed as error:
            if server.port and "ddress already in use" in error.cause:
                raise MainstayError(error.doing, f"somebody else has taken the port {server.port} meanwhile", "try again") from error
            raise VerificationFailed(error.doing, error.cause) from error
        with timed(phases, "check"):
            keys = loaded_keys(facts)
            failure, warning = compare_keys(bounds_from(manifest.contents), keys)
            if failure:
                raise VerificationFailed(f"find the keys of backup {backup.id} again", failure)
        with timed(phases, "survey"), current().phase("read what was loaded"):
            content = survey(server.login, self._wait_timeout)
            digest_compared = _compare_digest(manifest, facts, content.digest)
            users = self._check_accounts(backup, server.server, same_version(manifest, facts))
        return {
            "server": facts.name,
            "rdb_magic": observer.magic_text,
            "bytes": observer.bytes,
            "has_checksum": observer.has_checksum,
            "keys": keys,
            "keys_compared": "exactly" if bounds_from(manifest.contents).exact else "with bounds",
            "types": content.types,
            "digest": content.digest,
            "digest_compared": digest_compared,
            **users,
            "warnings": [*([warning] if warning else []), *users["warnings"]],
        }

    def _check_accounts(self, backup: Backup, server: Server, same: bool) -> dict[str, t.Any]:
        """Read the ACL users and the configuration, and load the users into the throwaway server.

        Returns:
            ``acl_users`` and ``settings``, how many there are, and ``warnings``.
        """
        acl, config = (read_object(self._catalogue, backup, name, self._identity) for name in PARSERS)
        doing = f"read the ACL users and the configuration of backup {backup.id}"
        warnings: list[str] = []
        try:
            users = parse_acl(acl) if acl is not None else ()
            settings = parse_config(config) if config is not None else 0
        except ValueError as error:
            raise VerificationFailed(doing, error) from error
        for user in users:
            try:
                set_user(server, f"loaded:{user.name}", user)
            except Refused as error:
                # Commands of modules and of other versions are unknown here, which is no fault of the backup.
                if same and "nknown command" not in error.cause:
                    raise VerificationFailed(f"load the ACL user {user.name} of backup {backup.id}", error.cause) from error
                warnings.append(f"the ACL user {user.name} cannot be set in this server: {error.cause}")
        return {"acl_users": len(users), "settings": settings, "warnings": warnings}


def _line_parser(doing: str, parse_lines: t.Callable[[bytes], object]) -> t.Callable[[t.BinaryIO], None]:
    def parse(plain: t.BinaryIO) -> None:
        content = plain.read()
        try:
            parse_lines(content)
        except ValueError as error:
            raise VerificationFailed(doing, error) from error

    return parse


def read_object(catalogue: Catalogue, backup: Backup, name: str, identity: Identity) -> bytes | None:
    """Return the content of a small object of a backup; none if it has no such object, as older ones have not.

    Raises:
        MainstayError: it could not be read.
    """
    for record in backup.require_manifest().objects:
        if record.name.startswith(name):
            return catalogue.read(backup, record.name, identity, lambda plain: plain.read())
    return None


def same_version(manifest: Manifest, facts: ServerFacts) -> bool:
    """Whether a server is of the product and version that a backup comes from."""
    return (manifest.source.get("product"), manifest.source.get("version")) == (facts.product, facts.version)


def _compare_digest(manifest: Manifest, facts: ServerFacts, digest: str) -> bool:
    """Compare the digest of what was loaded with that of the source, where both are known and of one version; say whether that was done.

    Raises:
        VerificationFailed: they differ.
    """
    expected = manifest.contents.get("digest")
    if not expected or not digest or not same_version(manifest, facts):
        return False
    if digest != expected:
        raise VerificationFailed(f"find the data of backup {manifest.id} again", f"its digest is {digest}, that of the source was {expected}")
    return True


class _Checker:
    """The server's own checker of RDB files, fed through a pipe; does nothing where it is not installed."""

    def __init__(self) -> None:
        program = next((found for name in CHECKERS if (found := shutil.which(name))), "")
        self._process: Process | None = None
        self._feed = -1
        self._output = -1
        if program:
            read_fd, self._feed = os.pipe()
            self._output = os.memfd_create("check-rdb", os.MFD_CLOEXEC)
            try:
                self._process = Process(Command((program, "/dev/stdin")), stdin=read_fd, stdout=self._output)
            finally:
                os.close(read_fd)

    def __enter__(self) -> _Checker:
        return self

    def __exit__(self, *unused: object) -> None:
        if self._process is not None:
            self._close_feed()
            self._process.stop()
            os.close(self._output)

    def _close_feed(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
            self._feed = -1

    def feed(self, block: bytes) -> None:
        """Hand on the next bytes, as long as the checker wants them."""
        view = memoryview(block)
        with contextlib.suppress(BrokenPipeError):
            while view and self._feed >= 0:
                view = view[os.write(self._feed, view) :]
            return
        self._close_feed()

    def finish(self) -> str:
        """Return what the checker objects to; empty if nothing.

        Raises:
            ProgramKilled: nothing is known.
        """
        if self._process is None:
            return ""
        self._close_feed()
        if not self._process.join():
            return ""
        if self._process.killed:
            raise ProgramKilled("parse the snapshot", self._process.failure)
        lines = os.pread(self._output, 1 << 20, 0).decode(errors="replace").splitlines()
        said = " ".join(line for line in lines if line.startswith("---") or "rror" in line)
        return f"{self._process.label} found it damaged: {said or lines[-1:] or self._process.failure}"
