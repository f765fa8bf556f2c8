# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_replication_info against a real primary with two standbys: what it returns, what it calls a problem, and what it waits for."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import subprocess
import threading
import time
import typing as t

import pytest
from conftest import SENTINEL, PostgresServer, Runner
from postgres_cluster import Cluster, number_of, streaming_cluster, until

Result = dict[str, t.Any]


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[Cluster]:
    """A primary and two standbys."""
    with streaming_cluster(server_root / "pg-info") as running:
        yield running


@pytest.fixture
def ask(cluster: Cluster, run_module: Runner) -> t.Callable[..., Result]:
    """Run the module on the cluster."""

    def run(**options: t.Any) -> Result:
        return run_module("pg_replication_info", {**cluster.access, **options})

    return run


def by_name(result: Result) -> dict[str, Result]:
    """Return the members of a result by their names."""
    return {member["name"]: member for member in result["members"]}


def test_a_healthy_cluster(cluster: Cluster, ask: t.Callable[..., Result]) -> None:
    cluster["data1"].query("CREATE TABLE seen AS SELECT 1")
    cluster.settle("data1", "data2", "data3")
    found = ask(wait_for="healthy", wait_timeout=10)
    assert not found["failed"] and not found["changed"] and found["healthy"] and found["problems"] == [], found
    assert found["primary"] == "data1" and found["primaries"] == ["data1"] and found["standbys"] == ["data2", "data3"]
    control = subprocess.run([f"{cluster['data1'].bin_dir}/pg_controldata", "-D", str(cluster["data1"].data_dir)], check=True, capture_output=True, text=True)
    assert f"{found['system_identifier']}\n" in control.stdout and found["timeline"] == 1 and found["seconds"] > 0
    members = by_name(found)
    for name, member in members.items():
        server = cluster[name]
        assert (member["host"], member["port"], member["reachable"], member["error"]) == ("127.0.0.1", server.port, True, "")
        assert member["version"] == cluster.one(name, "SHOW server_version") and member["system_identifier"] == found["system_identifier"]
        assert member["timeline"] == 1 and not member["replay_paused"]
    first, second = members["data1"], members["data2"]
    assert first["role"] == "primary" and second["role"] == "standby"
    assert number_of(first["written_lsn"]) <= number_of(cluster.one("data1", "SELECT pg_current_wal_lsn()"))
    assert first["received_lsn"] == first["replayed_lsn"] == first["last_commit"] == first["sync_state"] == second["written_lsn"] == ""
    assert number_of(second["received_lsn"]) >= number_of(second["replayed_lsn"]) > 0
    assert second["lag_bytes"] == 0 and second["lag_seconds"] == 0.0 and first["lag_bytes"] is None and first["lag_seconds"] is None
    assert second["streams"] and first["streams"] is None and second["upstream"] == ["data1"] and first["upstream"] == []
    assert second["sync_state"] == "async" and second["last_commit"].startswith("20") and second["last_commit"].endswith("Z")
    assert [slot["name"] for slot in first["slots"]] == ["slot_data2", "slot_data3"]
    assert first["slots"][0] == {"name": "slot_data2", "type": "physical", "active": True, "wal_status": "reserved", "retained_bytes": 0}


def test_synchronous_standbys(cluster: Cluster, ask: t.Callable[..., Result]) -> None:
    cluster.set("data1", "synchronous_standby_names", "FIRST 1 (nobody)")
    try:
        until(lambda: cluster.one("data1", "SHOW synchronous_standby_names"), "the setting")
        assert ask()["problems"] == ["synchronous_standby_names of data1 is set and no standby is synchronous, so that commits wait"]
        cluster.set("data1", "synchronous_standby_names", "*")
        until(lambda: "sync" in {member["sync_state"] for member in ask()["members"]}, "a synchronous standby")
        assert {member["sync_state"] for member in ask()["members"][1:]} == {"sync", "potential"}
    finally:
        cluster.set("data1", "synchronous_standby_names", "")
    until(lambda: ask()["healthy"], "health")


def test_a_standby_that_lags(cluster: Cluster, ask: t.Callable[..., Result]) -> None:
    cluster["data2"].query("SELECT pg_wal_replay_pause()")
    try:
        cluster["data1"].query("CREATE TABLE lagging AS SELECT generate_series(1, 20000)")
        end = number_of(cluster.one("data1", "SELECT pg_current_wal_lsn()"))
        until(lambda: number_of(by_name(ask())["data2"]["received_lsn"]) >= end, "receiving")
        found = ask(max_lag_bytes=1000)
        member = by_name(found)["data2"]
        assert member["replay_paused"] and member["lag_bytes"] >= end - number_of(member["replayed_lsn"]) > 1000 and member["lag_seconds"] > 0
        assert found["problems"] == ["data2 has paused replaying", f"data2 is {member['lag_bytes']} bytes behind data1, more than 1000"]
    finally:
        cluster["data2"].query("SELECT pg_wal_replay_resume()")


