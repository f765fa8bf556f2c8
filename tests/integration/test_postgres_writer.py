# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of the drills on a real primary and standby: what it counts when the primary dies or hangs, and that its judge sees losses and second writers."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing as t

import psycopg2
import pytest
from patroni_cluster import certificates, until
from servers import SENTINEL, PostgresServer, as_server_user, free_port, postgresql

WRITER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/client/postgres_writer.py"
HOST = "127.0.0.1"
TIMEOUT = 2


@dataclasses.dataclass
class Pair:
    """A primary and its standby, and the writer at both as a user who may do no more than it needs.

    ``said`` is everything that the writer printed.
    """

    primary: PostgresServer
    standby: PostgresServer
    folder: pathlib.Path
    ca_file: pathlib.Path | None = None
    said: list[str] = dataclasses.field(default_factory=list)

    def command(self, name: str, run: str, *more: object, hosts: t.Sequence[PostgresServer] = ()) -> list[str]:
        """Return its command line; the standby is the first of the hosts, unless others are given."""
        argv = [sys.executable, str(WRITER), name, "--database", "drill", "--user", "app", "--run", run, "--timeout", str(TIMEOUT)]
        for server in hosts or (self.standby, self.primary):
            argv += ["--host", f"{HOST}:{server.port}"]
        argv += ["--ca-file", str(self.ca_file)] if self.ca_file else []
        return [*argv, "--log", str(self.log(run)), "--watch-log", str(self.folder / f"{run}-hosts.jsonl"), *map(str, more)]

    def log(self, run: str) -> pathlib.Path:
        """Return the path of a run's log."""
        return self.folder / f"{run}.jsonl"

    @contextlib.contextmanager
    def writing(self, run: str, *more: object, stop_file: pathlib.Path | None = None) -> t.Iterator[dict[str, t.Any]]:
        """Write while the block runs, then stop by a signal or by a file; what the writer printed is in the dictionary afterwards."""
        summary: dict[str, t.Any] = {}
        argv = self.command("run", run, *more, *(("--stop-file", stop_file) if stop_file else ()))
        environment = {**os.environ, "POSTGRES_WRITER_PASSWORD": SENTINEL}
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            until(lambda: len(self.attempts(run)) > 50, "the first rows")
            shown = pathlib.Path(f"/proc/{process.pid}/cmdline").read_text()
            assert "--database" in shown and SENTINEL not in shown
            yield summary
        finally:
            stop_file.touch() if stop_file else process.terminate()
            output, _errors = process.communicate(timeout=60)
            self.said.append(output)
        assert process.returncode == 0, output
        summary.update(json.loads(output))

    def attempts(self, run: str) -> list[dict[str, t.Any]]:
        """Return the log, line by line, read without the writer's help."""
        path = self.log(run)
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def acknowledged(self, run: str, client: str) -> list[dict[str, t.Any]]:
        """Return the acknowledged attempts of one client."""
        return [attempt for attempt in self.attempts(run) if attempt["client"] == client and "error" not in attempt]

    def judge(self, run: str, *more: object, expect: int = 0, password: str = SENTINEL, hosts: t.Sequence[PostgresServer] = ()) -> t.Any:
        """Judge a run; return what was printed."""
        environment = {**os.environ, "POSTGRES_WRITER_PASSWORD": password}
        argv = self.command("judge", run, *more, hosts=hosts)
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
        self.said += [done.stdout, done.stderr]
        assert done.returncode == expect, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def replicate_synchronously(self) -> None:
        """Let the primary acknowledge nothing that the standby does not have."""
        self.primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.query("SELECT pg_reload_conf()")
        until(lambda: self.primary.query("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), "the synchronous standby")

    def promote(self) -> float:
        """Make the standby a primary; return when this was done."""
        self.standby.control("promote")
        return time.time()

    def stored(self, run: str, client: str) -> set[int]:
        """Return the numbers that the promoted standby has."""
        return {row[0] for row in self.standby.query(f"SELECT number FROM drill_{run} WHERE client = '{client}'", "drill")}

    def close(self) -> None:
        """See that no password was printed or logged."""
        seen = "".join([*self.said, *(path.read_text() for path in self.folder.iterdir() if path.is_file())])
        assert self.said and SENTINEL not in seen


def processes(server: PostgresServer) -> list[int]:
    """Return the process ids of a server, the first of them its parent."""
    parent = int((server.data_dir / "postmaster.pid").read_text().splitlines()[0])
    found = [parent]
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


def send(server: PostgresServer, number: int) -> None:
    """Send a signal to all processes of a server, as to those of a host."""
    for process in processes(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def kill(server: PostgresServer) -> None:
    """End a server at once, as the loss of its host does."""
    send(server, signal.SIGKILL)
    # Where nobody waits for the dead, their numbers stay in use, and the next start would take this one for a server that runs.
    for path in (server.data_dir / "postmaster.pid", server.socket_dir / f".s.PGSQL.{server.port}.lock"):
        path.unlink()


@contextlib.contextmanager
def standby_of(primary: PostgresServer, folder: pathlib.Path) -> t.Iterator[PostgresServer]:
    """Yield a server that streams from another one."""
    data_dir = folder / "standby"
    standby = PostgresServer(primary.bin_dir, data_dir, folder, free_port())
    source = f"host={primary.socket_dir} port={primary.port} user=postgres"
    argv = [f"{primary.bin_dir}/pg_basebackup", "-D", str(data_dir), "-R", "-N", "-c", "fast", "-d", source]
    environment = {**os.environ, "PGPASSWORD": SENTINEL}
    subprocess.run(as_server_user(argv), check=True, cwd="/", env=environment, capture_output=True, timeout=60)
    with (data_dir / "postgresql.auto.conf").open("a") as file:
        file.write(f"port = {standby.port}\nwal_retrieve_retry_interval = '200ms'\n")
    standby.control("start")
    try:
        yield standby
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            standby.control("-m", "immediate", "stop")


def use_tls(server: PostgresServer, folder: pathlib.Path) -> pathlib.Path:
    """Give a server a certificate; return the authority's."""
    folder.mkdir()
    certificates(folder)
    for name in ("crt", "key"):
        path = server.data_dir / f"server.{name}"
        path.touch(0o600)
        path.write_bytes((folder / f"member.{name}").read_bytes())
        os.chown(path, server.data_dir.stat().st_uid, server.data_dir.stat().st_gid)
    server.query("ALTER SYSTEM SET ssl = on")
    server.query("SELECT pg_reload_conf()")
    return folder / "ca.crt"


@pytest.fixture
def start(server_root: pathlib.Path, tmp_path: pathlib.Path) -> collections.abc.Iterator[t.Callable[..., Pair]]:
    """Start a primary with a standby."""
    with contextlib.ExitStack() as stack:

        def run(tls: bool = False) -> Pair:
            folder = server_root / tmp_path.name
            primary = stack.enter_context(postgresql(folder))
            primary.query(f"CREATE ROLE app LOGIN PASSWORD '{SENTINEL}'")
            primary.query("CREATE DATABASE drill OWNER app")
            ca_file = use_tls(primary, folder / "tls") if tls else None
            pair = Pair(primary, stack.enter_context(standby_of(primary, folder)), tmp_path / "logs", ca_file)
            pair.folder.mkdir()
            stack.callback(pair.close)
            return pair

        yield run


def test_death_of_the_primary(start: t.Callable[..., Pair]) -> None:
    """Synchronous, over TLS: nothing is lost, the application finds the new primary, the sticky client stays, and the judge sees what is missing."""
    pair = start(tls=True)
    pair.replicate_synchronously()
    with pair.writing("death", "--rate", 100) as summary:
        killed = time.time()
        kill(pair.primary)
        promoted = pair.promote()
        until(lambda: pair.acknowledged("death", "application")[-1]["sent"] > promoted, "the application's next row")
    attempts = pair.attempts("death")
    for name in ("application", "sticky"):
        numbers = [attempt["number"] for attempt in attempts if attempt["client"] == name]
        assert numbers == list(range(1, len(numbers) + 1)), "a number was used twice, or left out"
    assert summary["primary"] == f"{HOST}:{pair.primary.port}"

    assert "WriteFailed" in pair.judge("death", expect=2), "a server that does not answer could be the primary"
    judged = pair.judge("death", hosts=[pair.standby])
    assert (judged["primary"], judged["lost"], judged["second_writer_rows"]) == (f"{HOST}:{pair.standby.port}", 0, 0)
    assert judged["timelines"] == [1, 2] and judged["second_primary_seconds"] == 0
    application, sticky = judged["clients"]["application"], judged["clients"]["sticky"]
    for name, found in (("application", application), ("sticky", sticky)):
        done = pair.acknowledged("death", name)
        assert found["acknowledged"] == len(done) == summary["clients"][name]["acknowledged"] > 20
        assert found["sent"] == found["acknowledged"] + found["failed"] and found["failed"] == sum(found["failed_by_kind"].values())
        assert found["last_acknowledged"] == done[-1]["ended"]
    assert sticky["last_acknowledged"] < promoted and sticky["failed_by_kind"]["connect"] >= 1
    assert {"closed", "connect", "no_primary"} & set(application["failed_by_kind"])
    moments = [attempt["ended"] for attempt in pair.acknowledged("death", "application")]
    gap = max(later - earlier for earlier, later in zip(moments, moments[1:]))
    assert judged["gap_seconds"] == pytest.approx(gap, abs=0.001) and killed - 1 < application["longest_gap_started"] < promoted

    gone = sorted(pair.stored("death", "application"))[3:6]
    pair.standby.query(f"DELETE FROM drill_death WHERE client = 'application' AND number IN ({', '.join(map(str, gone))})", "drill")
    judged = pair.judge("death", "--delete", hosts=[pair.standby], expect=1)
    assert (judged["lost"], judged["clients"]["application"]["lost_numbers"]) == (3, gone)
    with pytest.raises(psycopg2.errors.UndefinedTable):
        pair.stored("death", "sticky")
    assert "authentication failed" in pair.judge("death", hosts=[pair.standby], expect=2, password="wrong")
    pair.log("death").write_text('nothing of the kind\n{"client": "application"}\n')
    assert "line 1 is not an attempt" in pair.judge("death", hosts=[pair.standby], expect=2)


def test_primary_that_hangs_and_wakes_up(start: t.Callable[..., Pair], tmp_path: pathlib.Path) -> None:
    """The application gives up an answer that does not come; the old primary wakes up, says that it is one, and acknowledges nothing: it is synchronous."""
    pair = start()
    pair.replicate_synchronously()
    with pair.writing("hang", stop_file=tmp_path / "stop"):
        send(pair.primary, signal.SIGSTOP)
        try:
            promoted = pair.promote()
            until(lambda: pair.acknowledged("hang", "application")[-1]["sent"] > promoted, "the application's next row")
        finally:
            send(pair.primary, signal.SIGCONT)
        time.sleep(1)
    assert "2 servers say that they are the primary" in pair.judge("hang", expect=2)
    judged = pair.judge("hang", hosts=[pair.standby])
    assert (judged["lost"], judged["second_writer_rows"], judged["timelines"]) == (0, 0, [1, 2])
    assert judged["second_primary_seconds"] > 0.5
    assert judged["clients"]["sticky"]["last_acknowledged"] < promoted
    assert judged["clients"]["application"]["failed_by_kind"].get("timeout") == 1 and TIMEOUT < judged["gap_seconds"] < TIMEOUT + 30


def test_asynchronous_failover_loses_rows(start: t.Callable[..., Pair], tmp_path: pathlib.Path) -> None:
    """The standby was away when the primary died, and the old primary comes back as a second one: both are seen."""
    pair = start()
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text(f"{SENTINEL}\n")
    with pair.writing("late", "--password-file", password):
        pair.standby.control("-m", "fast", "stop")
        behind = time.time()
        until(lambda: pair.acknowledged("late", "application")[-1]["sent"] > behind + 0.5, "rows that the standby does not get")
        kill(pair.primary)
        pair.standby.control("start")
        promoted = pair.promote()
        until(lambda: pair.acknowledged("late", "application")[-1]["sent"] > promoted, "the application's next row")
        pair.primary.control("start")
        returned = time.time()
        until(lambda: pair.acknowledged("late", "sticky")[-1]["sent"] > returned + 0.5, "rows that the old primary takes in")
    judged = pair.judge("late", hosts=[pair.standby], expect=1)
    sticky, application = judged["clients"]["sticky"], judged["clients"]["application"]
    assert application["lost"] >= 20 and sticky["lost"] > application["lost"] and behind - 1 < application["lost_first"] < promoted < sticky["lost_last"]
    for name, found in (("application", application), ("sticky", sticky)):
        stored = pair.stored("late", name)
        absent = [attempt["number"] for attempt in pair.acknowledged("late", name) if attempt["number"] not in stored]
        assert found["lost"] == len(absent) and found["lost_numbers"] == absent[:20]
    late = [attempt for attempt in pair.acknowledged("late", "sticky") if attempt["sent"] > returned]
    assert len(late) <= judged["second_writer_rows"] <= len(late) + 20 and {attempt["timeline"] for attempt in late} == {1}
    assert judged["second_writer_seconds"] > 0.4 and judged["second_primary_seconds"] > 0.2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--rate", "0"), "must be above 0"),
        (("--timeout", "1"), "at least 2"),
        (("--password-file", "/nonexistent"), "No such file"),
        ((), "Connection refused"),
    ],
)
def test_bad_arguments_end_with_one_sentence(argv: tuple[str, ...], message: str, closed_port: int, tmp_path: pathlib.Path) -> None:
    """Nothing is written, and no traceback is shown."""
    where = ["--host", f"{HOST}:{closed_port}", "--database", "d", "--user", "u", "--run", "r", "--log", str(tmp_path / "log")]
    done = subprocess.run([sys.executable, str(WRITER), "run", *where, *argv], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr and not (tmp_path / "log").exists()
