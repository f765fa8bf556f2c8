# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifying a physical backup: in the list, by ``pgbackrest verify``, by a restore of its files, and by a server that runs on them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import facts
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect, rows
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import acting_as
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import EngineError, copied_bytes
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Entry, Holdings, PhysicalBackup
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.recovery import (
    Landing,
    RecoveryFailed,
    TargetNotReached,
    recovered_server,
    server_programs,
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import Query, ask
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, ProgramKilled, run
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

_BAD_FILE = re.compile(r"(file missing|invalid checksum|invalid size|invalid verify|invalid result) '?([^'\s]+?)(?:'|:\s|$)", re.MULTILINE)
_LOG_COUNT = re.compile(r"archiveId: (\S+), total WAL checked: (\d+), total valid WAL: (\d+)")
_BAD_BACKUP = re.compile(r"backup: (\S+), status: (?!valid)([a-z-]+)")
_ENVIRONMENT_CODES = frozenset((38, 39, 41, 42, 49, 55, 58, 62, 66, 95, 102, 103))
"""pgBackRest's errors that say nothing of the backup: files that cannot be opened or written here, hosts out of reach, a wrong passphrase."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """How a backup is tried.

    Args:
        holdings: the repository.
        entry: the backup.
        queries: the user's own checks.
        bin_dir: folder of the server's programs; None for the usual ones.
        work_dir: where the throwaway server's folder is made.
        user: a superuser of the cluster.
    """

    holdings: Holdings
    entry: Entry
    queries: tuple[Query, ...]
    bin_dir: str | None
    work_dir: str
    user: str


@dataclasses.dataclass
class Keeper:
    """Who wants the server of a trial at the level ``restore`` to stay.

    Args:
        stack: removes everything when it is left.
        options: pgBackRest's options for the moment that is recovered to; the end of the backup without any.
        login: of the server, once it runs.
    """

    stack: contextlib.ExitStack
    options: t.Sequence[str] = ()
    login: Login | None = None


def verify(trial: Trial, level: str, targets: Targets, keeper: Keeper | None = None) -> PhysicalBackup:
    """Verify a backup and store the result beside its annotation, also when it failed.

    Args:
        trial: what and how.
        level: ``list``, ``checksum``, ``content`` or ``restore``.
        targets: what a recovery may cost.
        keeper: who keeps the server; otherwise it is removed.

    Raises:
        VerificationFailed: the backup is at fault.
        MainstayError: it could not be tried; nothing was recorded.
    """
    backup, phases, details = trial.entry.backup, {}, t.cast(dict[str, t.Any], {})
    cause: MainstayError | None = None
    started, began = time.monotonic(), utc_now()
    try:
        with timed(phases, "list"):
            if fault := trial.holdings.repository.fault(trial.entry.set):
                raise VerificationFailed(f"use backup {backup.id}", fault)
        if level in ("checksum", "content"):
            with timed(phases, "checksum"):
                details.update(_checksums(trial))
        if level in ("content", "restore"):
            details.update(_restore(trial, level, phases, keeper))
    except VerificationFailed as error:
        cause = error
    if level == "restore" and cause is None:
        rpo = (began - backup.require_manifest().recoverable_to).total_seconds()
        measured = {"rto_seconds": round(phases["restore"] + phases["recover"], 3), "rpo_seconds": max(0.0, round(rpo, 3))}
        met, missed = targets.judge(measured)
        details = {**details, **measured, **met, "warnings": [*details.get("warnings", []), *missed]}
    result = Verification(
        at=utc_now(),
        level=level,
        status="failed" if cause else "successful",
        seconds=round(time.monotonic() - started, 3),
        phases=phases,
        cause=str(cause or ""),
        details=details,
    )
    verified = trial.holdings.record(backup, result)
    if cause is not None:
        raise VerificationFailed(f"verify backup {backup.id} at the level {level}", cause, verification=result.plain()) from cause
    return verified


def bad_files(text: str) -> tuple[list[str], dict[str, str]]:
    """Return what the log of ``pgbackrest verify`` finds at fault: files with the fault, and the status of each backup that is not valid."""
    files = [f"{match[2]} ({match[1]})" for match in _BAD_FILE.finditer(text)]
    return files, {match[1]: match[2] for match in _BAD_BACKUP.finditer(text) if match[2] != "valid"}


def unnamed_segments(text: str, files: t.Sequence[str]) -> int:
    """Return how many segments of the log were not valid without being named, so that none is passed over."""
    return sum(max(0, int(match[2]) - int(match[3]) - sum(name.startswith(f"{match[1]}/") for name in set(files))) for match in _LOG_COUNT.finditer(text))


def relevant(files: t.Iterable[str], entry: Entry) -> list[str]:
    """Return the files at fault that a restore of a backup reads: its own, those of what it is based on, and the log since its start."""
    found = []
    for name in files:
        first, rest = name.split("/", 1) if "/" in name else (name, "")
        segment = re.search(r"[0-9A-F]{24}", rest)
        if first in (entry.set.label, *entry.set.references) or (first == entry.set.archive_id and segment and segment[0][8:] >= entry.set.wal_start[8:]):
            found.append(name)
    return found


def _checksums(trial: Trial) -> dict[str, t.Any]:
    """Let pgBackRest read the whole repository and compare every checksum of the opened files."""
    engine, number = trial.holdings.engine, trial.holdings.repository.number
    lines: list[str] = []
    with current().phase(f"verify {engine.stanza}"):
        doing = f"read every file of {engine.describe(number)}"
        try:
            engine.run(doing, "verify", f"--repo={number}", "--output=text", "--verbose", "--job-retry=1", line=lines.append)
        except EngineError as error:
            # Newer versions end with an error when something is at fault; the log says what.
            lines.append(error.cause)
            if not any(_BAD_FILE.search(line) or _BAD_BACKUP.search(line) for line in lines):
                raise
    text = "\n".join(lines)
    files, backups = bad_files(text)
    own = sorted(set(relevant(files, trial.entry)))
    statuses = {label: backups[label] for label in (trial.entry.set.label, *trial.entry.set.references) if label in backups}
    if not own and (unnamed := unnamed_segments(text, files)):
        own = [f"{unnamed} segments of the log"]
    if own or statuses:
        said = [", ".join(own[:20]) or "no single file is named", *(f"{label} is {status}" for label, status in statuses.items())]
        raise VerificationFailed(doing, "; ".join(said), "use another backup")
    if f"backup: {trial.entry.set.label}, status: valid" not in text:
        raise MainstayError(doing, f"pgBackRest {engine.version_text} said nothing of {trial.entry.set.label}", "verify it at the level restore")
    return {"checksum": "valid", "faults_elsewhere": sorted(set(files))}


def restore_files(holdings: Holdings, entry: Entry, data_dir: str, options: t.Sequence[str]) -> None:
    """Let pgBackRest restore the files of a backup, showing its progress.

    Raises:
        EngineError: it failed.
    """
    engine, number = holdings.engine, holdings.repository.number
    with current().phase(f"restore {engine.stanza}", total=entry.set.bytes_plain) as phase:
        given = (f"--repo={number}", f"--set={entry.set.label}", f"--pg1-path={data_dir}", *options)
        engine.run(f"restore backup {entry.backup.id}", "restore", *given, line=lambda text: phase.advance(copied_bytes(text)))


def restore_command(holdings: Holdings, data_dir: str) -> str:
    """Return the ``restore_command`` for a server that we start ourselves: with our configuration, from this repository."""
    engine = holdings.engine
    words = " ".join(engine.argv("archive-get", f"--repo={holdings.repository.number}", f"--pg1-path={data_dir}", "--log-level-stderr=warn"))
    return f'{words} %f "%p"'


def _restore(trial: Trial, level: str, phases: dict[str, float], keeper: Keeper | None) -> dict[str, t.Any]:
    """Restore into a private folder, and for the level ``restore`` run a server there that checks what came out; remove it at the end, or let it be kept."""
    entry = trial.entry
    bin_dir = server_programs(entry.set.server_version, trial.bin_dir) if level == "restore" else ""
    try:
        with acting_as(trial.holdings.engine.user):
            folder = tempfile.mkdtemp(prefix="mainstay-verify-", dir=trial.work_dir)
            os.mkdir(f"{folder}/data", 0o700)
    except OSError as error:
        raise MainstayError(f"make a folder in {trial.work_dir}", error.strerror or error, "name another one in work_dir") from error
    data = f"{folder}/data"
    with contextlib.ExitStack() as stack:
        stack.callback(_remove, folder, phases)
        _check_space(trial.work_dir, entry.set.bytes_plain)
        moment = keeper.options if keeper and keeper.options else ["--type=immediate"]
        options = ["--archive-mode=off", *moment, f"--tablespace-map-all={folder}/tablespaces"]
        with timed(phases, "restore"):
            try:
                restore_files(trial.holdings, entry, data, options)
            except EngineError as error:
                if error.code in _ENVIRONMENT_CODES or not error.code or "No space left" in error.cause:
                    raise
                raise VerificationFailed(error.doing, error.cause) from error
        if level != "restore":
            return {}
        login, details = _run_server(trial, bin_dir, data, phases, stack)
        if keeper is not None:
            keeper.login = login
            keeper.stack.push(stack.pop_all())
        return details


def _remove(folder: str, phases: dict[str, float]) -> None:
    with timed(phases, "remove"):
        shutil.rmtree(folder, ignore_errors=True)


def _check_space(folder: str, needed: int) -> None:
    facts_of = os.statvfs(folder)
    free = facts_of.f_bavail * facts_of.f_frsize
    if free < needed:
        raise MainstayError(f"restore into {folder}", f"the cluster has {needed} bytes, and only {free} are free there", "name another folder in work_dir")


def _run_server(
    trial: Trial, bin_dir: str, data: str, phases: dict[str, float], stack: contextlib.ExitStack,
) -> tuple[Login, dict[str, t.Any]]:
    """Run a server on the restored files until the stack is left; return its login, and what was seen in it."""
    landings: list[Landing] = []
    settings = {
        "archive_mode": "off",
        "restore_command": restore_command(trial.holdings, data),
        "recovery_target_action": "promote",
        "fsync": "off",
        "full_page_writes": "off",
        "maintenance_work_mem": "128MB",
    }
    with timed(phases, "recover"):
        try:
            login = stack.enter_context(recovered_server(bin_dir, data, (trial.user, trial.holdings.engine.user), settings, landings.append))
        except (RecoveryFailed, TargetNotReached) as error:
            raise VerificationFailed(error.doing, error.cause) from error
    with timed(phases, "check"):
        details = _check(trial, login, bin_dir)
    landing = landings[0]
    landed_at = to_text(landing.last_commit) if landing.last_commit else to_text(trial.entry.set.stopped)
    return login, {**details, "landed_lsn": landing.lsn, "landed_at": landed_at}


def _check(trial: Trial, login: Login, bin_dir: str) -> dict[str, t.Any]:
    """Look at everything in the recovered server."""
    with connect(login) as connection:
        server = facts.read_server(connection)
        if server.in_recovery:
            raise VerificationFailed("check the restored server", "it is still in recovery")
        if server.system_identifier != trial.entry.set.system_identifier:
            raise VerificationFailed("check the restored server", f"it is the cluster {server.system_identifier}, not {trial.entry.set.system_identifier}")
        names = [database["name"] for database in facts.read_databases(connection)]
        amcheck_there = bool(rows(connection, "SELECT FROM pg_available_extensions WHERE name = 'amcheck'"))
    noted = {database["name"] for database in trial.entry.backup.require_manifest().contents["databases"]}
    if missing := sorted(noted - set(names)):
        raise VerificationFailed("check the restored server", f"the databases {', '.join(missing)}, which were there, are missing")
    databases = []
    for name in names:
        with connect(login, name) as connection:
            contents = facts.read_contents(connection, count_rows=False)
        databases.append({"name": name, "tables": contents["tables"], "estimated_rows": contents["estimated_rows"], "extensions": contents["extensions"]})
    amcheck = False
    program = f"{bin_dir}/pg_amcheck"
    if amcheck_there and os.access(program, os.X_OK):
        connection_options = ("-h", login.host, "-p", str(login.port), "-U", login.user, "--no-password", "--maintenance-db=postgres")
        jobs = f"--jobs={max(1, trial.holdings.engine.settings.jobs)}"
        command = Command((program, "--all", "--install-missing", "--heapallindexed", jobs, *connection_options), {"PGSSLMODE": "disable"}, cwd="/")
        try:
            run(command, "check the restored tables and indexes")
        except ProgramKilled:
            raise
        except MainstayError as error:
            raise VerificationFailed(error.doing, error.cause) from error
        amcheck = True
    answers = [ask(login, query) for query in trial.queries]
    return {"server_version": server.version, "databases": databases, "amcheck": amcheck, "verify_queries": answers, "warnings": []}
