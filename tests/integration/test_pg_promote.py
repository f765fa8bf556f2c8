# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_promote on real servers: a primary that is killed under a writer, what it says is lost against what the writer misses, and whatever it must refuse."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import typing as t

import pytest
from conftest import SENTINEL, Runner, free_port
from postgres_cluster import Cluster, Writer, add_standby, number_of, streaming_cluster, until

Result = dict[str, t.Any]
Ask = t.Callable[..., Result]
PLANNED = ("changed", "actions", "promoted", "primary", "old_primary", "timeline_before", "timeline_after", "loss_known", "following", "to_rejoin", "diff")
LOST = {"fenced_member": "data1", "accept_unknown_loss": True}


def asker(cluster: Cluster, run_module: Runner) -> Ask:
    """Return what runs the module on a cluster."""

    def run(check: bool = False, **options: t.Any) -> Result:
        return run_module("pg_promote", {**cluster.access, "wait_timeout": 20, **options}, check=check)

    return run


def refused(result: Result, words: str) -> None:
    """See that a run was refused with these words."""
    assert result["failed"] and not result["changed"] and words in result["msg"] and result["msg"].endswith("; nothing was changed"), result


def warned(result: Result) -> str:
    """Return the warnings of a run as one text."""
    return json.dumps(result.get("warnings", []))


def takes_writes(cluster: Cluster, name: str) -> bool:
    """Tell whether a server takes a write."""
    cluster[name].query("CREATE TABLE IF NOT EXISTS proof (number int)")
    return bool(cluster[name].query("INSERT INTO proof VALUES (1) RETURNING number"))


@pytest.fixture(scope="module")
def lost(server_root: pathlib.Path) -> t.Iterator[Cluster]:
    """A cluster whose primary will be lost, with rows that no standby has received. The tests that use it go on from each other."""
    with streaming_cluster(server_root / "pg-promote-lost", log_statement="ddl") as running:
        yield running


def test_a_primary_that_lives(lost: Cluster, run_module: Runner) -> None:
    ask = asker(lost, run_module)
    refused(ask(target="data2"), "data1 answers and takes writes: that is a switchover and no promotion; stop it and keep it stopped")
    refused(ask(fenced_member="data1"), "data1 is declared to be fenced, and it answers and takes writes")
    healthy = ask()
    assert not healthy["changed"] and healthy["promoted"] == "" and healthy["primary"] == "data1" and healthy["actions"] == []
    assert "data1 answers and takes writes, so nobody was promoted" in warned(healthy)
    # We cannot reach it, and the standbys can: a cut cable.
    unreachable = [{**member, "port": free_port()} if member["name"] == "data1" else member for member in lost.access["members"]]
    end = threading.Event()

    def write() -> None:
        while not end.wait(0.2):
            lost["data1"].query("SELECT txid_current(), pg_switch_wal()")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        until(lambda: lost.one("data2", "SELECT clock_timestamp() - last_msg_receipt_time < '1 s' FROM pg_stat_wal_receiver"), "a message")
        refused(ask(members=unreachable, **LOST), "got a message from the old primary")
    finally:
        end.set()
        thread.join()
    assert lost.one("data2", "SELECT pg_is_in_recovery()") and takes_writes(lost, "data1")


