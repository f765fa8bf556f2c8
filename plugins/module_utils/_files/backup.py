# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a backup of files: look at the tree, decide what has to be read, read it, look again, publish."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import platform
import stat
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue, Draft, View, new_id
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, require_programs, tool_versions
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files import index as indexes
from ansible_collections.mainstay.ops.plugins.module_utils._files.archive import Member, TreeStream
from ansible_collections.mainstay.ops.plugins.module_utils._files.index import Changes, Entry, Index, as_read, compare
from ansible_collections.mainstay.ops.plugins.module_utils._files.patterns import Patterns
from ansible_collections.mainstay.ops.plugins.module_utils._files.record import Base, Record, find_base
from ansible_collections.mainstay.ops.plugins.module_utils._files.scan import Rules, Scan, content_digest, entry_of, roots_of, scan, secrets_among
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, run
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

KIND = "files"
METHOD = "tar"
PASSES = 3
"""So often a file that changes while it is read is read."""
NAMES_KEPT = 100
"""So many names of each sort stand in a manifest."""
NAMES_SAID = 5
"""So many stand in a sentence."""


@dataclasses.dataclass(frozen=True)
class Desired:
    """What a backup is to hold and how it is to be stored; see the module's options of the same names."""

    paths: tuple[str, ...]
    exclude: tuple[str, ...]
    one_file_system: bool
    backup_type: str
    compare_contents: bool
    max_increments: int
    allow_unreadable: bool
    secret_patterns: tuple[str, ...]
    secret_contents: bool
    compression: Compression
    encryption: Encryption
    labels: t.Mapping[str, str]

    @property
    def suffix(self) -> str:
        """What the names of the objects end with."""
        return self.compression.suffix + self.encryption.suffix

    def filters(self) -> tuple[Command, ...]:
        """The programs between tar and the store."""
        return (*self.compression.filters(), *self.encryption.filters())

    def check(self) -> None:
        """Find out that nothing can be written before anything is read.

        Raises:
            InvalidInput: an option cannot be meant, or the recipients cannot be encrypted to.
            MainstayError: a program is missing.
        """
        filters = self.filters()
        require_programs((Command(("tar",)), *filters))
        if "GNU tar" not in run(Command(("tar", "--version")), "ask tar for its version"):
            raise MainstayError("back up files", "the program tar of this host is not GNU tar", "install the package tar")
        self.encryption.check()


@dataclasses.dataclass(frozen=True)
class Plan:
    """A backup that can be taken.

    Args:
        roots: what is backed up.
        moment: when the tree was looked at; what was written before is in the backup.
        found: the tree.
        base: what the backup is based on.
        kept: files that did not change, as the base has them.
        changes: how the tree differs from the base.
        warnings: what the user should know before.
    """

    roots: tuple[str, ...]
    moment: datetime.datetime
    found: Scan
    base: Base
    kept: t.Mapping[str, Entry]
    changes: Changes
    warnings: tuple[str, ...]

    @property
    def taken(self) -> dict[str, Entry]:
        """The files that have to be read."""
        return {path: entry for path, entry in self.found.entries.items() if entry.type == "file" and path not in self.kept}

    @property
    def type(self) -> str:
        """Whether it is ``full`` or ``incremental``."""
        return "full" if self.base.index is None else "incremental"

    @property
    def actions(self) -> list[str]:
        """What is to be done, in words."""
        taken = self.taken
        base = f"based on {self.base.index.backup_id}" if self.base.index else f"since {self.base.why}"
        size = sum(entry.size for entry in taken.values())
        return [
            f"read {len(taken)} of {sum(entry.type == 'file' for entry in self.found.entries.values())} files, {size} bytes, below {', '.join(self.roots)}",
            f"publish the backup, {'a full one' if self.type == 'full' else 'an incremental one'} {base} ({self.changes.words})",
        ]


def named(paths: t.Collection[str]) -> str:
    """Return some names and the number of the others, for a sentence."""
    more = len(paths) - NAMES_SAID
    return ", ".join(list(paths)[:NAMES_SAID]) + (f" and {more} more" if more > 0 else "")


