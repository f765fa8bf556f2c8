# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring a cluster to a moment: chosen and checked before anything is touched, brought there, proven, and left stopped for its manager to start."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import shutil
import sys
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import connect, value
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import acting_as
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import EngineError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Entry, Holdings
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.recovery import (
    Landing,
    TargetNotReached,
    control_data,
    postmaster_pid,
    recovered_server,
    server_programs,
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import Chain, chain, lsn_text, parse_lsn, read_repository
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.verify import restore_command, restore_files
from ansible_collections.mainstay.ops.plugins.module_utils._process import Interrupted

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_TARGET_LINE = re.compile(r"^\s*recovery_target\w*\s*=")


@dataclasses.dataclass(frozen=True)
class Target:
    """The moment that is asked for; see the option ``target``."""

    type: str = "latest"
    value: str = ""
    inclusive: bool = True
    timeline: str = "latest"
    action: str = "promote"

    @classmethod
    def from_params(cls, options: t.Mapping[str, t.Any] | None) -> Target:
        """Read the option.

        Raises:
            InvalidInput: it cannot be right.
        """
        if not options:
            return cls()
        target = cls(options["type"], (options["value"] or "").strip(), options["inclusive"], options["timeline"], options["action"])
        doing = f"recover to {target.words}"
        if target.timeline not in ("latest", "current") and not re.fullmatch(r"[1-9]\d{0,9}", target.timeline):
            raise InvalidInput(doing, f"target.timeline is {target.timeline!r}", "give latest, current or a number")
        if target.type in ("latest", "immediate") and target.value:
            raise InvalidInput(doing, f"target.type={target.type} takes no target.value")
        if target.type in ("latest",) and target.action != "promote":
            raise InvalidInput(doing, "at the end of the log a server can only be promoted", "leave target.action out")
        if target.type == "time":
            target.moment()
        if target.type == "lsn":
            try:
                parse_lsn(target.value)
            except ValueError as error:
                raise InvalidInput(doing, error, "give it as 0/16B3748") from error
        if target.type == "xid" and not re.fullmatch(r"\d{1,20}", target.value):
            raise InvalidInput(doing, "a transaction's id is a number")
        if "\n" in target.value or "\r" in target.value:
            raise InvalidInput(doing, "target.value holds a line break")
        return target

    @property
    def words(self) -> str:
        """The target for messages."""
        named = {"latest": "the end of the log", "immediate": "the end of the backup", "name": f"the restore point {self.value}"}
        return named.get(self.type, f"the {self.type} {self.value}")

    def moment(self) -> datetime.datetime:
        """Return the target of the type ``time``.

        Raises:
            InvalidInput: it is no time with a zone.
        """
        try:
            found = datetime.datetime.fromisoformat(self.value)
        except ValueError as error:
            raise InvalidInput(f"recover to the time {self.value!r}", error, "give it in ISO 8601, such as 2026-11-22T17:42:00Z") from error
        if found.tzinfo is None:
            cause = "it has no zone, so it could mean different moments"
            raise InvalidInput(f"recover to the time {self.value!r}", cause, f"add the zone, such as {self.value}Z")
        return found.astimezone(datetime.timezone.utc)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The backup from which a target is reached, along which log."""

    entry: Entry
    chain: Chain
    target: Target
    warnings: tuple[str, ...] = ()

    def options(self, recovery_command: str) -> list[str]:
        """Return pgBackRest's options for it."""
        kind = {"latest": "default"}.get(self.target.type, self.target.type)
        given = [f"--type={kind}", f"--recovery-option=restore_command={recovery_command}"]
        if self.target.type != "immediate":
            own = self.chain.timeline == self.entry.set.timeline
            given.append(f"--target-timeline={'current' if own else self.chain.timeline}")
        if self.target.type in ("time", "lsn", "xid", "name"):
            text = f"{self.target.moment():%Y-%m-%d %H:%M:%S.%f}+00" if self.target.type == "time" else self.target.value
            given.append(f"--target={text}")
            given += [] if self.target.inclusive or self.target.type == "name" else ["--target-exclusive"]
        if self.target.type != "latest":
            given.append(f"--target-action={self.target.action}")
        return given


def choose(holdings: Holdings, selector: str, target: Target) -> Choice:
    """Choose the newest backup from which a target is reached.

    Args:
        holdings: the repository.
        selector: the option ``backup_id``: ``latest`` means any good backup, ``latest_verified`` any that was verified, an id that one.
        target: what is asked for.

    Raises:
        InvalidInput: the repository cannot bring it back; the error names the nearest that is possible.
        BackupNotFound: there is no such backup.
    """
    if selector in ("latest", "latest_verified"):
        holdings.choose(selector)
        entries = [entry for entry in holdings.entries if (entry.backup.good if selector == "latest" else entry.backup.verified_at)]
    else:
        entries = [holdings.choose(selector)]
        if entries[0].backup.problem:
            raise InvalidInput(f"restore backup {selector}", entries[0].backup.problem, "choose another one")
    repository = holdings.repository
    doing = f"recover to {target.words}"
    reachable = []
    for entry in entries:
        timeline = repository.timeline(entry.set, target.timeline)
        if repository.archive(entry.set).reaches(entry.set, timeline):
            reachable.append((entry, chain(repository.archive(entry.set), entry.set, timeline)))
    if not reachable:
        raise InvalidInput(doing, f"no backup lies on the way to the timeline {target.timeline}", "choose another target.timeline")
    if target.timeline == "latest":
        # What left the newest timeline's way is past: its moments are reached by naming its timeline. Timelines of another cluster do not compare.
        newest: dict[str, int] = {}
        for entry, found in reachable:
            newest[entry.set.archive_id] = max(found.timeline, newest.get(entry.set.archive_id, 0))
        reachable = [(entry, found) for entry, found in reachable if newest[entry.set.archive_id] in (found.timeline, repository.timeline(entry.set))]
    check = {"time": _by_time, "lsn": _by_lsn}.get(target.type)
    if check:
        return check(holdings, reachable, target, doing)
    entry, found = reachable[-1]
    warnings = []
    if target.type in ("name", "xid"):
        warnings.append(f"whether the log holds {target.words} is known only when the recovery comes to it")
    if target.type == "latest" and found.missing:
        warnings.append(f"segment {found.missing} of the log is missing, so the recovery ends before it although later ones are there")
    return Choice(entry, found, target, tuple(warnings))


def _by_time(holdings: Holdings, reachable: t.Sequence[tuple[Entry, Chain]], target: Target, doing: str) -> Choice:
    wanted = target.moment()
    before = [(entry, found) for entry, found in reachable if entry.set.stopped <= wanted]
    if not before:
        earliest = reachable[0][0]
        cause = f"the earliest that can be brought back is {to_text(earliest.set.stopped)}, the end of backup {earliest.backup.id}"
        raise InvalidInput(doing, cause, "choose that or a later time")
    ends = []
    for entry, found in reversed(before):
        end = holdings.recoverable_to(entry.set, found)
        if wanted < end:
            return Choice(entry, found, target)
        ends.append((end, found))
    end, found = max(ends, key=lambda item: item[0])
    gap = f", after which segment {found.missing} of the log is missing" if found.missing else ""
    cause = f"the latest that can be brought back is {end:%Y-%m-%dT%H:%M:%S.%fZ}, the last commit in the log{gap}"
    raise InvalidInput(doing, cause, "choose an earlier time, or target.type=latest for the end of the log")


def _by_lsn(holdings: Holdings, reachable: t.Sequence[tuple[Entry, Chain]], target: Target, doing: str) -> Choice:
    wanted = parse_lsn(target.value)
    before = [(entry, found) for entry, found in reachable if entry.set.lsn_stop <= wanted]
    if not before:
        earliest = reachable[0][0]
        cause = f"the earliest that can be brought back is {lsn_text(earliest.set.lsn_stop)}, the end of backup {earliest.backup.id}"
        raise InvalidInput(doing, cause, "choose that or a later position")
    for entry, found in reversed(before):
        if wanted < found.end:
            return Choice(entry, found, target)
    found = max((found for _entry, found in before), key=lambda item: item.end)
    gap = f", after which segment {found.missing} of the log is missing" if found.missing else ""
    raise InvalidInput(doing, f"the log in the archive ends at {lsn_text(found.end)}{gap}", "choose an earlier position, or target.type=latest")


@dataclasses.dataclass(frozen=True)
class Place:
    """What is done with the data directory.

    Args:
        data_dir: the folder.
        action: ``create``, ``rename`` (the old one is kept under ``previous``), ``replace`` (in place) or ``exchange`` (the old one goes once the new
            one is up).
        previous: where the old one goes.
        unarchived: names of its segments of the log that the archive lacks.
        saved: where they are kept.
    """

    data_dir: str
    action: str
    previous: str = ""
    unarchived: tuple[str, ...] = ()
    saved: str = ""


def survey(
    holdings: Holdings, choice: Choice, data_dir: str, on_existing: str, delta: bool, bin_dir: str, warnings: list[str], planning: bool = False
) -> Place:
    """Look at the data directory and plan what becomes of it; nothing is touched.

    While only planning, a server that runs is a warning: who restores under a manager plans first and stops it then.

    Raises:
        InvalidInput: it must not be touched.
        MainstayError: there is no room.
    """
    doing = f"restore into {data_dir}"
    if pid := postmaster_pid(data_dir):
        if not planning:
            raise InvalidInput(doing, f"a server runs on it (process {pid})", "stop it first, by its manager (Patroni, systemd)")
        warnings.append(f"a server runs on {data_dir} (process {pid}); it must be stopped before the restore, by its manager (Patroni, systemd)")
    entry = choice.entry
    try:
        there = sorted(os.listdir(data_dir))
    except FileNotFoundError:
        there = []
    except OSError as error:
        raise MainstayError(f"look into {data_dir}", error.strerror or error) from error
    tag = entry.backup.id
    if not there:
        _check_parent(data_dir, doing, holdings.engine.user)
        _check_room(os.path.dirname(data_dir), entry.set.bytes_plain, doing, "make room")
        return Place(data_dir, "create")
    if on_existing == "fail":
        raise InvalidInput(doing, "it is not empty", "set on_existing to rename, which keeps it aside, or to replace, which restores over it")
    if "PG_VERSION" not in there and "backup.manifest" not in there and on_existing == "replace":
        raise InvalidInput(doing, "it is not empty, and no PostgreSQL cluster (it has no PG_VERSION)", "empty it, or set on_existing to rename")
    identifier = _identifier(bin_dir, data_dir)
    if identifier and identifier != entry.set.system_identifier and on_existing == "replace":
        cause = f"it holds the cluster {identifier}, and the backup is of the cluster {entry.set.system_identifier}"
        raise InvalidInput(doing, cause, "set on_existing to rename to keep it aside, or remove it by hand")
    if not identifier:
        warnings.append(f"which cluster {data_dir} held cannot be read any more")
    unarchived = _unarchived(holdings, choice, data_dir)
    if on_existing == "replace" and delta:
        return Place(data_dir, "replace", "", unarchived, _free(f"{data_dir}__pg_wal_before_{tag}") if unarchived else "")
    if os.path.ismount(data_dir):
        cause = "it is a mount point, which cannot be renamed"
        raise InvalidInput(doing, cause, "set on_existing to replace with delta, which restores in place")
    if tablespaces := [name for name in _names(f"{data_dir}/pg_tblspc") if os.path.islink(f"{data_dir}/pg_tblspc/{name}")]:
        cause = f"it has {len(tablespaces)} tablespaces elsewhere, which stay where they are"
        raise InvalidInput(doing, cause, "set on_existing to replace with delta, which restores in place")
    _check_parent(data_dir, doing, holdings.engine.user)
    hint = "make room, or set on_existing to replace with delta, which needs little"
    _check_room(os.path.dirname(data_dir), entry.set.bytes_plain, doing, hint)
    saved = _free(f"{data_dir}__pg_wal_before_{tag}") if unarchived and on_existing == "replace" else ""
    return Place(data_dir, "exchange" if on_existing == "replace" else "rename", _free(f"{data_dir}__before_{tag}"), unarchived, saved)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _free(path: str) -> str:
    """Return a path that is free: the given one, or with a number."""
    found, number = path, 1
    while os.path.lexists(found):
        number += 1
        found = f"{path}_{number}"
    return found


def _check_parent(data_dir: str, doing: str, user: str) -> None:
    """See that the folder can be made, or can be filled if it is there and empty."""
    parent = os.path.dirname(data_dir)
    with acting_as(user):
        fillable = os.path.isdir(data_dir) and not os.listdir(data_dir) and os.access(data_dir, os.W_OK | os.X_OK, effective_ids=True)
        makeable = os.access(parent, os.W_OK | os.X_OK, effective_ids=True)
    if fillable:
        return
    if not os.path.isdir(parent):
        raise InvalidInput(doing, f"{parent} is not there", "make it, or mount the disk")
    if not makeable:
        raise InvalidInput(doing, f"{user or 'the user that does this'} cannot write to {parent}", "make the folder for that user")


def _check_room(folder: str, needed: int, doing: str, hint: str) -> None:
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    if free < needed:
        raise MainstayError(doing, f"the cluster has {needed} bytes, and only {free} are free in {folder}", hint)


def _identifier(bin_dir: str, data_dir: str) -> str:
    try:
        return control_data(bin_dir, data_dir).get("Database system identifier", "")
    except MainstayError:
        return ""


def _unarchived(holdings: Holdings, choice: Choice, data_dir: str) -> tuple[str, ...]:
    """Return the segments in a data directory's ``pg_wal`` that the archive does not hold."""
    archive = holdings.repository.archive(choice.entry.set)
    names = [name for name in _names(f"{data_dir}/pg_wal") if _SEGMENT.fullmatch(name) and name not in archive.segments]
    return tuple(name for name in names if not is_spare(f"{data_dir}/pg_wal/{name}", archive.number(name) * archive.segment_size))


def is_spare(path: str, address: int) -> bool:
    """Whether a segment is an old one that was renamed for later use: its first page has another address than its name says.

    The page begins with magic, flags (2 bytes each), timeline (4, the parent's in the first segment of a new one) and address (8): PostgreSQL's
    ``XLogPageHeaderData``.
    """
    try:
        with open(path, "rb") as file:
            page = file.read(16)
    except OSError:
        return False
    return int.from_bytes(page[8:16], sys.byteorder) != address


def describe(place: Place, choice: Choice) -> list[str]:
    """Return what a restore does, in words and in order."""
    said = []
    if place.saved:
        said.append(f"save {len(place.unarchived)} segments of the log that were not archived to {place.saved}")
    if place.previous:
        said.append(f"move {place.data_dir} to {place.previous}")
    how = "restore the files that differ in" if place.action == "replace" else "restore"
    said.append(f"{how} {place.data_dir} from backup {choice.entry.backup.id}")
    if choice.target.action == "promote":
        said += [f"recover to {choice.target.words} and promote", "stop the server"]
    if place.action == "exchange":
        said.append(f"remove {place.previous}")
    return said


def restore(
    holdings: Holdings, choice: Choice, place: Place, bin_dir: str, user: str, delta: bool, phases: dict[str, float], warnings: list[str]
) -> dict[str, t.Any]:
    """Bring a cluster back.

    Returns:
        What was restored, for the module's result.

    Raises:
        MainstayError: it failed; the error says what is where.
    """
    started = time.monotonic()
    account = holdings.engine.user
    with acting_as(account):
        _set_aside(place)
    options = choice.options(f'pgbackrest --stanza={holdings.engine.stanza} archive-get %f "%p"')
    options += ["--delta"] if delta and place.action == "replace" else []
    archiving = holdings.engine.settings.options.get("archive-mode") != "off"
    try:
        with acting_as(account):
            os.makedirs(place.data_dir, mode=0o700, exist_ok=True)
        with timed(phases, "restore"):
            restore_files(holdings, choice.entry, place.data_dir, options)
        landing = None
        if choice.target.action == "promote":
            landing = _recover(holdings, choice, place.data_dir, bin_dir, user, archiving, phases)
    except MainstayError as error:
        raise _left_behind(error, place) from error
    except Interrupted as interrupted:
        interrupted.error = _left_behind(interrupted.error, place)
        raise
    if landing is not None:
        with acting_as(account):
            _forget_target(place.data_dir)
        if archiving:
            warnings += _unfinished_archive(holdings, choice, landing)
    if place.action == "exchange":
        with timed(phases, "remove"):
            shutil.rmtree(place.previous)
    return _result(choice, place, landing, time.monotonic() - started)


def _set_aside(place: Place) -> None:
    try:
        if place.saved:
            os.mkdir(place.saved, 0o700)
            for name in place.unarchived:
                shutil.copy2(f"{place.data_dir}/pg_wal/{name}", f"{place.saved}/{name}")
        if place.previous:
            os.rename(place.data_dir, place.previous)
    except OSError as error:
        raise MainstayError(f"set {place.data_dir} aside", error.strerror or error, "nothing of it was changed") from error


def _recover(holdings: Holdings, choice: Choice, data_dir: str, bin_dir: str, user: str, archiving: bool, phases: dict[str, float]) -> Landing:
    """Run the recovery to its target and promote; the server is stopped again at the end."""
    engine = holdings.engine
    push = " ".join(engine.argv("archive-push", f"--pg1-path={data_dir}"))
    settings = {
        "restore_command": restore_command(holdings, data_dir),
        "archive_mode": "on" if archiving else "off",
        "archive_command": f"{push} %p" if archiving else "",
    }
    if choice.target.type != "latest":
        settings["recovery_target_action"] = "promote"
    landings: list[Landing] = []
    end = choice.target.value if choice.target.type == "lsn" else lsn_text(choice.chain.end)
    users = (user, engine.user)
    with timed(phases, "recover"), recovered_server(bin_dir, data_dir, users, settings, landings.append, end) as login:
        with connect(login) as connection:
            if value(connection, "SELECT pg_is_in_recovery()"):
                raise MainstayError("open the restored server", "it is still in recovery")
            with connection.cursor() as cursor:
                cursor.execute("CHECKPOINT")
    return landings[0]


def _left_behind(error: MainstayError, place: Place) -> MainstayError:
    """Return an error that says in which state everything is."""
    said = [f"the server is stopped, and {place.data_dir} must not be started as it is"]
    if isinstance(error, TargetNotReached):
        said = [f"the server is stopped and was not promoted; {place.data_dir} holds all that the log could bring back", "choose another target or backup_id"]
    if place.previous:
        said.append(f"the old files are in {place.previous}")
    if place.saved:
        said.append(f"the log that was not archived is in {place.saved}")
    code = {"code": error.code} if isinstance(error, EngineError) else {}
    return MainstayError(error.doing, error.cause, "; ".join([*([error.next_step] if error.next_step else []), *said]), target_reached=False, **code)


def _forget_target(data_dir: str) -> None:
    """Take the target out of ``postgresql.auto.conf``, where it would stop this server should it ever become a standby."""
    path = f"{data_dir}/postgresql.auto.conf"
    with contextlib.suppress(FileNotFoundError):
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
        kept = [line for line in lines if not _TARGET_LINE.match(line)]
        if kept != lines:
            temporary = f"{path}.mainstay"
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.writelines(kept)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)