def test_a_standby_that_receives_nothing(cluster: Cluster, ask: t.Callable[..., Result]) -> None:
    before = cluster.cut_off("data3")
    try:
        until(lambda: not cluster.one("data1", "SELECT active FROM pg_replication_slots WHERE slot_name = 'slot_data3'"), "the end of the slot's use")
        cluster["data1"].query("CREATE TABLE kept AS SELECT generate_series(1, 1000)")
        found = ask(wait_for="primary")
        assert not found["failed"] and by_name(found)["data3"]["streams"] is False and by_name(found)["data3"]["upstream"] == []
        retained = by_name(found)["data1"]["slots"][1]["retained_bytes"]
        assert retained > 10000
        assert found["problems"] == ["data3 does not stream", f"nobody uses the slot slot_data3 of data1, which keeps {retained} bytes of the log"]
        late = ask(wait_for="healthy", wait_timeout=1)
        assert late["failed"] and "could not see healthy replication: within 1 seconds this did not pass: data3 does not stream" in late["msg"]
        again = threading.Timer(0.5, cluster.connect_again, [before])
        again.start()
        try:
            assert ask(wait_for="healthy", wait_timeout=20)["healthy"]
        finally:
            again.join()
    finally:
        cluster.connect_again(before)


def test_dead_members_and_other_clusters(cluster: Cluster, ask: t.Callable[..., Result], postgres_server: PostgresServer, closed_port: int) -> None:
    members = cluster.access["members"]
    dead = {"name": "data4", "host": "127.0.0.1", "port": closed_port}
    other = {"name": "data5", "host": "127.0.0.1", "port": postgres_server.port}
    found = ask(members=[*members, dead, other])
    assert not found["failed"] and not found["healthy"] and found["primary"] == "" and found["primaries"] == ["data1", "data5"]
    assert found["timeline"] is None and found["system_identifier"] == ""
    assert by_name(found)["data4"] == {**by_name(found)["data4"], "reachable": False, "error": "Connection refused", "role": "", "timeline": None, "slots": []}
    assert found["problems"][0] == "data4 does not answer (Connection refused)"
    assert found["problems"][1].startswith("the members belong to different clusters: data1 and data2 and data3 to ")
    assert found["problems"][2].startswith("data1 (timeline 1) and data5 (timeline 1) take writes at the same time")
    none = ask(members=[dead])
    assert none["problems"] == ["data4 does not answer (Connection refused)", "no member takes writes"]
    late = ask(members=members[1:], wait_for="primary", wait_timeout=1)
    assert late["failed"] and "could not see a primary: within 1 seconds this did not pass: no member takes writes" in late["msg"]


def test_a_host_that_says_nothing_takes_little_time(ask: t.Callable[..., Result], cluster: Cluster) -> None:
    """Nothing comes back from a host without power; a socket whose queue is full behaves so."""
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _number in range(4):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(full.getsockname())
        started = time.monotonic()
        found = ask(members=[*cluster.access["members"], {"name": "data4", "host": "127.0.0.1", "port": full.getsockname()[1]}])
    assert time.monotonic() - started < 6 and found["primary"] == "data1"
    assert found["problems"] == ["data4 does not answer (timed out)"]


def test_a_login_that_may_see_little(cluster: Cluster, ask: t.Callable[..., Result]) -> None:
    cluster["data1"].query(f"CREATE ROLE nobody LOGIN PASSWORD '{SENTINEL}'")
    cluster.settle("data1", "data2", "data3")
    found = ask(login_user="nobody")
    assert found["healthy"] and found["primary"] == "data1", found
    assert by_name(found)["data2"]["streams"] is None and by_name(found)["data2"]["upstream"] == [] and by_name(found)["data2"]["lag_bytes"] == 0


def test_no_secret_shows(cluster: Cluster, run_module: Runner) -> None:
    wrong = {**cluster.access, "login_password": SENTINEL + "x"}
    tasks = [
        {"mainstay.ops.pg_replication_info": options, "register": "found"}
        for options in (cluster.access, wrong, {**cluster.access, "wait_timeout": -1})
    ]
    done = run_module.tasks([{**task, "ignore_errors": True} for task in tasks], "-vvv")
    assert [result["failed"] for result in done.results] == [False, False, True], done.output
    assert all("authentication failed" in member["error"] for member in done.results[1]["members"])
    assert SENTINEL not in done.output and SENTINEL not in json.dumps(done.results)
