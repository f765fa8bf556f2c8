# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role postgres_replication's way to make a standby of a member without Patroni: by what its data allows, and without deleting any."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
from conftest import SENTINEL, PostgresServer, as_server_user, free_port
from postgres_cluster import Cluster, streaming_cluster, until

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "roles/postgres_replication/files/standby.py"


class Standbys:
    """A cluster, and the script for its members."""

    def __init__(self, cluster: Cluster) -> None:
        """Put the script where the user postgres can read it."""
        self.cluster = cluster
        self.script = cluster.folder / "standby.py"
        self.script.write_bytes(SCRIPT.read_bytes())
        self.script.chmod(0o644)

    def __call__(self, name: str, primary: str, *arguments: str) -> tuple[int, list[str], str]:
        """Make a member a standby; return the exit status, what was done, and what was said."""
        server = self.cluster[name]
        argv = ["/usr/bin/python3", "-IS", str(self.script), "--data-dir", str(server.data_dir), "--bin-dir", server.bin_dir, "--name", name]
        argv += ["--slot", f"slot_{name}", "--primary", f"{primary}=127.0.0.1:{self.cluster[primary].port}", "--user", "postgres", "--rewind-user", "postgres"]
        argv += ["--passfile", str(self.cluster.passfile), *arguments]
        done = subprocess.run(as_server_user(argv), capture_output=True, text=True, timeout=120, check=False, cwd="/")
        assert SENTINEL not in done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr.strip()

    def start(self, name: str) -> None:
        """Start a member with the settings that are its own."""
        server = self.cluster[name]
        path = server.data_dir / "postgresql.auto.conf"
        kept = [line for line in path.read_text().splitlines() if not line.startswith(("port", "unix_socket_directories"))]
        path.write_text("\n".join([*kept, f"port = '{server.port}'", f"unix_socket_directories = '{server.socket_dir}'"]) + "\n")
        server.control("start")

    def aside(self, name: str) -> list[pathlib.Path]:
        """Return what was moved aside."""
        return sorted(self.cluster[name].data_dir.parent.glob("data.lost-*"))


@pytest.fixture(scope="module")
def standbys(server_root: pathlib.Path) -> t.Iterator[Standbys]:
    """A primary and a standby that can be rewound."""
    with streaming_cluster(server_root / "standbys", standbys=("data2",), wal_log_hints="on") as cluster:
        yield Standbys(cluster)


def test_a_new_member_gets_a_base_backup(standbys: Standbys) -> None:
    cluster = standbys.cluster
    folder = cluster.folder / "data3"
    folder.mkdir()
    subprocess.run(["chown", f"--reference={cluster.passfile}", str(folder)], check=True)
    cluster.servers["data3"] = PostgresServer(cluster["data1"].bin_dir, folder / "data", folder, free_port())
    # A copy that was cut off has no control file; it is kept.
    subprocess.run(as_server_user(["mkdir", "--parents", f"{folder}/data/half"]), check=True)
    status, actions, said = standbys("data3", "data1")
    assert (status, said) == (0, "") and len(standbys.aside("data3")) == 1 and (standbys.aside("data3")[0] / "half").exists()
    assert [action.split(" aside")[0] for action in actions] == [
        "make the slot slot_data3 on data1",
        f"move {folder}/data",
        "take a base backup of data1",
        "follow data1",
    ]
    standbys.start("data3")
    cluster.settle("data1", "data3")
    assert cluster.one("data3", "SHOW primary_slot_name") == "slot_data3"
    assert "application_name=data3 passfile=" in cluster.one("data3", "SHOW primary_conninfo")


def test_what_runs_is_left_alone(standbys: Standbys) -> None:
    status, actions, said = standbys("data3", "data1")
    assert status == 1 and actions == [] and said.startswith("a server runs on ") and said.endswith("; stop it first")
    cluster = standbys.cluster
    cluster["data3"].control("-m", "fast", "stop")
    assert standbys("data3", "data2")[2] == "data2 is a standby itself; name the member that takes writes"
    assert standbys("data3", "data1") == (0, [], "")  # it is one already
    standbys.start("data3")


