# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on restored files: reached by a private socket only, watched while it recovers, stopped at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import re
import shutil
import tempfile
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import client
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect, rows
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import acting_as
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import parse_lsn
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, run, uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

PORT = 5432
"""Part of the socket's name only: the server listens on no address."""
POLL_SECONDS = 0.1
IDLE_SECONDS = 600.0
"""Recovery that neither replays nor says anything for so long counts as stuck; a single restore_command may take long."""
_NOT_REACHED = "recovery ended before configured recovery target was reached"
_STOPPED = re.compile(r"recovery stopping (?P<how>(?:before|after|at) .*)")
_PRELOAD = re.compile(r"^\s*shared_preload_libraries\s*=?\s*'([^']*)'", re.MULTILINE)
_COMMIT_TIME = re.compile(r"last completed transaction was at log time (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)")


class TargetNotReached(MainstayError):
    """The log ended before the recovery's target."""


class RecoveryFailed(MainstayError):
    """The restored files do not come up as a server."""


@dataclasses.dataclass(frozen=True)
class Landing:
    """Where a recovery ended.

    Args:
        stopped_by: the server's own words for why it stopped; empty at the end of the log.
        last_commit: time of the last commit that it replayed; None if it replayed none.
        lsn: position up to which it replayed.
        timeline: the timeline that it is on now.
        seconds: how long it took from the start.
    """

    stopped_by: str
    last_commit: datetime.datetime | None
    lsn: str
    timeline: int
    seconds: float


def server_programs(version: str, folder: str | None) -> str:
    """Return the folder of the server's programs of exactly a major version, which alone can run its files.

    Raises:
        MainstayError: they are not installed.
    """
    program = client.find_program("pg_ctl", int(version), folder, "the backup")
    if client.major_of(client.version_of(program)) != int(version):
        cause = f"the files of a server of version {version} run with that version only, and only {client.version_of(program)} is installed"
        raise MainstayError("find pg_ctl for the backup", cause, f"install the package postgresql-{version}")
    return os.path.dirname(program)


def control_data(bin_dir: str, data_dir: str) -> dict[str, str]:
    """Return what ``pg_controldata`` says of a data directory, by its own words."""
    text = run(Command((f"{bin_dir}/pg_controldata", data_dir), cwd="/"), f"read {data_dir}/global/pg_control")
    return {name.strip(): value.strip() for name, separator, value in (line.partition(":") for line in text.splitlines()) if separator}


_FROM_CONTROL = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
"""What must not be lower than on the server that wrote the log (PostgreSQL's documentation, "Hot Standby", "Administrator's Overview")."""