def plan(desired: Desired, catalogue: Catalogue, view: View, record: Record) -> Plan:
    """Look at everything; nothing is written.

    Raises:
        InvalidInput: a path does not exist, the store lies in one of them, or secrets would be stored in clear.
        MainstayError: a program is missing, or a file cannot be read.
    """
    desired.check()
    roots, moment = roots_of(desired.paths), utc_now()
    rules = Rules(Patterns(desired.exclude, "exclude"), desired.one_file_system)
    secrets = Patterns(desired.secret_patterns, "secret_patterns")
    store = catalogue.store.describe()
    if any(indexes.is_below(store, root) for root in roots) and not _left_out(store, rules.exclude):
        raise InvalidInput(f"back up {', '.join(roots)}", f"the store {store} lies in it", "exclude it, or use another store")
    with current().phase("look at the files"):
        found = scan(roots, rules)
    if not found.entries and not found.unreadable:
        raise InvalidInput(f"back up {', '.join(roots)}", "exclude leaves nothing of it", "correct exclude or paths")
    if found.unreadable and not desired.allow_unreadable:
        raise MainstayError(
            f"back up {', '.join(roots)}",
            "; ".join(f"{path}: {why}" for path, why in list(found.unreadable.items())[:NAMES_KEPT]),
            "run as a user who may read everything, exclude it, or leave it out by allow_unreadable=true",
        )
    base = find_base(record, catalogue, view, desired.backup_type == "full", desired.max_increments)
    before = base.index.entries if base.index else {}
    kept = _kept(before, found.entries, desired.compare_contents)
    planned = Plan(roots, moment, found, base, kept, _changes(before, found.entries, kept), tuple(_foreseen(roots, found)))
    if desired.encryption.type == "none":
        _refuse_secrets(secrets_among(planned.taken.values(), secrets, desired.secret_contents))
    return planned


def _left_out(path: str, exclude: Patterns) -> bool:
    """Say whether a folder, or one that it lies in, is left out."""
    while path != "/":
        if exclude.fit(path, is_folder=True):
            return True
        path = os.path.dirname(path)
    return False


def _refuse_secrets(secrets: t.Mapping[str, str]) -> None:
    if secrets:
        raise InvalidInput(
            "back up secrets in clear text",
            "; ".join(f"{path}: {why}" for path, why in list(secrets.items())[:NAMES_KEPT]),
            "encrypt the backup (encryption.recipients), leave the files out (exclude), or correct secret_patterns if they are no secrets",
        )


def _kept(before: t.Mapping[str, Entry], now: t.Mapping[str, Entry], contents: bool) -> dict[str, Entry]:
    """Return the files that need not be read, as the earlier backup has them."""
    kept = {}
    for path, entry in now.items():
        earlier = before.get(path)
        if entry.type != "file" or earlier is None or earlier.type != "file" or earlier.ctime == indexes.UNSTABLE:
            continue
        if as_read(earlier, entry) and (not contents or _reads_as(path, earlier)):
            kept[path] = earlier
    return kept


def _reads_as(path: str, earlier: Entry) -> bool:
    with contextlib.suppress(OSError):
        return content_digest(path) == earlier.sha256
    return False


def _changes(before: t.Mapping[str, Entry], now: t.Mapping[str, Entry], kept: t.Mapping[str, Entry]) -> Changes:
    """Compare with the earlier backup; of folders and links only that they came, went or point elsewhere counts."""

    def same(earlier: Entry, entry: Entry) -> bool:
        return entry.path in kept if entry.type == "file" else (earlier.type, earlier.target) == (entry.type, entry.target)

    return compare(before, now, same)


