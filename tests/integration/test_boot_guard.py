# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role postgres_replication's guard: an old primary that comes back after a promotion never takes a write, and whoever may start does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time
import typing as t

import psycopg2
import pytest
from conftest import SENTINEL, as_server_user, free_port
from postgres_cluster import Cluster, streaming_cluster, until

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "roles/postgres_replication/files/boot_guard.py"
PYTHON = "/usr/bin/python3"
"""The host's own, as a unit runs it. It is run without any package beside its own library."""


def load() -> t.Any:
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location("boot_guard", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load()


class Guarded:
    """A cluster whose members start as systemd starts them: the guard first, and the server only if it agrees."""

    def __init__(self, cluster: Cluster) -> None:
        """Put the script where the user postgres can read it, and give the guard the login of standbys, which may do nothing else."""
        self.cluster = cluster
        self.script = cluster.folder / "boot_guard.py"
        shutil.copy(SCRIPT, self.script)
        self.script.chmod(0o644)
        cluster["data1"].query(f"CREATE ROLE guard LOGIN REPLICATION PASSWORD '{SENTINEL}'")
        with cluster.passfile.open("a") as file:
            file.write(f"*:*:replication:guard:{SENTINEL}\n")

    def command(self, name: str, *arguments: str, **ports: int) -> list[str]:
        """Return the command of the guard of one member; ``ports`` replace or add peers."""
        peers = {other: server.port for other, server in self.cluster.servers.items() if other != name} | ports
        server = self.cluster[name]
        argv = ["/usr/bin/env", f"PGPASSFILE={self.cluster.passfile}", "JOURNAL_STREAM=1:2", PYTHON, "-IS", str(self.script)]
        argv += ["--data-dir", str(server.data_dir), "--bin-dir", server.bin_dir, "--user", "guard", "--wait", "0"]
        for other, port in peers.items():
            argv += ["--peer", f"{other}=127.0.0.1:{port}"]
        return as_server_user([*argv, *arguments])

    def __call__(self, name: str, *arguments: str, **ports: int) -> tuple[int, str]:
        """Run the guard of a member; return its status and what it says."""
        done = subprocess.run(self.command(name, *arguments, **ports), capture_output=True, text=True, timeout=120, check=False)
        assert SENTINEL not in done.stdout + done.stderr and done.stdout == ""
        return done.returncode, done.stderr.strip()

    def start(self, name: str) -> bool:
        """Start a member as its unit does; tell whether it was started."""
        if self(name)[0]:
            return False
        self.cluster[name].control("start")
        return True


@pytest.fixture(scope="module")
def guarded(server_root: pathlib.Path) -> t.Iterator[Guarded]:
    """A primary and two standbys that can be rewound."""
    with streaming_cluster(server_root / "boot-guard", wal_log_hints="on") as cluster:
        guarded = Guarded(cluster)
        cluster.settle("data1", "data2", "data3")
        yield guarded


def test_who_may_start(guarded: Guarded) -> None:
    cluster = guarded.cluster
    assert guarded("data2") == guarded("data3") == (0, "")  # standbys, beside a primary
    cluster["data1"].control("-m", "fast", "stop")
    assert guarded("data1") == (0, "") and guarded.start("data1")  # the primary, whose peers are its standbys
    # No peer at all: a single server.
    alone = [part for part in guarded.command("data1") if not part.startswith("data") and part != "--peer"]
    assert subprocess.run(alone, capture_output=True, check=True).stderr == b""
    cluster.settle("data1", "data2", "data3")


def test_a_site_without_power_can_start_again(guarded: Guarded) -> None:
    dead = {"data2": free_port(), "data3": free_port()}
    status, said = guarded("data1", **dead)
    assert status == 0 and said.splitlines()[-1] == "<4>boot guard: no peer says whether another was promoted; this server starts as a primary"
    assert "<4>boot guard: data2 (127.0.0.1:" in said and "Connection refused" in said
    status, said = guarded("data1", "--when-alone", "refuse", **dead)
    assert status == 1 and len(said.splitlines()) == 1
    assert said.startswith("<3>boot guard: this server must not start as a primary: no peer says whether another was promoted (data2 (127.0.0.1:")
    # Somebody who knows that none was allows one start, and no more.
    once = guarded.cluster["data1"].data_dir.parent / "start-alone"
    refusing = ("--when-alone", "refuse", "--alone-once", str(once))
    status, said = guarded("data1", *refusing, **dead)
    assert status == 1 and said.endswith(f"allow one start: touch {once}")
    once.touch()
    status, said = guarded("data1", *refusing, **dead)
    assert status == 0 and said.splitlines()[-1].endswith("this server starts as a primary")
    assert guarded("data1", *refusing, **dead)[0] == 1
    # It is gone after any start, so that none is left for one that must not be.
    once.touch()
    assert guarded("data1", *refusing)[0] == 0 and not once.exists()


def test_an_old_primary_never_takes_a_write(guarded: Guarded) -> None:
    cluster = guarded.cluster
    cluster.kill("data1")
    cluster["data2"].query("SELECT pg_promote()")
    cluster.set("data3", "primary_conninfo", f"host=127.0.0.1 port={cluster['data2'].port} user=postgres passfile={cluster.passfile}")
    cluster["data2"].query("SELECT pg_create_physical_replication_slot('slot_data3')")
    cluster.settle("data2", "data3")
    status, said = guarded("data1")
    data1, data2, data3 = (cluster[name] for name in ("data1", "data2", "data3"))
    rejoin = f"rejoin it as a standby by pg_rewind or a new base backup, which leaves a standby.signal in {data1.data_dir}"
    must_not = "<3>boot guard: this server must not start as a primary:"
    assert status == 1
    assert said == f"{must_not} data2 (127.0.0.1:{data2.port}) is a primary on timeline 2, and this server was one on timeline 1; {rejoin}"
    wrote = []
    for _attempt in range(3):  # systemd tries again
        assert not guarded.start("data1")
        with contextlib.suppress(psycopg2.OperationalError):
            data1.query("CREATE TABLE split_brain (number int)")
            wrote.append(True)
    assert not wrote
    # The new primary is gone as well, but who followed it knows.
    status, said = guarded("data1", data2=free_port())
    assert status == 1 and f"data3 (127.0.0.1:{data3.port}) is a standby on timeline 2, this server is on 1, so another one was promoted" in said
    # The new primary itself may start again, right after its promotion too.
    data2.control("-m", "immediate", "stop")
    assert guarded("data2") == (0, f"<4>boot guard: data1 (127.0.0.1:{data1.port}) says nothing: {refusal(data1.port)}") and guarded.start("data2")
    cluster.settle("data2", "data3")


def refusal(port: int) -> str:
    """Return what psql says of a port that nobody listens on."""
    failed = f'psql: error: connection to server at "127.0.0.1", port {port} failed: Connection refused'
    return f"{failed} Is the server running on that host and accepting TCP/IP connections?"


def test_a_peer_that_starts_at_the_same_moment(guarded: Guarded) -> None:
    cluster = guarded.cluster
    cluster["data2"].control("-m", "immediate", "stop")
    later = threading.Timer(1.5, cluster["data2"].control, ["start"])
    later.start()
    try:
        status, said = guarded("data1", "--wait", "20", data3=free_port())
    finally:
        later.join()
    assert status == 1 and "is a primary on timeline 2" in said


def test_what_is_in_the_arguments_of_processes(guarded: Guarded) -> None:
    """A peer that takes connections and says nothing holds the guard up, but not for long, and no process shows the password."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = subprocess.Popen(guarded.command("data1", data2=port, data3=port), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            until(lambda: arguments_with("--no-psqlrc"), "the question")
            assert not arguments_with(SENTINEL)
        finally:
            _output, said = process.communicate(timeout=60)
    assert process.returncode == 0 and "data2 (127.0.0.1:" in said and SENTINEL not in said
    assert "no peer says whether another was promoted" in said


def arguments_with(word: str) -> list[str]:
    """Return the command lines of processes that hold a word."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [text] if word in text else []
    return found


def test_an_old_primary_that_was_rejoined(guarded: Guarded) -> None:
    cluster = guarded.cluster
    data1, data2 = cluster["data1"], cluster["data2"]
    data2.query("CHECKPOINT")
    source = f"host={data2.socket_dir} port={data2.port} user=postgres dbname=postgres passfile={cluster.passfile}"
    kept = (data1.data_dir / "postgresql.auto.conf").read_text()
    argv = [f"{data1.bin_dir}/pg_rewind", "-D", str(data1.data_dir), f"--source-server={source}", "-R"]
    subprocess.run(as_server_user(argv), check=True, cwd="/", capture_output=True, timeout=60)
    with (data1.data_dir / "postgresql.auto.conf").open("a") as file:
        file.write(f"\n{kept}primary_slot_name = ''\n")
    assert guarded("data1") == (0, "") and guarded.start("data1")
    cluster.settle("data2", "data1")
    assert cluster.one("data1", "SELECT pg_is_in_recovery()")


def test_an_old_primary_that_runs_is_stopped_when_a_peer_can_be_reached(guarded: Guarded) -> None:
    """Its start could not be prevented, since nobody answered then; a client writes to it until somebody does."""
    cluster = guarded.cluster
    data1, data3 = cluster["data1"], cluster["data3"]
    cluster["data2"].control("-m", "immediate", "stop")
    cluster["data1"].query("SELECT pg_promote()")
    standby = script_watch(guarded, "data1", data2=free_port(), data3=free_port())
    with standby as (watching, words):
        until(lambda: len([line for line in words() if "says nothing" in line]) == 2, "its word on both")
        time.sleep(1)
        assert watching.poll() is None and data1.query("SELECT 1")  # nobody answers: it goes on
        assert len([line for line in words() if "says nothing" in line]) == 2  # and that is said once
    cluster.kill("data1")
    data3.query("SELECT pg_promote()")
    data3.query("SELECT pg_switch_wal()")
    assert guarded("data1", data2=free_port(), data3=free_port())[0] == 0
    data1.control("start")
    with script_watch(guarded, "data1") as (watching, words), contextlib.suppress(psycopg2.Error):
        data1.query("CREATE TABLE split_brain (number int)")
        for number in range(1000):
            data1.query(f"INSERT INTO split_brain VALUES ({number})")
            time.sleep(0.1)
        raise AssertionError(f"it takes writes still; the guard says {words()}")
    assert watching.wait(120) == 3
    assert words()[-1].startswith("<3>boot guard: this server must not go on as a primary, and is stopped: data3 (127.0.0.1:")
    assert not (data1.data_dir / "postmaster.pid").exists()


@contextlib.contextmanager
def script_watch(guarded: Guarded, name: str, **ports: int) -> t.Iterator[tuple[subprocess.Popen[bytes], t.Callable[[], list[str]]]]:
    """Run the guard beside a member; yield its process, and how to read what it said."""
    said = guarded.cluster.folder / f"{name}.watch"
    with said.open("w") as file:
        process = subprocess.Popen(guarded.command(name, "--watch", "0.2", **ports), stderr=file)
    try:
        yield process, lambda: said.read_text().splitlines()
    finally:
        if ports:
            process.terminate()
            process.wait(60)


def test_what_it_cannot_read(guarded: Guarded) -> None:
    command = guarded.command("data1")
    command[command.index("--data-dir") + 1] = "/nowhere"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("<3>boot guard: could not read what this server is: pg_controldata: ")
    assert done.stderr.endswith("; look at /nowhere\n")
    assert subprocess.run([*command, "--peer", "data9"], capture_output=True, check=False).returncode == 2


def answer(standby: bool, timeline: int, cluster: str = "7", error: str = "") -> t.Any:
    """What a peer says."""
    return script.Answer(script.Peer("data2", "h", "5432"), error, cluster, standby, timeline)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([answer(False, 2)], "is a primary on timeline 2, and this server was one on timeline 2"),
        ([answer(False, 3)], "is a primary on timeline 3"),
        ([answer(False, 1)], ""),
        ([answer(True, 2)], ""),
        ([answer(True, 3)], "is a standby on timeline 3, this server is on 2"),
        ([answer(False, 1, "8")], "is the primary of another cluster (8, this one is 7)"),
        ([answer(True, 9, "8")], ""),
        ([answer(True, 2), answer(False, 5), answer(False, 3)], "is a primary on timeline 5"),
        ([answer(False, 9, error="no")], ""),
        ([], ""),
    ],
)
def test_what_speaks_against_a_start(answers: list[t.Any], words: str) -> None:
    found = script.objection(script.Local("7", 2, False), answers)
    assert words in found if words else found == ""


def test_what_the_journal_keeps(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(os.environ, "JOURNAL_STREAM", raising=False)
    local = script.Local("7", 2, False)
    given = script.arguments().parse_args(["--data-dir", "/data", "--bin-dir", "/bin", "--user", "guard", "--when-alone", "refuse"])
    assert script.decide(local, [answer(False, 1), answer(True, 1, "8")], given) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "boot guard: data2 (h:5432) is a primary on the older timeline 1; stop it and rejoin it"
    assert said[1] == "boot guard: data2 (h:5432) is a standby of another cluster (8)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("data2=10.0.0.2:5432", ("data2", "10.0.0.2", "5432")), ("a=[::1]:1", ("a", "::1", "1")), ("a=/run/postgresql:5432", ("a", "/run/postgresql", "5432"))],
)
def test_how_peers_are_named(text: str, expected: tuple[str, str, str]) -> None:
    peer = script.peer(text)
    assert (peer.name, peer.host, peer.port) == expected
