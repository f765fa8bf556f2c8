# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the files of a backup, and of those that it is based on, into a private folder, and compare what is there with the index.

Each archive is extracted where no link is, and what it should not have brought is removed before the next one, so that nothing can be written outside of the
folder whatever a store was made to hold. Folders and links come last.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, ObjectRecord
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, blaming
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files import index as indexes
from ansible_collections.mainstay.ops.plugins.module_utils._files.archive import extract_command, names_file
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import BadIndex, Entry, Index, digest_of, read_index
from ansible_collections.mainstay.ops.plugins.module_utils._files.scan import (
    content_digest,
    entry_of,
    group_number,
    read_xattrs,
    user_number,
    xattrs_digest,
)
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

FEW = 1000
"""Up to so many names tar is told what to extract: it compares each file with each name. With more, all of an archive is extracted and the rest removed."""
SPARE_BYTES = 64 << 20
ENTRY_BYTES = 4096
"""What a file takes on the disk beside its content, at most on usual file systems."""
FAULTS_SAID = 10


@dataclasses.dataclass(frozen=True)
class Source:
    """A backup that files are taken from.

    Args:
        catalogue: holds it.
        backup: the backup.
        identity: the private key.
        numeric: whether the numbers of owners count rather than their names.
    """

    catalogue: Catalogue
    backup: Backup
    identity: Identity
    numeric: bool = False

    @property
    def as_root(self) -> bool:
        """Whether owners and all attributes can be restored."""
        return os.geteuid() == 0

    def object(self, manifest: Manifest, name: str) -> ObjectRecord:
        """Return the object of a backup whose name begins with this one.

        Raises:
            MainstayError: there is none.
        """
        for record in manifest.objects:
            if record.name == name or record.name.startswith(f"{name}."):
                return record
        raise VerificationFailed(f"read backup {manifest.id}", f"its manifest names no {name}", "use another backup")

    def read_index(self) -> Index:
        """Return the index, which must be the one that the manifest describes.

        Raises:
            VerificationFailed: it is not.
            MainstayError: it could not be read.
        """
        manifest = self.backup.require_manifest()
        doing = f"read backup {self.backup.id}"
        try:
            record = self.object(manifest, indexes.NAME)
            index = t.cast(Index, self.catalogue.read(self.backup, record.name, self.identity, lambda plain: read_index(plain, doing)))
        except BadIndex as error:
            raise VerificationFailed(doing, error.cause, error.next_step) from error
        if index.backup_id != self.backup.id or index.chain != (*manifest.parents, self.backup.id):
            raise VerificationFailed(doing, f"its index is that of backup {index.backup_id}", "use another backup")
        if digest_of(index.lines()) != manifest.contents.get("index_sha256"):
            raise VerificationFailed(doing, "its index is not the one that its manifest describes", "use another backup")
        return index

    def here(self, entry: Entry) -> Entry:
        """Return an entry as it is on this host once it is restored: owners by name where they are known here, or this user where it is not root."""
        if not self.as_root:
            return dataclasses.replace(entry, uid=os.geteuid(), gid=os.getegid(), mode=entry.mode & 0o1777, xattrs="")
        if self.numeric:
            return entry
        uid = user_number(entry.user, entry.uid) if entry.user else entry.uid
        gid = group_number(entry.group, entry.gid) if entry.group else entry.gid
        return dataclasses.replace(entry, uid=uid, gid=gid)


def require_space(folder: str, entries: t.Iterable[Entry], doing: str) -> None:
    """Check that a file system has room.

    Raises:
        MainstayError: it has not.
    """
    needed = SPARE_BYTES + sum(entry.moved_bytes + ENTRY_BYTES for entry in entries)
    facts = os.statvfs(folder)
    if (free := facts.f_bavail * facts.f_frsize) < needed:
        raise MainstayError(doing, f"{free} bytes are free on the file system of {folder}, {needed} are needed", "make room, or restore elsewhere")


def unpack(source: Source, index: Index, wanted: t.Mapping[str, Entry], folder: str) -> None:
    """Extract some entries of a backup into an empty private folder, by their whole paths.

    Raises:
        VerificationFailed: an archive brought something that it must not hold.
        MainstayError: an archive could not be read.
    """
    lineage = source.catalogue.lineage(source.backup)
    files = {path: entry for path, entry in wanted.items() if entry.type == "file"}
    done: set[str] = set()
    for layer, part in sorted({(entry.layer, entry.part) for entry in files.values()}):
        here = {path: entry for path, entry in files.items() if (entry.layer, entry.part) == (layer, part)}
        done |= here.keys()
        names = {*here, *(entry.target for entry in here.values() if entry.target)}
        with blaming(lineage[layer]):
            _extract(source, lineage[layer], f"files-{part}.tar", names, folder)
            _sweep(folder, done, lineage[layer])
    others = {path for path, entry in wanted.items() if entry.type != "file"}
    if others:
        with blaming(source.backup):
            # Tar takes what is in a folder with it.
            _extract(source, source.backup, indexes.TREE, [path for path in others if os.path.dirname(path) not in others], folder)