def _unfinished_archive(holdings: Holdings, choice: Choice, landing: Landing) -> list[str]:
    """Return a warning if the new timeline's history has not arrived in the repository, without which the timeline cannot be followed."""
    if landing.timeline == choice.entry.set.timeline:
        return []
    after = read_repository(holdings.engine, holdings.repository.number)
    if landing.timeline in after.archive(choice.entry.set).histories:
        return []
    return [f"the history of the new timeline {landing.timeline} is not in the archive yet; the server sends it when it starts"]


def _result(choice: Choice, place: Place, landing: Landing | None, seconds: float) -> dict[str, t.Any]:
    """Return what was restored, in the words of the module's result."""
    target, entry = choice.target, choice.entry
    reached = None
    if landing is not None:
        reached = target.type == "latest" or bool(landing.stopped_by)
    moment = landing.last_commit if landing and landing.last_commit else entry.set.stopped
    return {
        "data_dir": place.data_dir,
        "action": {"exchange": "replace"}.get(place.action, place.action),
        "previous": place.previous if place.action == "rename" else "",
        "pg_wal_saved": place.saved,
        "backup_id": entry.backup.id,
        "label": entry.set.label,
        "target": {"type": target.type, "value": target.value, "inclusive": target.inclusive},
        "target_reached": reached,
        "stopped_by": landing.stopped_by if landing else "",
        "landed_at": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" if landing else "",
        "landed_lsn": landing.lsn if landing else "",
        "timeline": landing.timeline if landing else choice.chain.timeline,
        "seconds": round(seconds, 3),
    }


def programs_for(entry: Entry, folder: str | None) -> str:
    """Return the folder of the server programs that a backup needs."""
    return server_programs(entry.set.server_version, folder)