def test_a_former_primary_is_rewound(standbys: Standbys) -> None:
    cluster = standbys.cluster
    cluster["data1"].query("CREATE TABLE ledger (number int)")
    cluster.settle("data1", "data2", "data3")
    cluster["data3"].control("-m", "immediate", "stop")
    kept = cluster.cut_off("data2")
    cluster["data1"].query("INSERT INTO ledger VALUES (1)")  # what nobody received
    cluster.kill("data1")
    cluster["data2"].query("SELECT pg_promote()")
    cluster["data2"].query("CHECKPOINT")
    assert kept
    status, actions, said = standbys("data1", "data2")
    assert (status, said) == (0, "") and actions[0] == "make the slot slot_data1 on data2" and actions[-1] == "follow data2"
    assert actions[1].startswith("rewind to 0/") and "on timeline 1, where its history parted from that of data2" in actions[1]
    standbys.start("data1")
    cluster.settle("data2", "data1")
    assert cluster.one("data1", "SELECT count(*) FROM ledger") == 0 and not standbys.aside("data1")
    # A standby that crashed goes on where it was, from another primary.
    assert standbys("data3", "data2") == (0, ["make the slot slot_data3 on data2", "follow data2"], "")
    standbys.start("data3")
    cluster.settle("data2", "data3")


def test_what_cannot_be_rewound_is_copied(standbys: Standbys) -> None:
    cluster = standbys.cluster
    cluster["data2"].query("INSERT INTO ledger VALUES (2)")
    cluster.settle("data2", "data1", "data3")
    cluster.kill("data2")
    cluster["data1"].query("SELECT pg_promote()")
    cluster["data1"].query("CHECKPOINT")
    for path in (cluster["data2"].data_dir / "pg_wal").glob("0000000*"):
        if path.is_file():
            path.unlink()
    status, actions, said = standbys("data2", "data1")
    assert (status, said) == (0, "") and actions[1].startswith("find that pg_rewind cannot help: pg_rewind: ")
    assert actions[2].startswith("move ") and actions[3:] == ["take a base backup of data1", "follow data1"]
    assert len(standbys.aside("data2")) == 1
    standbys.start("data2")
    cluster.settle("data1", "data2")
    assert cluster.one("data2", "SELECT sum(number) FROM ledger") == 2
    cluster["data3"].control("-m", "fast", "stop")
    # What pg_rewind has copied has no slots of the time before.
    assert standbys("data3", "data1")[:2] == (0, ["make the slot slot_data3 on data1", "follow data1"])
    standbys.start("data3")
    cluster.settle("data1", "data3")


def test_whose_data_it_does_not_take(standbys: Standbys, server_root: pathlib.Path) -> None:
    cluster = standbys.cluster
    # This one was promoted behind everybody's back: it is newer than what calls itself the primary.
    cluster["data3"].query("SELECT pg_promote()")
    until(lambda: not cluster.one("data3", "SELECT pg_is_in_recovery()"), "the promotion of data3")
    cluster["data3"].control("-m", "fast", "stop")
    status, actions, said = standbys("data3", "data1")
    assert status == 1 and actions == [] and "is on timeline 4, and data1 is on the older timeline 3; so data1 may be the one that is out of date" in said
    with streaming_cluster(server_root / "others", standbys=()) as others:
        others["data1"].control("-m", "fast", "stop")
        stranger, cluster.servers["data3"] = others["data1"], cluster["data3"]
        cluster.servers["data9"] = stranger
        status, actions, said = standbys("data9", "data1")
        assert status == 1 and actions == [] and "is of another cluster (" in said and said.endswith("by postgres_replication_rejoin=data9")
        status, actions, said = standbys("data9", "data1", "--replace")
        assert (status, said) == (0, "") and actions[-2:] == ["take a base backup of data1", "follow data1"]
        assert len(list(stranger.data_dir.parent.glob(f"{stranger.data_dir.name}.lost-*"))) == 1
        del cluster.servers["data9"]