def settings_for(control: t.Mapping[str, str], folder: str, more: t.Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a server on restored files, whatever its own configuration says."""
    level = control.get("wal_level setting", "replica")
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": folder,
        "unix_socket_permissions": "0700",
        "hba_file": f"{folder}/pg_hba.conf",
        "ident_file": f"{folder}/pg_ident.conf",
        "external_pid_file": "",
        "hot_standby": "on",
        "wal_level": level if level in ("replica", "logical") else "replica",
        "ssl": "off",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_min_messages": "warning",
        "log_line_prefix": "",
        "log_timezone": "UTC",
        "timezone": "UTC",
        "lc_messages": "C",
        "log_checkpoints": "off",
        "autovacuum": "off",
        "huge_pages": "try",
        "max_wal_size": "4GB",
        "synchronous_standby_names": "",
        "primary_conninfo": "",
        **{name: control[words] for name, words in _FROM_CONTROL.items() if words in control},
        **more,
    }


@contextlib.contextmanager
def recovered_server(
    bin_dir: str, data_dir: str, users: tuple[str, str], more: t.Mapping[str, str], on_landing: t.Callable[[Landing], None], end_lsn: str = ""
) -> t.Iterator[Login]:
    """Start a server on restored files, wait until it has recovered and is open for writing, and yield its login; stop it at the end.

    Args:
        bin_dir: folder of the server's programs.
        data_dir: the restored files.
        users: a superuser of the cluster, and the operating-system user to run as (empty for the current one).
        more: further settings, such as ``restore_command``; they count before those in the files.
        on_landing: gets where the recovery ended.
        end_lsn: where it will end, if that is known, for the progress.

    Raises:
        TargetNotReached: the log ended before the target; the server is stopped.
        RecoveryFailed: it did not come up.
    """
    user, account = users
    with acting_as(account):
        folder = tempfile.mkdtemp(prefix="mainstay-recovery-")
    log = f"{folder}/log"
    try:
        for name, text in (("pg_hba.conf", "local all all trust\n"), ("pg_ident.conf", ""), ("postgresql.conf", "")):
            with acting_as(account), open(f"{folder}/{name}", "w", encoding="utf-8") as file:
                file.write(text)
        given = settings_for(control_data(bin_dir, data_dir), folder, {"shared_preload_libraries": preloaded(data_dir), **more})
        # On the command line, since the files' own postgresql.auto.conf counts before any file of ours. None of the settings is a secret.
        flags = " ".join(f"-c {name}={_shell(text)}" for name, text in {"config_file": f"{folder}/postgresql.conf", **given}.items())
        login = Login(host=folder, port=PORT, user=user, ssl_mode="disable", database="postgres")
        try:
            run(Command((f"{bin_dir}/pg_ctl", "-D", data_dir, "-l", log, "-W", "-s", "-o", flags, "start"), user=account, cwd="/"), "start the restored server")
            on_landing(_wait(login, data_dir, log, end_lsn))
            yield login
        finally:
            with uninterrupted():
                _stop(bin_dir, data_dir, account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def preloaded(data_dir: str) -> str:
    """Return the libraries that the restored configuration preloads, without which some extensions do not work; empty if it names none."""
    found = ""
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        for match in _PRELOAD.finditer(_read(f"{data_dir}/{name}")):
            found = match[1]
    return found


def _shell(text: str) -> str:
    """Quote for pg_ctl, which hands its options to a shell."""
    escaped = text.replace("'", "'\\''")
    return f"'{escaped}'"


def postmaster_pid(data_dir: str) -> int:
    """Return the process id of the server that runs on a data directory; 0 if none does.

    A pid file that was left behind names no process, or one that works in another folder.
    """
    try:
        with open(f"{data_dir}/postmaster.pid", encoding="utf-8", errors="replace") as file:
            pid = abs(int(file.readline().strip() or 0))
    except FileNotFoundError:
        return 0
    except (OSError, ValueError):
        return 0
    if not pid:
        return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        pass
    try:
        return pid if os.path.realpath(os.readlink(f"/proc/{pid}/cwd")) == os.path.realpath(data_dir) else 0
    except OSError:
        return pid


def _stop(bin_dir: str, data_dir: str, user: str) -> None:
    """Stop the server, at once if it does not want to."""
    for mode, wait in (("fast", "300"), ("immediate", "60")):
        if not postmaster_pid(data_dir):
            return
        with contextlib.suppress(MainstayError):
            run(Command((f"{bin_dir}/pg_ctl", "-D", data_dir, "-m", mode, "-w", "-t", wait, "-s", "stop"), user=user, cwd="/"), "stop the restored server")


def _wait(login: Login, data_dir: str, log: str, end_lsn: str) -> Landing:
    """Wait for the end of the recovery, showing how far it is."""
    started = seen_at = time.monotonic()
    last: tuple[t.Any, ...] = ()
    begun = None
    with current().phase("recover") as phase:
        while True:
            time.sleep(POLL_SECONDS)
            if not postmaster_pid(data_dir) and time.monotonic() - started > 1.0:
                raise _why(log)
            state = _state(login)
            size = os.path.getsize(log) if os.path.exists(log) else 0
            if state is not None and not state["recovering"]:
                text = _read(log)
                stopped = _STOPPED.search(text)
                return Landing(stopped["how"].strip() if stopped else "", state["committed"], state["lsn"] or "", state["timeline"], time.monotonic() - started)
            if state is not None and state["lsn"]:
                position = parse_lsn(state["lsn"])
                if begun is None:
                    begun = position
                    phase.total = max(0, parse_lsn(end_lsn) - begun) if end_lsn else None
                phase.reach(position - begun)
            seen = (state and state["lsn"], size)
            if seen != last:
                last, seen_at = seen, time.monotonic()
            elif time.monotonic() - seen_at > IDLE_SECONDS:
                raise RecoveryFailed("recover the restored server", f"nothing moved for {IDLE_SECONDS:.0f} seconds; it last said: {_tail(_read(log))}")


def _state(login: Login) -> dict[str, t.Any] | None:
    """Return whether the server still recovers and how far it is; None if it does not answer yet."""
    try:
        with connect(login) as connection:
            return rows(
                connection,
                """
                SELECT pg_is_in_recovery() AS recovering, pg_last_wal_replay_lsn()::text AS lsn, pg_last_xact_replay_timestamp() AS committed,
                       (SELECT CASE WHEN pg_is_in_recovery() THEN timeline_id
                               ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END FROM pg_control_checkpoint()) AS timeline
                """,
            )[0]
    except MainstayError:
        return None


def _why(log: str) -> MainstayError:
    """Return the error for a server that ended by itself."""
    text = _read(log)
    if _NOT_REACHED in text:
        match = _COMMIT_TIME.findall(text)
        until = f"; the last commit in it is of {match[-1]} UTC" if match else ""
        return TargetNotReached("recover the restored server to its target", f"the log ended before the target was reached{until}")
    return RecoveryFailed("recover the restored server", _tail(text) or "it ended without a word")


def _read(log: str) -> str:
    with contextlib.suppress(OSError), open(log, encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    faults = [line for line in lines if line.startswith(("FATAL", "PANIC", "ERROR", "HINT", "DETAIL"))]
    return " ".join((faults or lines)[-6:])
