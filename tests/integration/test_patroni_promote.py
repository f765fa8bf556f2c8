# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""patroni_promote and two real sites under a writer: planned, cut off, taken back, and with the source lost. Each test goes on where the last one ended."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import sys
import time
import typing as t

import playbooks
import pytest
from conftest import Runner
from patroni_cluster import API_PASSWORD, Member, PatroniCluster, Writer, arguments_of_processes, patroni_cluster, until

Result = dict[str, t.Any]
MEMBERS = {"postgresql": {"use_pg_rewind": True, "use_slots": True}}


@dataclasses.dataclass
class Sites:
    """Two clusters, of which one follows the other."""

    a: PatroniCluster
    b: PatroniCluster

    def multi_host(self) -> dict[str, t.Any]:
        """Return the arguments of a connection to whichever member of both takes writes."""
        one, other = self.a.multi_host(), self.b.multi_host()
        return {**one, **{name: f"{one[name]},{other[name]}" for name in ("host", "port")}}

    def writers(self) -> list[str]:
        """Return the names of the sites that take writes, as their servers say."""
        return [name for name, site in (("a", self.a), ("b", self.b)) if site.leader() is not None]


def follow(site: PatroniCluster, slot: str) -> Result:
    """Return how another site follows this one."""
    return {"host": ",".join(member.address for member in site.members), "port": site.members[0].port, "primary_slot_name": slot}


def promotion(site: PatroniCluster, other: PatroniCluster, slot: str, **options: t.Any) -> Result:
    """Return the module's options for a site to take over from its source."""
    planned = {"planned": True, "follow": follow(site, slot)} if options.get("planned", True) else {}
    return {**site.access, "source": {"endpoints": other.access["endpoints"], "ca_cert": other.ca_cert}, "wait_timeout": 60, **planned, **options}


@pytest.fixture(scope="module")
def sites(server_root: pathlib.Path) -> t.Iterator[Sites]:
    """Site a takes writes, and site b follows it."""
    slots = {"site_b": {"type": "physical"}}
    with patroni_cluster(server_root / "promote-a", names=["data1", "data2"], network="127.0.1", slots=slots, **MEMBERS) as a:
        following = follow(a, "site_b")
        with patroni_cluster(server_root / "promote-b", names=["dr1", "dr2"], network="127.0.2", standby_cluster=following, **MEMBERS) as b:
            yield Sites(a, b)