def _foreseen(roots: t.Iterable[str], found: Scan) -> t.Iterator[str]:
    if found.skipped:
        yield f"{len(found.skipped)} special files are left out: {named([f'{path} ({kind})' for path, kind in found.skipped.items()])}"
    if found.unreadable:
        yield f"{len(found.unreadable)} files or folders cannot be read and are left out: {named(list(found.unreadable))}"
    for root in roots:
        if root in found.entries and found.entries[root].type == "link":
            yield f"{root} is a symbolic link, of which only the link itself is backed up; name {os.path.realpath(root)} for what it leads to"


@dataclasses.dataclass
class _Taking:
    """A backup in the making.

    Args:
        entries: what the index will hold.
        vanished: files and folders that went while the backup was taken.
        unstable: files that changed each time they were read.
        parts: how many archives of files there are.
    """

    entries: dict[str, Entry]
    vanished: list[str] = dataclasses.field(default_factory=list)
    unstable: list[str] = dataclasses.field(default_factory=list)
    parts: int = 0


def take(catalogue: Catalogue, desired: Desired, planned: Plan, record: Record, phases: dict[str, float]) -> tuple[Backup, list[str]]:
    """Take the backup; after any error nothing of it is left in the store, and this host remembers the one before.

    Returns:
        The backup, and warnings that do not belong into its manifest.

    Raises:
        MainstayError: a file could not be read, or a program or the store failed.
    """
    tools, started = tool_versions((Command(("tar",)), *desired.filters())), utc_now()
    chain = planned.base.index.chain if planned.base.index else ()
    taking = _Taking(dict(planned.kept))
    with catalogue.draft(new_id(started)) as draft:
        with timed(phases, "read"):
            _take_files(draft, desired, planned, taking, len(chain))
            _take_tree(draft, desired, planned, taking)
        index = Index(draft.id, (*chain, draft.id), planned.roots, _consistent(taking, planned.roots))
        if not index.entries:
            raise MainstayError(f"back up {', '.join(planned.roots)}", "all of it vanished while it was read", "see what removes it")
        with timed(phases, "publish"):
            draft.add(f"{indexes.NAME}{desired.suffix}", _Lines(index.lines()), desired.filters(), 256 * len(index.entries))
            manifest = Manifest(
                id=draft.id,
                kind=KIND,
                method=METHOD,
                name=catalogue.name,
                started=started,
                finished=utc_now(),
                recoverable_from=planned.moment,
                recoverable_to=planned.moment,
                source={"host": platform.node(), "user": os.geteuid(), "paths": list(planned.roots), "exclude": list(desired.exclude)},
                contents=_contents(planned, taking, index),
                objects=tuple(draft.records),
                compression=desired.compression.describe(),
                encryption=desired.encryption.describe(),
                tools=tools,
                labels=dict(desired.labels),
                warnings=(*planned.warnings, *_seen(taking)),
                parents=chain,
            )
            backup = draft.publish(manifest)
    try:
        record.write(index)
    except MainstayError as error:
        return backup, [str(error)]
    return backup, []


class _Lines:
    """Lines as a source of the pipeline."""

    def __init__(self, lines: t.Iterator[bytes]) -> None:
        self._lines = lines

    def read(self, size: int, /) -> bytes:
        """Return some lines, about ``size`` bytes."""
        block = bytearray()
        for line in self._lines:
            block += line
            if len(block) >= size:
                break
        return bytes(block)


def _take_files(draft: Draft, desired: Desired, planned: Plan, taking: _Taking, layer: int) -> None:
    """Read the files, and those again that changed meanwhile."""
    pending, seen = planned.taken, dict[str, Entry]()
    while pending and taking.parts < PASSES:
        taking.parts += 1
        total = sum(entry.moved_bytes for entry in pending.values())
        with current().phase("read the files" if taking.parts == 1 else "read files again that changed", total), TreeStream(list(pending)) as stream:
            draft.add(f"files-{taking.parts}.tar{desired.suffix}", stream, desired.filters(), total)
        again = {}
        for path, entry in pending.items():
            now = _look(path)
            if now is None:
                taking.vanished.append(path)
                seen.pop(path, None)
                continue
            if (member := stream.members.get(path)) is not None and member.type == "file":
                seen[path] = _read_entry(member, now, layer, taking.parts)
                if as_read(entry, now):
                    taking.entries[path] = seen.pop(path)
                    continue
            again[path] = now
        pending = again
    unread = [path for path in pending if path not in seen]
    if unread:
        raise MainstayError(f"read {named(unread)}", "tar could not read it, though it is there", "see whether the disk is in order, or exclude it")
    for path in pending:
        taking.unstable.append(path)
        taking.entries[path] = dataclasses.replace(seen[path], ctime=indexes.UNSTABLE)