def _extract(source: Source, backup: Backup, name: str, names: t.Collection[str], folder: str) -> None:
    record = source.object(backup.require_manifest(), name)
    with contextlib.ExitStack() as stack:
        descriptor = None
        if len(names) <= FEW:
            descriptor = names_file(names)
            stack.callback(os.close, descriptor)
        stack.enter_context(current().phase(f"extract {name} of backup {backup.id}", record.plain_bytes, exact=True))
        source.catalogue.read(backup, record.name, source.identity, extract_command(folder, source.as_root, source.numeric, descriptor))


def _sweep(folder: str, wanted: t.Collection[str], backup: Backup) -> None:
    """Remove what later backups replace or have no more.

    Raises:
        VerificationFailed: there is something else than files and folders.
    """
    pending = [folder]
    while pending:
        for entry in os.scandir(pending.pop()):
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                raise VerificationFailed(
                    f"read backup {backup.id}", f"an archive of files holds {entry.path[len(folder) :]}, which is none", "use another backup"
                )
            elif entry.path[len(folder) :] not in wanted:
                os.unlink(entry.path)


def prune_folders(folder: str, wanted: t.Collection[str]) -> None:
    """Remove folders and links that were extracted with others and are not wanted, the innermost first."""
    above = {parent for path in wanted for parent in _parents(path)}
    for name, folders, files in os.walk(folder, topdown=False):
        for each in (*files, *folders):
            path = os.path.join(name, each)
            inside = path[len(folder) :]
            if inside not in wanted and inside not in above:
                os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)


def _parents(path: str) -> t.Iterator[str]:
    while (path := os.path.dirname(path)) != "/":
        yield path


def faults_of(source: Source, wanted: t.Mapping[str, Entry], folder: str) -> list[str]:
    """Compare a folder with what should have come into it: types, contents, sizes, modes, owners, times, links, attributes. Return what differs, in words.

    Whether hard links are such is looked at too. Attributes are left out where the file system has none, and where this user is not root.
    """
    attributes = source.as_root and keeps_attributes(folder)
    faults = []
    for path, entry in wanted.items():
        name = folder + path
        try:
            found = dataclasses.replace(entry_of(name, os.lstat(name)), path=path)
            if found.type == "file" and entry.type == "file":
                found = dataclasses.replace(found, sha256=content_digest(name))
            if attributes:
                found = dataclasses.replace(found, xattrs=xattrs_digest(read_xattrs(name, privileged=True)))
        except OSError as error:
            faults.append(f"{path} is not there ({error.strerror})")
            continue
        if words := differences(source.here(entry), found, attributes):
            faults.append(f"{path} has {words}")
        elif entry.type == "file" and _lost_link(folder, entry, wanted):
            faults.append(f"{path} is no hard link to {entry.target}")
        current().advance(entry.moved_bytes)
    faults += [f"{path} should not be there" for path in _others(folder, wanted)]
    return faults


def keeps_attributes(folder: str) -> bool:
    """Say whether the file system of a folder has extended attributes."""
    try:
        os.setxattr(folder, "user.mainstay", b"1")
        os.removexattr(folder, "user.mainstay")
    except OSError as error:
        return error.errno not in (errno.ENOTSUP, errno.EPERM)
    return True


def differences(wanted: Entry, found: Entry, attributes: bool) -> str:
    """Return in which of their facts two entries differ, in words; empty if in none."""
    if wanted.type != found.type:
        return f"the type {found.type} instead of {wanted.type}"
    names = {"uid": "owner", "gid": "group", "mtime": "time of the content"}
    if wanted.type != "link":
        names["mode"] = "mode"
    else:
        names["target"] = "target"
    if wanted.type == "file":
        names |= {"size": "size", "sha256": "SHA-256"}
    if attributes:
        names["xattrs"] = "extended attributes or ACL"
    return ", ".join(f"another {words}" for name, words in names.items() if getattr(wanted, name) != getattr(found, name))


def _lost_link(folder: str, entry: Entry, wanted: t.Mapping[str, Entry]) -> bool:
    other = wanted.get(entry.target)
    if other is None or (other.layer, other.part) != (entry.layer, entry.part):
        return False
    return os.lstat(folder + entry.path).st_ino != os.lstat(folder + entry.target).st_ino


def _others(folder: str, wanted: t.Mapping[str, Entry]) -> t.Iterator[str]:
    above = {parent for path in wanted for parent in _parents(path)}
    for name, folders, files in os.walk(folder):
        for each in (*folders, *files):
            path = os.path.join(name, each)[len(folder) :]
            if path not in wanted and path not in above:
                yield path


def require_whole(source: Source, wanted: t.Mapping[str, Entry], folder: str) -> None:
    """Check what was extracted.

    Raises:
        VerificationFailed: it differs from the index; the cause names the first files.
    """
    with current().phase("compare with the index", sum(entry.moved_bytes for entry in wanted.values())):
        faults = faults_of(source, wanted, folder)
    if faults:
        more = f" and {len(faults) - FAULTS_SAID} more" if len(faults) > FAULTS_SAID else ""
        raise VerificationFailed(f"restore backup {source.backup.id}", "; ".join(faults[:FAULTS_SAID]) + more, "use another backup")