def receiver(member: Member) -> int:
    """Return the process that receives the log on a standby."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            parent = path.with_name("stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == member.postmaster() and b"walreceiver" in path.read_bytes():
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError(f"{member.name} receives nothing")


def role(sites: Sites, site: PatroniCluster, entries: t.Sequence[str], **variables: t.Any) -> tuple[int, int, str]:
    """Run parts of the role on one site as its inventory would; return the exit status, the number of tasks that changed something, and the output."""
    bundle = sites.a.folder / "authorities.crt"
    bundle.write_text("".join(pathlib.Path(each.ca_cert).read_text() for each in (sites.a, sites.b)))
    given = {
        "ansible_python_interpreter": sys.executable,
        "postgres_replication_members": [{"name": member.name, "address": member.address} for member in site.members],
        "postgres_replication_dcs_members": [{"name": f"voter{number}", "address": "127.0.0.1"} for number in range(3)],
        "postgres_replication_port": site.members[0].port,
        "postgres_replication_api_port": site.members[0].api_port,
        "postgres_replication_api_user": "admin",
        "postgres_replication_api_password": API_PASSWORD,
        "postgres_replication_control_ca_path": str(bundle),
        "postgres_replication_parameters": {"shared_buffers": "32MB", "max_connections": 100},
        "postgres_replication_wait_timeout": 90,
        **variables,
    }
    tasks = [{"ansible.builtin.include_role": {"name": "mainstay.ops.postgres_replication", "tasks_from": entry}} for entry in entries]
    path = sites.a.folder / "play.json"
    path.touch(0o600)
    path.write_text(json.dumps([{"name": "Role", "hosts": "all", "connection": "local", "vars": given, "tasks": tasks}]))
    done = playbooks.run(path, "-v", inventory=",".join(member.name for member in site.members))
    return done.returncode, sum(int(part.split()[0]) for part in done.stdout.split("changed=")[1:]), " ".join((done.stdout + done.stderr).split())


def names_source(site: PatroniCluster, slot: str) -> Result:
    """Return the variable that says whom a cluster follows."""
    hosts = [member.address for member in site.members]
    return {"hosts": hosts, "port": site.members[0].port, "api_port": site.members[0].api_port, "slot": slot}


def test_the_standby_cluster_is_described(sites: Sites, run_module: Runner) -> None:
    sites.a.patch(synchronous_mode=True)
    sites.b.patch(synchronous_mode=True)
    sites.a.settle()
    source = {"endpoints": sites.a.access["endpoints"], "ca_cert": sites.a.ca_cert}
    found = run_module("patroni_info", {**sites.b.access, "wait_for": "healthy", "source": source})
    assert not found["failed"] and found["standby_cluster"] and found["standby_leader"] == found["leader"] == sites.b.settle().name, found
    leader = sites.a.settle()
    expected = {"reachable": True, "problem": "", "leader": leader.name, "takes_writes": True, "streams": True, "timeline": 1}
    assert found["source"] == {**expected, "lag_bytes": found["source"]["lag_bytes"], "lag_seconds": found["source"]["lag_seconds"]}
    assert 0 <= found["source"]["lag_bytes"] < 1 << 20
    alone = run_module("patroni_info", sites.b.access)["source"]
    assert not alone["reachable"] and alone["problem"] == "source does not name it" and alone["lag_bytes"] is None
    not_one = run_module("patroni_info", {**sites.a.access, "source": source})
    assert not_one["standby_leader"] == "" and not_one["source"]["problem"] == "this cluster follows none"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"planned": False}, "answers and takes writes, and two writers would part the data; use planned=true, or fence it"),
        ({"planned": False, "source": None}, "the source cannot be seen (source does not name it)"),
        ({"planned": True, "fenced": True}, "planned and fenced are both true"),
        ({"planned": True, "follow": None}, "a planned promotion needs source and follow"),
        ({"planned": True, "api_password": "wrong"}, "refused the login (it answered 401"),
        ({"planned": True, "max_lag_bytes": -1}, "max_lag_bytes not negative"),
        ({"planned": False, "fenced": True, "source": None, "max_lost_bytes": 0}, "nobody knows how many bytes would be lost, and max_lost_bytes is 0"),
    ],
)
def test_what_is_unsafe_is_refused(sites: Sites, run_module: Runner, options: Result, words: str) -> None:
    before = sites.a.config(), sites.b.config()
    refused = run_module("patroni_promote", promotion(sites.b, sites.a, "site_a", **options))
    assert refused["failed"] and words in refused["msg"], refused
    assert (sites.a.config(), sites.b.config()) == before


def test_planned_loses_nothing(sites: Sites, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    options = promotion(sites.b, sites.a, "site_a")
    before = sites.a.config(), sites.b.config()
    checked = run_module("patroni_promote", options, check=True)
    assert (sites.a.config(), sites.b.config()) == before
    with arguments_of_processes() as seen, Writer(sites) as writer:
        done = run_module("patroni_promote", options)
    assert not done["failed"] and "warnings" not in done, done
    with capsys.disabled():
        print(f"\nplanned change of the site: gap {writer.gap:.2f} s, {len(writer.acknowledged)} rows acknowledged, {done['phases']}", end="")
    assert writer.lost() == set() and len(writer.acknowledged) > 40
    assert sites.writers() == ["b"]
    assert done["actions"] == checked["actions"] == [
        "hold the writes of the source ledger",
        "make the source ledger a standby cluster",
        "promote the standby cluster ledger",
        "take the hold off the source ledger, which follows now",
    ]
    assert {name: done[name] for name in ("changed", "promoted", "timeline_before", "timeline_after", "lost_bytes", "lost_seconds", "diff")} == {
        name: checked[name] for name in ("changed", "promoted", "timeline_before", "timeline_after", "lost_bytes", "lost_seconds", "diff")
    }
    assert done["promoted"] and (done["timeline_before"], done["timeline_after"], done["lost_bytes"], done["lost_seconds"]) == (1, 2, 0, 0.0)
    assert done["source_reachable"] and 0 < done["unwritable_seconds"] < done["seconds"] and done["leader"] == sites.b.settle().name
    # The old site follows on the new timeline, and nothing of the change is left in its settings.
    assert sites.a.settle() and {sites.a.call(member, "/patroni")[1]["timeline"] for member in sites.a.members} == {2}
    left = sites.a.config()
    assert left["standby_cluster"] == follow(sites.b, "site_a") and left["slots"] == {} and left["mainstay"] == {}
    assert left["postgresql"] == {**MEMBERS["postgresql"], "parameters": {}}
    assert sites.b.config()["slots"] == {"site_a": {"type": "physical"}} and "standby_cluster" not in sites.b.config()
    promoted = sites.b.config()["mainstay"]
    assert promoted == {"promoted_from_timeline": 1, "took_over_at": promoted["took_over_at"]} and 0 <= time.time() - promoted["took_over_at"] < 60
    for check in (True, False):
        again = run_module("patroni_promote", options, check=check)
        assert not again["changed"] and not again["promoted"] and again["actions"] == [], again
    assert seen and API_PASSWORD not in " ".join(seen) + str(done)


def test_a_converge_afterwards_changes_nothing(sites: Sites, run_module: Runner) -> None:
    for site, slots in ((sites.a, {}), (sites.b, {"site_a": {"type": "physical"}})):
        settings = {"synchronous_mode": True, "slots": slots, **MEMBERS}
        done = run_module("patroni_config", {**site.access, "settings": {**settings, "postgresql": {**MEMBERS["postgresql"], "parameters": {}}}})
        assert not done["failed"] and not done["changed"], done


def test_a_failure_before_the_promotion_is_taken_back(sites: Sites, run_module: Runner) -> None:
    options = promotion(sites.a, sites.b, "site_b", wait_timeout=4)
    number = receiver(sites.a.settle())
    os.kill(number, signal.SIGSTOP)
    try:
        with Writer(sites) as writer:
            failed = run_module("patroni_promote", options)
    finally:
        os.kill(number, signal.SIGCONT)
    assert failed["failed"] and "the arrival of all that the source wrote did not happen within 4 seconds" in failed["msg"], failed
    assert writer.lost() == set() and sites.writers() == ["b"]
    assert sites.b.config()["mainstay"]["promoted_from_timeline"] == 1 and "default_transaction_read_only" not in sites.b.config()["postgresql"]["parameters"]
    assert sites.b.setting(sites.b.settle(), "default_transaction_read_only") == "off"


def test_a_run_that_was_cut_off_is_finished(sites: Sites, run_module: Runner) -> None:
    options = promotion(sites.a, sites.b, "site_b")
    until(lambda: run_module("patroni_promote", options, check=True)["failed"] is False, "the way back of site a")
    with Writer(sites) as writer:
        process = run_module.start("patroni_promote", options)
        until(lambda: "standby_cluster" in sites.b.config(), "the turn of the source")
        process.kill()
        process.wait(10)
        time.sleep(2)
        assert sites.writers() == []
        done = run_module("patroni_promote", options)
    assert not done["failed"] and done["promoted"], done
    assert done["actions"][0] == "promote the standby cluster ledger"
    assert writer.lost() == set() and sites.writers() == ["a"]
    assert sites.b.settle() and list(sites.b.config()["mainstay"]) == ["took_over_at"] and sites.a.config()["slots"] == {"site_b": {"type": "physical"}}


def stop_sending(sites: Sites) -> int:
    """Have site a send nothing more to site b; return the process that was stopped."""
    follower = sites.b.settle().name
    with sites.a.connect(sites.a.settle()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_replication WHERE application_name = %s", (follower,))
        number = cursor.fetchone()[0]
    os.kill(number, signal.SIGSTOP)
    return number


def test_the_source_is_fenced_and_follows_later(sites: Sites, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    options = promotion(sites.b, sites.a, "site_a", planned=False, fenced=True)
    with Writer(sites.a) as writer:
        number = stop_sending(sites)
        time.sleep(1)
    refused = run_module("patroni_promote", {**options, "fenced": False})
    assert refused["failed"] and "answers and takes writes" in refused["msg"], refused
    too_much = run_module("patroni_promote", {**options, "max_lost_bytes": 1})
    assert too_much["failed"] and "bytes would be lost, and max_lost_bytes is 1" in too_much["msg"], too_much
    done = run_module("patroni_promote", options)
    os.kill(number, signal.SIGCONT)
    assert not done["failed"] and done["promoted"] and "still answers and says that it takes writes" in str(done["warnings"]), done
    with sites.b.connect(sites.b.settle()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT number FROM {writer.table}")
        lost = {number for number, unused in writer.acknowledged} - {row[0] for row in cursor.fetchall()}
    with capsys.disabled():
        print(f"\nsource fenced: {len(lost)} of {len(writer.acknowledged)} rows lost; said {done['lost_bytes']} bytes, {done['lost_seconds']} s", end="")
    assert lost and done["lost_bytes"] > len(lost)
    both = run_module("patroni_promote", options)
    assert both["failed"] and "both take writes" in both["msg"], both
    inventory = {"postgres_replication_standby_of": names_source(sites.b, "site_a"), "postgres_replication_site_slots": ["site_b"]}
    status, unused, output = role(sites, sites.a, ["site_follow"], **inventory)
    assert status != 0 and "What main alone has would be given up" in output and sites.writers() == ["a", "b"], output
    sites.b.patch(slots={"site_a": {"type": "physical"}})
    status, changed, output = role(sites, sites.a, ["site_follow"], **inventory, postgres_replication_giving_up="main")
    assert status == 0 and changed in (1, 2), output
    found = run_module("patroni_info", {**sites.a.access, "source": {"endpoints": sites.b.access["endpoints"], "ca_cert": sites.b.ca_cert}})
    assert found["healthy"] and found["timeline"] == found["source"]["timeline"] and found["source"]["takes_writes"] and found["source"]["streams"], found
    assert sites.writers() == ["b"] and sites.a.config()["slots"] == {}
    with sites.a.connect(sites.a.settle()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {writer.table}")
        assert cursor.fetchone()[0] <= len(writer.acknowledged) - len(lost) + 1


CONVERGE = ["patroni/look", "patroni/settings", "patroni/look", "patroni/standby"]


def test_the_role_leaves_a_promotion_alone(sites: Sites) -> None:
    inventory = {"postgres_replication_standby_of": names_source(sites.b, "site_a")}
    assert role(sites, sites.a, CONVERGE, **inventory)[0] == 0
    status, changed, output = role(sites, sites.a, CONVERGE, **inventory)
    assert status == 0 and changed == 0 and "takes writes although" not in output, output
    assert sites.a.config()["standby_cluster"] == follow(sites.b, "site_a")
    status, changed, output = role(sites, sites.a, ["site_promote"], **inventory)
    assert status != 0 and "answers and takes writes" in output, output
    planned = {**inventory, "postgres_replication_planned": True, "postgres_replication_source_slot": "site_b"}
    with Writer(sites) as writer:
        status, changed, output = role(sites, sites.a, ["site_promote"], **planned)
    assert status == 0 and changed == 1 and writer.lost() == set() and sites.writers() == ["a"], output
    # The old variable neither makes the cluster follow again nor changes anything; the run says what to do.
    status, changed, output = role(sites, sites.a, CONVERGE, **inventory)
    assert status == 0 and changed == 0 and "takes writes although postgres_replication_standby_of names" in output, output
    assert sites.writers() == ["a"] and "standby_cluster" not in sites.a.config()
    # The other one follows, and no variable of it says so.
    assert role(sites, sites.b, CONVERGE, postgres_replication_site_slots=["site_a"])[0] == 0
    status, changed, output = role(sites, sites.b, CONVERGE, postgres_replication_site_slots=["site_a"])
    assert status == 0 and changed == 0 and "although postgres_replication_standby_of is empty" in output, output
    assert sites.b.config()["standby_cluster"] == follow(sites.a, "site_b") and not sites.b.config()["slots"]


def test_the_source_is_lost(sites: Sites, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    options = promotion(sites.b, sites.a, "site_a", planned=False, fenced=True)
    with Writer(sites) as writer:
        stop_sending(sites)
        time.sleep(1)
        for member in sites.a.members:
            member.kill()
        ended = time.monotonic()
        refused = run_module("patroni_promote", {**options, "fenced": False})
        assert refused["failed"] and "whoever does not answer may still take writes" in refused["msg"], refused
        too_much = run_module("patroni_promote", {**options, "max_lost_seconds": 0.001})
        assert too_much["failed"] and "seconds would be lost, and max_lost_seconds is 0.001" in too_much["msg"], too_much
        checked = run_module("patroni_promote", options, check=True)
        assert checked["actions"] == ["promote the standby cluster ledger"] and sites.writers() == []
        done = run_module("patroni_promote", {**options, "max_lost_seconds": 300})
    assert not done["failed"] and done["promoted"] and sites.writers() == ["b"], done
    assert not done["source_reachable"] and done["lost_bytes"] is None and done["unwritable_seconds"] is None
    moments = dict(writer.acknowledged)
    lost = writer.lost()
    oldest = min((moments[row] for row in lost), default=ended)
    with capsys.disabled():
        print(f"\nsource lost: {len(lost)} of {len(moments)} rows lost, the oldest {ended - oldest:.2f} s old; bound {done['lost_seconds']} s", end="")
    # What the module said is the most that can have been lost, counted up to its own look, which was later.
    assert lost and ended - oldest < done["lost_seconds"]


def test_a_lost_site_that_started_again_cannot_be_rewound(sites: Sites, run_module: Runner) -> None:
    for member in sites.a.members:
        member.server.start()
    until(lambda: sites.writers() == ["a", "b"], "the old site's return", 90)
    timelines = [site.call(site.settle(), "/patroni")[1]["timeline"] for site in (sites.a, sites.b)]
    assert timelines[0] == timelines[1]
    inventory = {"postgres_replication_standby_of": names_source(sites.b, "site_a"), "postgres_replication_giving_up": "main"}
    status, unused, output = role(sites, sites.a, ["patroni/follow_check"], **inventory)
    assert status == 0 and "__postgres_replication_parted: true" in output, output
    # Without the check it would be a standby that never streams, and this is how that is seen.
    run_module("patroni_config", {**sites.a.access, "settings": {"standby_cluster": follow(sites.b, "site_a")}, "wait_timeout": 60})
    sites.a.settle()
    with Writer(sites.b):
        pass
    source = {"endpoints": sites.b.access["endpoints"], "ca_cert": sites.b.ca_cert}
    assert not run_module("patroni_info", {**sites.a.access, "source": source})["source"]["streams"]