def _look(path: str) -> Entry | None:
    """Return the facts of a file; None if it is none any more."""
    with contextlib.suppress(OSError):
        facts = os.lstat(path)
        return entry_of(path, facts) if stat.S_ISREG(facts.st_mode) else None
    return None


def _read_entry(member: Member, now: Entry, layer: int, part: int) -> Entry:
    """Return what the index holds of a file: what was read, and by which facts it is known again."""
    known = {field.name: getattr(member, field.name) for field in dataclasses.fields(Member)}
    return Entry(**known, disk=now.disk, ctime=now.ctime, inode=now.inode, layer=layer, part=part)


def _take_tree(draft: Draft, desired: Desired, planned: Plan, taking: _Taking) -> None:
    """Read all folders and links."""
    names = [path for path, entry in planned.found.entries.items() if entry.type != "file"]
    if not names:
        return
    with current().phase("read folders and links", len(names) * 1024), TreeStream(names) as stream:
        draft.add(f"{indexes.TREE}{desired.suffix}", stream, desired.filters(), len(names) * 1024)
    for path in names:
        member = stream.members.get(path)
        if member is None or member.type == "file":
            taking.vanished.append(path)
        else:
            taking.entries[path] = Entry(**{field.name: getattr(member, field.name) for field in dataclasses.fields(Member)})


def _consistent(taking: _Taking, roots: t.Collection[str]) -> dict[str, Entry]:
    """Return the entries in order, without those whose folder vanished meanwhile."""
    entries: dict[str, Entry] = {}
    for path in sorted(taking.entries, key=indexes.order):
        above = entries.get(os.path.dirname(path))
        if path in roots if above is None else above.type == "folder":
            entries[path] = taking.entries[path]
        else:
            taking.vanished.append(path)
    return entries


def _contents(planned: Plan, taking: _Taking, index: Index) -> dict[str, t.Any]:
    """Return what the manifest says of the content."""
    files = [entry for entry in index.entries.values() if entry.type == "file"]
    types = [entry.type for entry in index.entries.values()]
    layer = len(index.chain) - 1
    taken = [entry for entry in files if entry.layer == layer]
    return {
        "type": planned.type,
        "why": planned.base.why,
        "files": len(files),
        "folders": types.count("folder"),
        "links": types.count("link"),
        "bytes": sum(entry.size for entry in files if not entry.target),
        "taken_files": len(taken),
        "taken_bytes": sum(entry.size for entry in taken if not entry.target),
        "created": len(planned.changes.created),
        "changed": len(planned.changes.changed),
        "deleted": len(planned.changes.deleted),
        "index_sha256": indexes.digest_of(index.lines()),
        "skipped": _some([f"{path} ({kind})" for path, kind in planned.found.skipped.items()]),
        "unreadable": _some(list(planned.found.unreadable)),
        "vanished": _some(taking.vanished),
        "changed_while_read": _some(taking.unstable),
    }


def _some(names: t.Sequence[str]) -> dict[str, t.Any]:
    return {"count": len(names), "names": list(names[:NAMES_KEPT])}


def _seen(taking: _Taking) -> t.Iterator[str]:
    """Yield what the user should know of how it went."""
    if taking.unstable:
        yield f"{len(taking.unstable)} files changed each of the {PASSES} times they were read, and may be of no one moment: {named(taking.unstable)}"
    if taking.vanished:
        yield f"{len(taking.vanished)} files or folders vanished while the backup was taken: {named(taking.vanished)}"