def test_a_primary_that_is_lost(lost: Cluster, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    ask = asker(lost, run_module)
    with Writer(lost["data1"]) as writer:
        receivers = lost.cut_off("data3", "data2")  # data2 receives a little more
        rows = len(writer.acknowledged)
        until(lambda: len(writer.acknowledged) > rows + 50, "rows that nobody receives")
        end = lost.one("data1", "SELECT pg_current_wal_lsn()")
        lost.kill("data1")
    lost.connect_again(receivers)
    refused(ask(), "data1 does not answer, and may still take writes where nobody here sees it")
    unknown = ask(fenced_member="data1")
    refused(unknown, "nobody knows how much data1 wrote after")
    assert [each["name"] for each in unknown["candidates"]] == ["data2", "data3"]
    assert unknown["candidates"][0]["behind_bytes"] == 0 < unknown["candidates"][1]["behind_bytes"] and unknown["lost_seconds"] > 0
    refused(ask(fenced_member="data1", primary_lsn=end), "bytes of the log that data1 (primary_lsn) has, 0 may be lost")
    refused(ask(target="data3", **LOST), "bytes of the log that data2 has, 0 may be lost")
    refused(ask(fenced_member="data3"), "data3 is declared to be fenced, and it answers as a standby")
    lost["data2"].query("SELECT pg_wal_replay_pause()")
    refused(ask(target="data2", **LOST), "it has paused replaying")
    lost["data2"].query("SELECT pg_wal_replay_resume()")
    options = {"fenced_member": "data1", "primary_lsn": end, "allow_loss": 1 << 20, "accept_unknown_loss": True}
    planned = ask(check=True, **options)
    assert lost.one("data2", "SELECT pg_is_in_recovery()") and lost["data2"].query("SELECT 1 FROM pg_replication_slots") == []
    done = ask(**options)
    assert not done["failed"], done
    assert {name: planned[name] for name in PLANNED} == {name: done[name] for name in PLANNED} and set(planned) == set(done)
    slot = "make the replication slot slot_data3 on data2"
    assert done["actions"] == [slot, "promote data2", "write a checkpoint on data2", "have data3 follow data2"]
    assert (done["promoted"], done["primary"], done["old_primary"]) == ("data2", "data2", "data1")
    assert (done["timeline_before"], done["timeline_after"]) == (1, 2) and done["following"] == ["data3"] and done["to_rejoin"] == ["data1"]
    before, after = "primary: data1\ntimeline: 1\ndata3 follows: data1\n", "primary: data2\ntimeline: 2\ndata3 follows: data2\n"
    assert done["diff"] == {"before": before, "after": after}
    assert set(planned["phases"]) == {"plan"} and set(done["phases"]) == {"plan", "promote", "checkpoint", "follow"} and done["seconds"] > 0
    check_loss(lost, writer, done, number_of(end))
    with capsys.disabled():
        print(f"\npg_promote: {len(writer.lost(lost['data2']))} rows of {len(writer.acknowledged)} lost, {done['lost_bytes']} bytes", end="")
        print(f", at most {done['lost_seconds']} s; phases {done['phases']}", end="")
    # Seen from outside, without patience: the timeline, the checkpoint, and that data3 has what is written now.
    assert re.search(r"Latest checkpoint's TimeLineID: +2\n", control_data(lost, "data2"))
    assert lost.one("data3", "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'") == 2
    assert lost.one("data2", "SELECT active FROM pg_replication_slots WHERE slot_name = 'slot_data3'")
    assert takes_writes(lost, "data2")
    until(lambda: lost["data3"].query("SELECT 1 FROM proof"), "the row on data3")


def control_data(cluster: Cluster, name: str) -> str:
    """Return what pg_controldata says of a server."""
    argv = [f"{cluster[name].bin_dir}/pg_controldata", "-D", str(cluster[name].data_dir)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def check_loss(cluster: Cluster, writer: Writer, done: Result, end: int) -> None:
    """Compare what the module says is lost with what the writer misses."""
    begins, missing = number_of(done["lsn"]), writer.lost(cluster["data2"])
    certain = {number for number, (before, _after) in writer.acknowledged.items() if before >= begins}
    possible = {number for number, (_before, after) in writer.acknowledged.items() if after > begins}
    assert len(certain) > 50 and len(possible - certain) <= 1
    assert certain <= missing <= possible
    # What was written between the look at the end and the kill is beyond what is known.
    assert done["lost_bytes"] == end - begins and not done["loss_known"]
    assert done["lost_seconds"] > 0 and done["candidates"][0]["behind_bytes"] == done["lost_bytes"]


def test_a_second_run_changes_nothing(lost: Cluster, run_module: Runner) -> None:
    ask = asker(lost, run_module)
    for options in ({"fenced_member": "data1", "primary_lsn": "0/1"}, {"target": "data2", **LOST}):
        for check in (True, False):
            again = ask(check=check, **options)
            assert not again["failed"] and not again["changed"] and again["actions"] == [] and again["following"] == ["data3"], again
            assert (again["promoted"], again["primary"], again["timeline_before"], again["timeline_after"]) == ("", "data2", 2, 2)
            assert again["lost_bytes"] == 0 and again["lost_seconds"] == 0.0 and again["to_rejoin"] == []
    refused(ask(target="data3", **LOST), "data2 answers and takes writes")


def test_two_primaries(lost: Cluster, run_module: Runner) -> None:
    lost["data1"].control("start")
    try:
        refused(asker(lost, run_module)(target="data2"), "data1 (timeline 1) and data2 (timeline 2) take writes at the same time")
        problems = run_module("pg_replication_info", lost.access)["problems"]
        assert problems[0].startswith("data1 (timeline 1) and data2 (timeline 2) take writes at the same time")
    finally:
        lost["data1"].control("-m", "immediate", "stop")


def test_what_must_not_show(lost: Cluster, run_module: Runner) -> None:
    """Neither the password in any output, nor the statement that may hold one in the server's log."""
    options = {**lost.access, **LOST, "primary_conninfo": f"host={{host}} port={{port}} user=postgres password={SENTINEL}"}
    lost["data3"].query("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1 user=postgres'")
    lost["data3"].query("SELECT pg_reload_conf()")
    until(lambda: not lost["data3"].query("SELECT 1 FROM pg_stat_wal_receiver"), "the end of the receiver")
    done = run_module.tasks([{"mainstay.ops.pg_promote": options}], "-vvv", "--diff")
    assert done.result["actions"] == ["have data3 follow data2"] and done.result["following"] == ["data3"], done.output
    assert "the primary_conninfo of data3 has a password" in warned(done.result)
    assert SENTINEL not in done.output and SENTINEL not in json.dumps(done.results)
    log = pathlib.Path(f"{lost['data3'].data_dir}.log").read_text()
    statements = [line for line in log.splitlines() if "ALTER SYSTEM" in line]
    assert statements and not [line for line in statements if SENTINEL in line or f"port={lost['data2'].port}" in line]


def test_a_target_that_another_standby_is_ahead_of(server_root: pathlib.Path, run_module: Runner) -> None:
    with streaming_cluster(server_root / "pg-promote-behind") as cluster:
        ask = asker(cluster, run_module)
        receivers = cluster.cut_off("data2")
        cluster["data1"].query("CREATE TABLE ahead AS SELECT generate_series(1, 1000)")
        cluster.settle("data1", "data3")
        cluster.kill("data1")
        cluster.connect_again(receivers)
        refused(ask(target="data2", allow_loss=1000, **LOST), "that data3 has, 1000 may be lost")
        done = ask(target="data2", allow_loss=1 << 20, **LOST)
        assert not done["failed"] and done["promoted"] == "data2" and done["following"] == [] and done["to_rejoin"] == ["data1", "data3"], done
        # The receiver of data3 may have begun anew at data2 by now, with the beginning of a segment; what was applied stays.
        applied = number_of(cluster.one("data3", "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"))
        bytes_ahead = applied - number_of(done["lsn"])
        assert done["lost_bytes"] == bytes_ahead > 1000
        assert f"data3 has {bytes_ahead} bytes more and has to be rewound" in warned(done)
        assert "data3 has applied what data2 does not have, and needs pg_rewind or a new base backup" in warned(done)
        assert cluster["data2"].query("SELECT 1 FROM pg_tables WHERE tablename = 'ahead'") == [] and takes_writes(cluster, "data2")


def test_a_primary_that_was_stopped(server_root: pathlib.Path, run_module: Runner) -> None:
    """Nothing is lost, and that is known; one standby receives from another, and the login may do little."""
    with streaming_cluster(server_root / "pg-promote-stopped", ["data2"]) as cluster:
        add_standby(cluster, "data3", "data2", "slot_data3")
        ask = asker(cluster, run_module)
        cluster["data1"].query(f"CREATE ROLE operator LOGIN PASSWORD '{SENTINEL}' IN ROLE pg_monitor; GRANT EXECUTE ON FUNCTION pg_promote TO operator")
        cluster.settle("data1", "data2", "data3")
        cluster["data1"].control("-m", "fast", "stop")
        match = re.search(r"Latest checkpoint location: +(\S+)", control_data(cluster, "data1"))
        assert match
        options = {"login_user": "operator", "fenced_member": "data1", "primary_lsn": match[1]}
        planned, done = ask(check=True, **options), ask(**options)
        assert not done["failed"] and done["promoted"] == "data2" and done["actions"] == planned["actions"] == ["promote data2"], done
        assert done["loss_known"] and done["lost_bytes"] == 0 and done["lost_seconds"] == 0.0
        assert done["following"] == ["data3"] and done["timeline_after"] == 2 and done["to_rejoin"] == ["data1"]
        assert "the login may not write a checkpoint on data2" in warned(planned) and warned(done) == warned(planned)
        assert cluster.one("data3", "SELECT received_tli FROM pg_stat_wal_receiver") == 2


def test_a_run_that_was_cut_off_is_finished(server_root: pathlib.Path, run_module: Runner, tmp_path: pathlib.Path) -> None:
    with streaming_cluster(server_root / "pg-promote-cut") as cluster:
        ask = asker(cluster, run_module)
        cluster.kill("data1")
        recovery = cluster.recovery("data2")
        os.kill(recovery, signal.SIGSTOP)
        try:
            late = ask(target="data2", repoint=False, **{**LOST, "wait_timeout": 1})
        finally:
            os.kill(recovery, signal.SIGCONT)
        assert late["failed"] and late["changed"] and "could not promote data2: it is still in recovery after 1 seconds; it was told" in late["msg"], late
        until(lambda: not cluster.one("data2", "SELECT pg_is_in_recovery()"), "the end of recovery")
        template = f"host={{host}} port={{port}} user=postgres application_name={{name}} passfile={cluster.passfile}"
        shown = tmp_path / "progress"
        shown.touch()
        options = {**cluster.access, **LOST, "primary_conninfo": template, "wait_timeout": 20}
        done = run_module("pg_promote", options, MAINSTAY_PROGRESS_FILE=str(shown))
        assert done["changed"] and done["promoted"] == "" and done["following"] == ["data3"], done
        assert done["actions"] == ["make the replication slot slot_data3 on data2", "have data3 follow data2"]
        assert cluster.one("data2", "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'") == "data3"
        assert {json.loads(line)["phase"] for line in shown.read_text().splitlines()} == {"wait until the standbys follow data2"}
        left = ask(repoint=False, target="data2")
        assert not left["changed"] and left["following"] == ["data3"]
