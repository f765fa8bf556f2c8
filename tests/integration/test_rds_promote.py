# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rds_promote against the cloud of the tests, whose replicas are real standbys."""

from __future__ import annotations

import typing as t

import psycopg2
import pytest
from cloud import Cloud, cloud
from policies import compare
from postgres_cluster import until
from rds_job import PASSWORD, Database, make, refused
from servers import Runner


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud(milliseconds=4) as started:
        yield started
        compare("rds_promote", started.control("calls"))


@pytest.fixture(scope="module")
def source(running: Cloud, run_module: Runner) -> Database:
    """An instance with a real server."""
    found = make(running, run_module, "shop", server=True)
    found.query("CREATE TABLE entries (number int); INSERT INTO entries VALUES (1)")
    return found


@pytest.fixture
def replica(source: Database, request: pytest.FixtureRequest) -> t.Iterator[Database]:
    """A replica of its own, with a figure of its lag."""
    name = request.node.name.removeprefix("test_").split("[")[0].replace("_", "-")[:50].rstrip("-")
    found = Database(source.cloud, source.run, name)
    found.rds().create_db_instance_read_replica(DBInstanceIdentifier=name, SourceDBInstanceIdentifier=source.name)
    found.wait()
    until(lambda: lag(found) is not None, "a figure of the lag")
    yield found
    source.cloud.control("mend")


def lag(replica: Database) -> float | None:
    """The newest figure that CloudWatch has."""
    found = replica.module("rds_promote", check=True, poll_interval=0.1, force=True)
    return t.cast("float | None", found["lag_seconds"])


def promote(replica: Database, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
    """Run the module."""
    return replica.module("rds_promote", check, poll_interval=0.1, **more)


def test_a_replica_is_promoted_once(replica: Database, source: Database) -> None:
    """It has what the source had, takes writes, and says what it was; a second run has nothing to do; the source goes on."""
    with pytest.raises(psycopg2.Error, match="read-only"):
        replica.query("INSERT INTO entries VALUES (2)")
    planned = promote(replica, check=True)
    assert (planned["writable"], replica.row()["ReadReplicaSourceDBInstanceIdentifier"]) == (None, "shop")
    made = promote(replica, login_password=PASSWORD, backup_retention_period=7)
    assert made["actions"] == planned["actions"] == [f"promote the replica {replica.name} of shop"] and made["diff"] == planned["diff"]
    assert made["diff"] == {"before": {"role": "replica"}, "after": {"role": "primary"}} and planned.keys() <= made.keys()
    row = replica.row()
    assert not row.get("ReadReplicaSourceDBInstanceIdentifier") and row["BackupRetentionPeriod"] == 7
    assert (made["writable"], made["source"], made["lag_seconds"] >= 0, made["changed"]) == (True, "shop", True, True)
    assert made["instance"] | {"arn": ""} == {
        "name": replica.name,
        "arn": "",
        "status": "available",
        "address": row["Endpoint"]["Address"],
        "port": 5432,
        "class": "db.t4g.small",
        "multi_az": False,
    }
    assert set(made["phases"]) == {"wait", "promote", "writable"} and made["seconds"] > 0
    replica.query("INSERT INTO entries VALUES (2)")
    assert (replica.query("SELECT number FROM entries ORDER BY 1"), source.query("SELECT number FROM entries")) == ([(1,), (2,)], [(1,)])
    for check in (True, False):
        again = promote(replica, check, login_password=PASSWORD)
        assert (again["changed"], again["actions"], again["source"], again["writable"]) == (False, [], "shop", None if check else True)
    assert "login_password is not given" in str(promote(replica)["warnings"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"db_instance_identifier": "shop"}, ["shop follows no source", "name the replica"]),
        ({"db_instance_identifier": "nobody"}, ["there is no instance nobody in eu-central-1"]),
        ({"wait_timeout": 0}, ["wait_timeout is 0"]),
    ],
)
def test_what_is_no_replica_is_refused(source: Database, options: dict[str, t.Any], words: list[str]) -> None:
    """In words, and before a call that changes something; in check mode too."""
    before = source.changes()
    for check in (True, False):
        refused(source.module("rds_promote", check, **options), *words)
    assert not source.changes() - before


def test_a_replica_that_lags_is_refused_unless_it_is_forced(replica: Database, source: Database) -> None:
    """One that does not follow at all as well; by force what it lacks is lost, and a warning says so."""
    source.cloud.control("sql", instance=replica.name, statement="SELECT pg_wal_replay_pause()")
    source.query("INSERT INTO entries VALUES (50)")
    until(lambda: (lag(replica) or 0) > 0, "a replica that is behind")
    before = source.changes()
    refused(promote(replica, max_lag=0), "s behind its source, more than max_lag, 0 s", "force=true")
    # While it is paused it does not look whom it follows.
    source.cloud.control("sql", instance=replica.name, statement="SELECT pg_wal_replay_resume()")
    source.cloud.control("sql", instance=replica.name, statement="ALTER SYSTEM SET primary_conninfo = ''")
    source.cloud.control("sql", instance=replica.name, statement="SELECT pg_reload_conf()")
    until(lambda: (lag(replica) or 0) < 0, "a replica that does not follow")
    refused(promote(replica), "it does not follow its source now (ReplicaLag is -1)")
    assert not source.changes() - before
    made = promote(replica, force=True, login_password=PASSWORD)
    assert made["writable"] and "promoted by force: it does not follow" in str(made["warnings"])


def test_a_promotion_that_was_cut_off_is_waited_for(replica: Database) -> None:
    """The answer is lost; AWS takes longer than the run; the next one waits, whatever the lag is by then."""
    replica.cloud.fault("lost_reply", "rds", "PromoteReadReplica")
    replica.cloud.control("set", change=1500)
    try:
        refused(promote(replica, wait_timeout=1), f"wait for the promotion of {replica.name}", "it is modifying", "after 1 s")
        made = promote(replica, max_lag=0, login_password=PASSWORD)
        assert (made["changed"], made["writable"]) == (True, True)
    finally:
        replica.cloud.control("set", change=30)
    assert replica.changes()["rds:PromoteReadReplica"] >= 2


def test_a_refusal_of_aws_is_told(replica: Database) -> None:
    """With the permission that is missing, and nothing was promoted."""
    replica.cloud.fault("error", "rds", "PromoteReadReplica", status=403, code="AccessDenied")
    refused(promote(replica), "promote the replica", "give the role the permission for the call PromoteReadReplica")
    assert replica.row()["ReadReplicaSourceDBInstanceIdentifier"] == "shop"
