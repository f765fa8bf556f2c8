# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repository holds, and which moments it can bring back: read from pgBackRest's own facts, never from our manifests.

WAL file names and timeline histories are as in PostgreSQL's documentation ("WAL Internals", "Timelines").
"""

from __future__ import annotations

import bz2
import collections
import dataclasses
import datetime
import gzip
import hashlib
import os
import re
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import Engine
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, capture, run

STRENGTH = {"incr": 1, "diff": 2, "full": 3}
"""pgBackRest's types of backup, by how much they stand for themselves."""
SEGMENT_SIZES = tuple(1 << power for power in range(20, 31))
DEFAULT_SEGMENT_SIZE = 16 << 20
COMMIT_SEARCH = 8
"""So many segments are read back from the end of the log for its last commit."""

_LABEL = re.compile(r"(\d{8})-(\d{6})[FDI]$")
_SEGMENT = re.compile(r"(?P<id>[^/]+)/[0-9A-F]{16}/(?P<name>[0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?")
_HISTORY = re.compile(r"(?P<id>[^/]+)/(?P<timeline>[0-9A-F]{8})\.history")
_COMMIT = re.compile(r"desc: (?:COMMIT|COMMIT_PREPARED) .*?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")


def id_of(label: str) -> str:
    """Return the id of a pgBackRest label: its time, then the first digits of the label's SHA-256.

    Raises:
        ValueError: it is no label.
    """
    match = _LABEL.search(label)
    if match is None:
        raise ValueError(f"{label!r} is no label of pgBackRest")
    return f"{match[1]}T{match[2]}Z-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def parse_lsn(text: str) -> int:
    """Return a position in the log as a number; a ValueError if it is none."""
    high, separator, low = text.partition("/")
    if not separator or not re.fullmatch(r"[0-9A-Fa-f]{1,8}", high) or not re.fullmatch(r"[0-9A-Fa-f]{1,8}", low):
        raise ValueError(f"{text!r} is no position in the log")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(lsn: int) -> str:
    """Return a position in the log as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclasses.dataclass(frozen=True)
class BackupSet:
    """A backup that pgBackRest lists, which means that it was completed.

    Args:
        label: pgBackRest's name.
        type: ``full``, ``diff`` or ``incr``.
        started: when it began.
        stopped: when it ended, which is the first moment that it can bring back.
        wal_start: first segment of the log that it needs.
        wal_stop: last segment of the log that it needs.
        lsn_start: position of its beginning.
        lsn_stop: position at which it is consistent.
        references: labels that it cannot be restored without.
        page_errors: whether data pages had wrong checksums when it was taken.
        bytes_plain: bytes of the cluster.
        bytes_stored: bytes that this backup added to the repository.
        bytes_needed: bytes in the repository that a restore reads.
        archive_id: folder of its log in the archive, such as ``17-1``.
        system_identifier: the cluster.
        server_version: its major version.
        engine_version: the pgBackRest that took it.
        annotations: what was noted with it.
    """

    label: str
    type: str
    started: datetime.datetime
    stopped: datetime.datetime
    wal_start: str
    wal_stop: str
    lsn_start: int
    lsn_stop: int
    references: tuple[str, ...]
    page_errors: bool
    bytes_plain: int
    bytes_stored: int
    bytes_needed: int
    archive_id: str
    system_identifier: str
    server_version: str
    engine_version: str
    annotations: t.Mapping[str, str]

    @property
    def id(self) -> str:
        """Its id in the catalogue."""
        return id_of(self.label)

    @property
    def timeline(self) -> int:
        """The timeline on which it was taken."""
        return int(self.wal_start[:8] or "1", 16)


@dataclasses.dataclass(frozen=True)
class Archive:
    """The log of one cluster in a repository.

    Args:
        segments: path in the repository, bytes and time of arrival of each segment, by its name.
        histories: for each timeline its ancestors, oldest first, each with the position at which it was left.
        segment_size: bytes of a segment.
    """

    segments: t.Mapping[str, tuple[str, datetime.datetime]] = dataclasses.field(default_factory=dict)
    histories: t.Mapping[int, tuple[tuple[int, int], ...]] = dataclasses.field(default_factory=dict)
    segment_size: int = DEFAULT_SEGMENT_SIZE

    def name(self, timeline: int, number: int) -> str:
        """Return the name of a segment."""
        per_file = (1 << 32) // self.segment_size
        return f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}"

    def number(self, name: str) -> int:
        """Return the number of a segment within its timeline."""
        return int(name[8:16], 16) * ((1 << 32) // self.segment_size) + int(name[16:24], 16)

    def newest_timeline(self, timeline: int) -> int:
        """Return the timeline that PostgreSQL finds as the latest from one on: the last of an unbroken row of histories."""
        while timeline + 1 in self.histories:
            timeline += 1
        return timeline

    def reaches(self, backup: BackupSet, timeline: int) -> bool:
        """Whether recovery from a backup can follow a timeline: it is the backup's own, or left that one after the backup's end."""
        if timeline == backup.timeline:
            return True
        left = dict(self.histories.get(timeline, ()))
        return backup.timeline in left and backup.lsn_stop <= left[backup.timeline]


@dataclasses.dataclass(frozen=True)
class Chain:
    """The unbroken log from the beginning of a backup along a timeline.

    Args:
        timeline: the timeline at its end.
        names: the segments, in order.
        consistent: whether it reaches the end of the backup, without which the backup is worth nothing.
        missing: the first segment that is not there although later ones are, or that the backup needs; empty if the log simply ends.
        arrived: when the last segment arrived; None without any.
        end: position of the end of the last segment.
    """

    timeline: int
    names: tuple[str, ...]
    consistent: bool
    missing: str
    arrived: datetime.datetime | None
    end: int


def chain(archive: Archive, backup: BackupSet, timeline: int) -> Chain:
    """Follow the log from a backup along a timeline that :meth:`Archive.reaches` it, up to the first segment that is missing."""
    if not backup.wal_start:
        return Chain(backup.timeline, (), False, "", None, 0)
    begins = [(backup.timeline, 0)]
    ancestors = [*archive.histories.get(timeline, ()), (timeline, 0)]
    for (parent, left), (child, _unused) in zip(ancestors, ancestors[1:]):
        if parent >= backup.timeline:
            begins.append((child, left // archive.segment_size))
    names: list[str] = []
    number, stop = archive.number(backup.wal_start), archive.number(backup.wal_stop)
    while True:
        line = max(found for found, begin in begins if begin <= number)
        name = archive.name(line, number)
        if name not in archive.segments:
            break
        names.append(name)
        number += 1
    lines = {found for found, _begin in begins}
    later = any(int(found[:8], 16) in lines and found[:8] == name[:8] and archive.number(found) > number for found in archive.segments)
    consistent = number > stop
    return Chain(
        timeline=line,
        names=tuple(names),
        consistent=consistent,
        missing=name if later or not consistent else "",
        arrived=archive.segments[names[-1]][1] if names else None,
        end=number * archive.segment_size,
    )


@dataclasses.dataclass(frozen=True)
class Repository:
    """What one repository holds.

    Args:
        number: pgBackRest's number of it.
        sets: its backups, oldest first.
        archives: the log by the archive's id.
        system_identifier: the cluster that it belongs to now; empty before the stanza is made.
        exists: whether the stanza is there.
    """

    number: int
    sets: tuple[BackupSet, ...] = ()
    archives: t.Mapping[str, Archive] = dataclasses.field(default_factory=dict)
    system_identifier: str = ""
    exists: bool = False

    def archive(self, backup: BackupSet) -> Archive:
        """Return the log that belongs to a backup."""
        return self.archives.get(backup.archive_id, Archive())

    def by_label(self) -> dict[str, BackupSet]:
        """Return the backups by their labels."""
        return {item.label: item for item in self.sets}

    def children(self, backup: BackupSet) -> list[BackupSet]:
        """Return the backups that cannot be restored without this one."""
        return [item for item in self.sets if backup.label in item.references]

    def timeline(self, backup: BackupSet, wanted: str = "latest") -> int:
        """Return the timeline that recovery follows from a backup.

        Args:
            backup: where it begins.
            wanted: ``latest``, ``current`` (the backup's own) or a number. Where the latest left the backup's own before the backup, that is its own.
        """
        archive = self.archive(backup)
        if wanted == "current":
            return backup.timeline
        if wanted != "latest":
            return int(wanted)
        newest = archive.newest_timeline(backup.timeline)
        return newest if archive.reaches(backup, newest) else backup.timeline

    def fault(self, backup: BackupSet) -> str:
        """Return why a backup cannot be relied on, in words; empty if nothing speaks against it."""
        if backup.page_errors:
            return "data pages had wrong checksums when it was taken (pgbackrest info --set names them)"
        if not backup.wal_start:
            return "it was taken while the server was stopped, without write-ahead log"
        held = self.by_label()
        lacking = [label for label in backup.references if label not in held]
        if lacking:
            return f"{', '.join(lacking)}, which it is based on, is not there"
        own = chain(self.archive(backup), backup, backup.timeline)
        if not own.consistent:
            return f"segment {own.missing} of the write-ahead log, which it needs, is not in the archive"
        damaged = [label for label in backup.references if held[label].page_errors]
        return f"data pages of {', '.join(damaged)}, which it is based on, had wrong checksums" if damaged else ""


def moment(seconds: float) -> datetime.datetime:
    """Return a Unix time as a moment."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def parse_info(answer: t.Any, number: int, stanza: str, place: str) -> Repository:
    """Return what ``pgbackrest info --repo=N --output=json`` says of a repository, without its archive.

    Raises:
        MainstayError: pgBackRest could not read it.
    """
    entry = next((item for item in answer if item.get("name") == stanza), None)
    if entry is None:
        return Repository(number)
    repositories = [item for item in entry.get("repo", []) if item.get("key") == number]
    status = (repositories[0] if repositories else entry)["status"]
    if status["code"] == 99:
        first = re.sub(r"[^\x20-\x7e]+", "?", status["message"].split("\n")[0])
        # pgBackRest calls it a CryptoError too when it cannot read the store's authorities, or does not trust the store.
        crypto = any(word in status["message"] for word in ("CryptoError", "FormatError", "cipher")) and "certificate" not in status["message"]
        cause = "the passphrase does not open it, or it is encrypted and none was given, or it is damaged" if crypto else first
        next_step = "give the repository_passphrase that it was made with (encryption.type=none if it is in clear text)" if crypto else ""
        raise MainstayError(f"read the repository {place}", cause, next_step)
    systems = {item["id"]: item for item in entry.get("db", []) if item.get("repo-key", number) == number}
    archives = {item["database"]["id"]: item["id"] for item in entry.get("archive", []) if item["database"].get("repo-key", number) == number}
    sets = []
    for item in entry.get("backup", []):
        if item["database"].get("repo-key", number) != number:
            continue
        system = systems.get(item["database"]["id"], {})
        sizes = item["info"]
        lsn = item.get("lsn") or {}
        sets.append(
            BackupSet(
                label=item["label"],
                type=item["type"],
                started=moment(item["timestamp"]["start"]),
                stopped=moment(item["timestamp"]["stop"]),
                wal_start=item["archive"]["start"] or "",
                wal_stop=item["archive"]["stop"] or "",
                lsn_start=parse_lsn(lsn.get("start") or "0/0"),
                lsn_stop=parse_lsn(lsn.get("stop") or "0/0"),
                references=tuple(item.get("reference") or ()),
                page_errors=bool(item.get("error")),
                bytes_plain=sizes["size"],
                bytes_stored=sizes["repository"].get("delta") or 0,
                bytes_needed=sizes["repository"].get("size") or sizes["repository"].get("delta") or 0,
                archive_id=archives.get(item["database"]["id"], ""),
                system_identifier=str(system.get("system-id", "")),
                server_version=str(system.get("version", "")),
                engine_version=item["backrest"]["version"],
                annotations=item.get("annotation") or {},
            )
        )
    newest = systems[max(systems)] if systems else {}
    return Repository(number, tuple(sorted(sets, key=lambda item: item.label[-16:])), {}, str(newest.get("system-id", "")), status["code"] in (0, 2))


def parse_archive(listing: t.Mapping[str, t.Any], sets: t.Iterable[BackupSet]) -> tuple[dict[str, Archive], dict[tuple[str, int], str]]:
    """Return the logs of a listing of ``archive/STANZA``, and the paths of the histories by archive and timeline, which are still to be read."""
    segments: dict[str, dict[str, tuple[str, datetime.datetime]]] = collections.defaultdict(dict)
    histories: dict[tuple[str, int], str] = {}
    for path, facts in listing.items():
        if facts.get("type") != "file":
            continue
        if match := _SEGMENT.fullmatch(path):
            segments[match["id"]][match["name"]] = (path, moment(facts.get("time", 0)))
        elif match := _HISTORY.fullmatch(path):
            histories[match["id"], int(match["timeline"], 16)] = path
            segments[match["id"]].update({})
    sizes = {item.archive_id: segment_size([other for other in sets if other.archive_id == item.archive_id]) for item in sets}
    return {name: Archive(found, {}, sizes.get(name, DEFAULT_SEGMENT_SIZE)) for name, found in segments.items()}, histories


def segment_size(sets: t.Iterable[BackupSet]) -> int:
    """Return the size of the log's segments, which follows from the positions and the segments of the backups; PostgreSQL's default where several fit."""
    pairs = [(item.wal_start, item.lsn_start) for item in sets if item.wal_start and item.lsn_start]
    fitting = [size for size in SEGMENT_SIZES if all(Archive(segment_size=size).name(int(name[:8], 16), lsn // size) == name for name, lsn in pairs)]
    return DEFAULT_SEGMENT_SIZE if not fitting or DEFAULT_SEGMENT_SIZE in fitting else fitting[0]


def parse_history(text: str) -> tuple[tuple[int, int], ...]:
    """Return the ancestors that a timeline's history names, oldest first, each with the position at which it was left."""
    found = []
    for line in text.splitlines():
        parts = line.split("#")[0].split(None, 2)
        if len(parts) >= 2:
            found.append((int(parts[0]), parse_lsn(parts[1])))
    return tuple(found)


def read_repository(engine: Engine, number: int) -> Repository:
    """Read what a repository holds.

    Raises:
        MainstayError: it could not be read.
    """
    place = engine.describe(number)
    found = parse_info(engine.json(f"read the repository {place}", "info", f"--repo={number}"), number, engine.stanza, place)
    if not found.exists:
        return found
    doing = f"list the write-ahead log in {place}"
    listing = engine.json(doing, "repo-ls", f"--repo={number}", "--recurse", arguments=(f"archive/{engine.stanza}",))
    archives, paths = parse_archive(listing, found.sets)
    for name, archive in archives.items():
        wanted = {timeline: path for (owner, timeline), path in paths.items() if owner == name}
        texts = {timeline: engine.read(number, f"archive/{engine.stanza}/{path}").decode(errors="replace") for timeline, path in wanted.items()}
        histories = {timeline: parse_history(text) for timeline, text in texts.items()}
        archives[name] = dataclasses.replace(archive, histories=histories)
    return dataclasses.replace(found, archives=archives)


def last_commit(engine: Engine, repository: Repository, backup: BackupSet, found: Chain) -> datetime.datetime | None:
    """Return the time of the last commit in a chain, by a look into its last segments; None if they hold none.

    Where the server's ``pg_waldump`` is not installed, it is the time when the last segment arrived.

    Raises:
        MainstayError: a segment cannot be read.
    """
    archive = repository.archive(backup)
    beyond = [name for name in found.names if archive.number(name) >= archive.number(backup.wal_stop)][-COMMIT_SEARCH:]
    program = f"/usr/lib/postgresql/{backup.server_version}/bin/pg_waldump"
    for name in reversed(beyond):
        path = archive.segments[name][0]
        if not os.access(program, os.X_OK):
            return archive.segments[name][1]
        moments = _commits(engine, repository.number, f"archive/{engine.stanza}/{path}", name, program)
        if moments is None:
            return archive.segments[name][1]
        if moments:
            return max(moments)
    return None


def _commits(engine: Engine, number: int, path: str, name: str, program: str) -> list[datetime.datetime] | None:
    """Return the times of the commits in a segment; None if nothing here opens it."""
    content = engine.read(number, path)
    with tempfile.TemporaryDirectory(prefix="mainstay-wal-") as folder:
        plain = f"{folder}/{name}"
        try:
            if path.endswith(".zst"):
                with open(f"{plain}.zst", "wb") as file:
                    file.write(content)
                run(Command(("zstd", "-dqf", f"{plain}.zst", "-o", plain)), f"open {path}")
            else:
                opened = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(os.path.splitext(path)[1])
                if opened is None and path.endswith(".lz4"):
                    return None
                with open(plain, "wb") as file:
                    file.write(opened(content) if opened else content)
            # A record that goes on in the next segment makes it end with status 1 after all the others, so the status says nothing.
            text = capture([program, "--rmgr=Transaction", plain], env={"TZ": "UTC", "LC_ALL": "C"}).stdout
        except (OSError, EOFError) as error:
            raise MainstayError(f"open {path}", error, "verify the backup with verify_level=checksum") from error
    form = "%Y-%m-%d %H:%M:%S.%f"
    texts = [match[1] for match in _COMMIT.finditer(text)]
    return [datetime.datetime.strptime(item if "." in item else f"{item}.0", form).replace(tzinfo=datetime.timezone.utc) for item in texts]
