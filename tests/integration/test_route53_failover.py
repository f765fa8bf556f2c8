# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""route53_failover against the cloud of the tests: real endpoints, real checks, and a client that asks the name servers."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time
import typing as t

import pytest
from cloud import FIXTURE, Cloud, cloud
from policies import compare, key_of
from ports import free_port
from postgres_cluster import until
from servers import Runner

APPLICATION = FIXTURE / "cloudsim" / "app.py"
ADDRESSES = {"primary": "127.0.0.2", "secondary": "127.0.0.3"}


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file, with changes that come into force soon."""
    with cloud() as started:
        started.control("set", sync=5)
        yield started
        compare("route53_failover", started.control("calls"))
        compare("route53_failover_info", started.control("calls"))


@dataclasses.dataclass
class World:
    """A hosted zone, and two small applications that its name can point at."""

    cloud: Cloud
    zone: str
    name: str
    port: int
    run: Runner
    processes: dict[str, subprocess.Popen[bytes]]

    def start(self, side: str) -> None:
        """Start the application of a side."""
        argv = [sys.executable, "-S", str(APPLICATION), ADDRESSES[side], str(self.port), f"app:{side}"]
        self.processes[side] = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def stop(self, side: str) -> None:
        """End the application of a side."""
        self.processes[side].kill()
        self.processes[side].wait(10)

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        """Return the module's options: both sides with a health check and a probe."""
        given: dict[str, t.Any] = {
            "endpoint_url": self.cloud.endpoint_url,
            "access_key": key_of("route53_failover"),
            "secret_key": "SentinelAWS",
            "region": "eu-central-1",
            "hosted_zone_id": self.zone,
            "name": self.name,
            "ttl": 10,
            "probes": 2,
            "min_interval": 0,
        }
        for side, address in ADDRESSES.items():
            check = {"type": "HTTP", "ip_address": address, "port": self.port, "path": "/health", "interval": 10, "failure_threshold": 2}
            given[side] = {"addresses": [address], "health_check": check, "probe": {"url": f"http://{address}:{self.port}/health"}}
        return {**given, **more}

    def __call__(self, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run the module."""
        return self.run("route53_failover", self.options(**more), check)

    def info(self) -> dict[str, t.Any]:
        """Run the info module."""
        names = ("endpoint_url", "access_key", "secret_key", "region", "hosted_zone_id", "name")
        return self.run("route53_failover_info", {**{name: self.options()[name] for name in names}, "access_key": key_of("route53_failover_info")})

    def records(self) -> list[dict[str, t.Any]]:
        """Return the zone's records, without those of the zone itself."""
        rows = self.cloud.client("route53").list_resource_record_sets(HostedZoneId=self.zone)["ResourceRecordSets"]
        return [row for row in rows if row["Type"] not in ("NS", "SOA")]


@pytest.fixture
def world(running: Cloud, run_module: Runner, request: pytest.FixtureRequest) -> t.Iterator[World]:
    """A zone of its own, and both sides up."""
    port = free_port()
    # Two zones of one name would answer for each other.
    zone = f"{request.node.name.removeprefix('test_').split('[')[0].replace('_', '-')[:40]}-{port}.example."
    made = running.client("route53").create_hosted_zone(Name=zone, CallerReference=request.node.name)["HostedZone"]["Id"]
    found = World(running, made.rpartition("/")[2], f"www.{zone}", port, run_module, {})
    for side in ADDRESSES:
        found.start(side)
    try:
        yield found
    finally:
        running.control("mend")
        running.control("set", sync=5)
        for side in ADDRESSES:
            found.stop(side)


def test_a_pair_is_made_moved_and_removed(world: World) -> None:
    """Each step planned in check mode, done, and done again without a change."""
    planned, made, again = world(check=True), world(), world()
    assert not planned["failed"] and planned["actions"] == made["actions"] and planned["changed"], (planned, made)
    assert (made["active"], made["previous_active"], made["change_status"]) == ("auto", "absent", "INSYNC")
    assert not again["changed"] and again["actions"] == [] and again["fingerprint"] == made["fingerprint"]
    checks = world.cloud.client("route53").list_health_checks()["HealthChecks"]
    assert len([check for check in checks if check["HealthCheckConfig"].get("Port") == world.port]) == 2
    until(lambda: world.cloud.addresses(world.name) == [ADDRESSES["primary"]], "the primary")

    name_servers = [f"127.0.0.1:{world.cloud.dns_port}"]
    pin = {"active": "secondary", "expect_active": "auto", "expect_fingerprint": made["fingerprint"], "verify": "authoritative", "name_servers": name_servers}
    planned, moved = world(check=True, **pin), world(**pin)
    assert not moved["failed"], moved
    assert planned["actions"] == moved["actions"] and planned["records"]["before"] == moved["records"]["before"]
    assert moved["health"]["secondary"] == {"health_check": True, "probed": True, "problem": ""}
    assert world.cloud.addresses(world.name) == [ADDRESSES["secondary"]]
    assert not world(active="secondary")["changed"]
    seen = world.info()
    assert (seen["active"], seen["last_switch"]["active"], seen["fingerprint"]) == ("secondary", "secondary", moved["fingerprint"])
    # There is no way back by itself.
    world.stop("secondary")
    until(lambda: False in world.info()["health"].values(), "a failing check")
    assert world.cloud.addresses(world.name) == [ADDRESSES["secondary"]]
    world.start("secondary")

    removed = world(state="absent")
    assert removed["changed"] and world.records() == [] and not world(state="absent")["changed"]
    left = world.cloud.client("route53").list_health_checks()["HealthChecks"]
    assert not [check for check in left if check["HealthCheckConfig"].get("Port") == world.port]


def test_clients_follow_within_ttl_and_some_seconds(world: World) -> None:
    """A client that resolves the name again and again sees the new side soon after the run has begun to switch."""
    assert not world()["failed"]
    until(lambda: world.cloud.addresses(world.name) == [ADDRESSES["primary"]], "the primary")
    seen: list[tuple[float, list[str]]] = []
    end = threading.Event()

    def client() -> None:
        while not end.wait(0.05):
            seen.append((time.time(), world.cloud.addresses(world.name)))

    thread = threading.Thread(target=client)
    thread.start()
    try:
        moved = world(active="secondary")
    finally:
        end.set()
        thread.join(30)
    assert not moved["failed"], moved
    call = next(each for each in reversed(world.cloud.control("calls")) if each["operation"] == "ChangeResourceRecordSets")
    first = next(moment for moment, found in seen if found == [ADDRESSES["secondary"]])
    assert first - call["time"] <= 10 + 5
    answers = [found for unused, found in seen]
    assert [] not in answers and answers == sorted(answers), "a client got no answer, or an old one after a new one"


def test_an_ill_target_is_refused(world: World) -> None:
    """Until it is well, or by force with a reason; with both ill nothing is moved."""
    assert not world()["failed"]
    before = world.records()
    world.stop("secondary")
    refused = world(active="secondary")
    assert refused["failed"] and refused["reason"] == "target_unhealthy" and world.records() == before
    world.stop("primary")
    assert world(active="secondary")["reason"] == "both_unhealthy" and world.records() == before
    assert "force_reason" in world(active="secondary", force=True)["msg"]
    forced = world(active="secondary", force=True, force_reason="the primary's region is on fire")
    assert (forced["active"], forced["forced"], forced["force_reason"]) == ("secondary", True, "the primary's region is on fire"), forced
    assert "on fire" in str(forced["warnings"])


def test_stale_decisions_and_flapping_are_refused(world: World) -> None:
    """What is live must be what was expected, and the last switch long enough ago."""
    assert not world()["failed"]
    for options in ({"expect_active": "secondary"}, {"expect_fingerprint": "0123456789abcdef"}):
        stale = world(active="secondary", **options)
        assert (stale["reason"], stale["active"]) == ("stale_expectation", "auto")
    assert world(active="secondary", min_interval=600)["reason"] == "flap_guard"
    assert world.info()["active"] == "auto"
    by_force = world(active="secondary", min_interval=600, force=True, force_reason="a drill")
    assert by_force["active"] == "secondary" and not by_force["failed"]


def test_what_somebody_else_writes_is_never_overwritten(world: World) -> None:
    """In the middle of a run, and before it."""
    assert not world()["failed"]
    began = world.cloud.calls()["route53:ListResourceRecordSets"]
    process = world.run.start("route53_failover", world.options(active="secondary", probes=6))
    until(lambda: world.cloud.calls()["route53:ListResourceRecordSets"] >= began + 2, "the module's reading")
    row = next(row for row in world.records() if row.get("Failover") == "PRIMARY")
    theirs = {**row, "ResourceRecords": [{"Value": "192.0.2.99"}]}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": theirs}]}
    world.cloud.client("route53").change_resource_record_sets(HostedZoneId=world.zone, ChangeBatch=batch)
    changed = world.records()
    found = world.run.finish(process)
    assert found["reason"] == "conflict" and world.records() == changed
    assert "192.0.2.99" in str(found["live"]) and "192.0.2.99" not in str(found["expected"])
    # A record of another kind at the name.
    other = {"Name": world.name, "Type": "A", "SetIdentifier": "third", "Failover": "SECONDARY", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.3"}]}
    mine = next(row for row in changed if row.get("Failover") == "SECONDARY")
    batch = {"Changes": [{"Action": "DELETE", "ResourceRecordSet": mine}, {"Action": "CREATE", "ResourceRecordSet": other}]}
    world.cloud.client("route53").change_resource_record_sets(HostedZoneId=world.zone, ChangeBatch=batch)
    refused = world(active="secondary")
    assert refused["reason"] == "foreign" and "third" in refused["msg"]


@pytest.mark.parametrize("fault", ["lost_reply", "lost_request", "throttle"])
def test_a_lost_or_refused_call_ends_well(world: World, fault: str) -> None:
    """The change is made once, whether its answer, the call itself or AWS's patience was lost."""
    assert not world()["failed"]
    world.cloud.fault(fault, "route53", "ChangeResourceRecordSets")
    moved = world(active="secondary")
    assert not moved["failed"] and moved["changed"], moved
    assert moved["change_status"] == ("UNKNOWN" if fault == "lost_reply" else "INSYNC")
    until(lambda: world.cloud.addresses(world.name) == [ADDRESSES["secondary"]], "the secondary")


def test_a_change_that_takes_long_is_told(world: World) -> None:
    """It is accepted, and the module says so; without a wait it does not ask."""
    assert not world()["failed"]
    world.cloud.control("set", sync=2000)
    slow = world(active="secondary", wait_timeout=1)
    assert slow["failed"] and slow["changed"] and slow["reason"] == "not_in_sync" and slow["change_id"].startswith("/change/")
    assert world.info()["active"] == "secondary"
    assert world(active="primary", wait=False)["change_status"] == "PENDING"


def test_weighted_records_move_without_health_checks(world: World) -> None:
    """By 100 and 0."""
    sides = {side: {"addresses": [address], "probe": {"url": f"http://{address}:{world.port}/health"}} for side, address in ADDRESSES.items()}
    made = world(method="weighted", active="primary", verify="testdns", **sides)
    assert not made["failed"] and "HealthCheckId" not in str(world.records()), made
    assert world.cloud.addresses(world.name) == [ADDRESSES["primary"]]
    assert world(method="weighted", active="secondary", verify="testdns", **sides)["previous_active"] == "primary"
    assert {world.cloud.addresses(world.name)[0] for unused in range(10)} == {ADDRESSES["secondary"]}
    assert world.info()["active"] == "secondary"
    assert "active cannot be auto" in world(method="weighted", **sides)["msg"]


def test_an_invisible_zone_and_a_missing_permission_are_one_sentence(world: World) -> None:
    """Before anything is changed."""
    before = world.cloud.calls()["route53:ChangeResourceRecordSets"]
    options = world.options(zone="nowhere.example")
    del options["hosted_zone_id"]
    assert "there is no public zone of this name" in world.run("route53_failover", options)["msg"]
    world.cloud.fault("error", "route53", "ListResourceRecordSets", code="AccessDenied", status=403, count=9)
    refused = world()
    assert "give the role the permission" in refused["msg"] and "SentinelAWS" not in str(refused)
    assert world.cloud.calls()["route53:ChangeResourceRecordSets"] == before


@dataclasses.dataclass
class Switched:
    """A world whose name hangs on an object in a bucket of another region."""

    world: World
    bucket: str

    @property
    def prefix(self) -> str:
        """Where the objects lie: below the name, as it is without its last dot."""
        return f"mainstay/{self.world.name.removesuffix('.')}"

    @property
    def storage(self) -> t.Any:
        """A client of S3."""
        return self.world.cloud.client("s3", region="eu-west-1")

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        """Return the module's options: a switch, both sides with a probe, and a look at what the name servers answer."""
        given: dict[str, t.Any] = {
            "method": "s3_switch",
            "active": "primary",
            "verify": "authoritative",
            "name_servers": [f"127.0.0.1:{self.world.cloud.dns_port}"],
            "switch": {"bucket": self.bucket, "region": "eu-west-1", "bucket_url": f"{self.world.cloud.endpoint_url}/{self.bucket}", "failure_threshold": 1},
        }
        for side, address in ADDRESSES.items():
            given[side] = {"addresses": [address], "probe": {"url": f"http://{address}:{self.world.port}/health"}}
        return self.world.options(**{**given, **more})

    def __call__(self, check: bool = False, diff: bool = False, **more: t.Any) -> dict[str, t.Any]:
        """Run the module."""
        return self.world.run("route53_failover", self.options(**more), check, diff)

    def keys(self) -> list[str]:
        """Return the last parts of the keys in the bucket."""
        return [row["Key"].rpartition("/")[2] for row in self.storage.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def hide(self) -> None:
        """Let nobody read without credentials."""
        self.storage.delete_bucket_policy(Bucket=self.bucket)

    def info(self, **more: t.Any) -> dict[str, t.Any]:
        """Run the info module."""
        names = ("endpoint_url", "secret_key", "region", "hosted_zone_id", "name")
        given = {name: self.world.options()[name] for name in names}
        return self.world.run("route53_failover_info", {**given, "access_key": key_of("route53_failover_info"), **more})

    def break_control_plane(self, kind: str = "lost_request", **options: t.Any) -> None:
        """Let Route 53's API not answer any more. Its checkers and name servers go on."""
        self.world.cloud.fault(kind, "route53", count=100_000, **options)

    def answers(self, side: str) -> None:
        """Wait until the name servers answer with a side."""
        until(lambda: self.world.cloud.addresses(self.world.name) == [ADDRESSES[side]], f"the {side}")

    def own_checks(self) -> list[dict[str, t.Any]]:
        """Return the health checks of this name, those of the sides and the switch's."""
        found = self.world.cloud.client("route53").list_health_checks()["HealthChecks"]
        configs = [check["HealthCheckConfig"] for check in found]
        return [config for config in configs if config.get("Port") == self.world.port or self.bucket in config.get("ResourcePath", "")]


@pytest.fixture
def switched(world: World) -> Switched:
    """A bucket that everybody may read."""
    found = Switched(world, f"switch-{world.zone.lower()}")
    found.storage.create_bucket(Bucket=found.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    row = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{found.bucket}/*"}
    found.storage.put_bucket_policy(Bucket=found.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [row]}))
    return found


def test_a_name_hangs_on_a_switch(switched: Switched) -> None:
    """Made, moved, moved back and removed: each step planned in check mode, done, and done again without a change."""
    planned, made, again = switched(check=True), switched(), switched()
    assert not made["failed"] and planned["actions"] == made["actions"] and len(made["actions"]) == 3, (planned, made)
    assert (made["active"], made["previous_active"], made["change_status"], made["switch"]["thrown"]) == ("primary", "absent", "INSYNC", False)
    assert not again["changed"] and again["actions"] == [] and again["fingerprint"] == made["fingerprint"] and again["change_status"] == "unchanged"
    assert switched.keys() == ["state"] and switched.world.cloud.addresses(switched.world.name) == [ADDRESSES["primary"]]
    records = switched.world.records()
    assert ["HealthCheckId" in row for row in records if row["Type"] == "A"] == [True, False]

    move = {"active": "secondary", "expect_active": "primary", "expect_fingerprint": made["fingerprint"]}
    planned, moved = switched(check=True, diff=True, **move), switched(diff=True, **move)
    action = f"put s3://{switched.bucket}/{switched.prefix}/failover, which makes the secondary active"
    assert not moved["failed"] and planned["actions"] == moved["actions"] == [action], (planned, moved)
    assert planned["diff"] == moved["diff"] and "is not there" in moved["diff"]["before"] and "is there" in moved["diff"]["after"]
    assert (moved["active"], moved["previous_active"], moved["switch"]["thrown"], moved["change_status"]) == ("secondary", "primary", True, "unchanged")
    assert moved["effective_after"] and moved["old_ttl"] == 10 and moved["health"]["secondary"]["probed"] and switched.world.records() == records
    assert not switched(active="secondary")["changed"]
    seen = switched.info()
    assert (seen["active"], seen["method"], seen["fingerprint"]) == ("secondary", "s3_switch", moved["fingerprint"])
    assert seen["last_switch"]["active"] == "secondary" and seen["switch_url"] == moved["switch"]["url"] and seen["control_plane"]

    # A dead secondary changes nothing: there is no way back by itself.
    switched.world.stop("secondary")
    assert not switched(active="secondary")["changed"]
    assert switched.world.cloud.addresses(switched.world.name) == [ADDRESSES["secondary"]]
    back = switched(active="primary", expect_active="secondary")
    assert not back["failed"] and switched.keys() == ["state"] and switched.info()["active"] == "primary"
    switched.world.start("secondary")

    switched(active="secondary", require_healthy=False)
    planned, removed = switched(check=True, state="absent"), switched(state="absent")
    assert planned["actions"] == removed["actions"] and removed["changed"]
    assert switched.world.records() == [] and switched.keys() == [] and switched.own_checks() == [] and not switched(state="absent")["changed"]


@pytest.mark.parametrize(("kind", "options"), [("lost_request", {}), ("error", {"status": 503, "code": "ServiceUnavailable"}), ("slow", {"seconds": 20})])
def test_a_switch_is_moved_while_the_control_plane_does_not_answer(switched: Switched, kind: str, options: dict[str, t.Any]) -> None:
    """By the data planes alone: the name servers answer with the secondary, and no record was touched."""
    made = switched()
    assert not made["failed"], made
    switched.break_control_plane(kind, **options)
    began = time.monotonic()
    moved = switched(active="secondary", expect_active="primary")
    assert not moved["failed"] and moved["changed"] and time.monotonic() - began < 90, moved
    assert switched.world.cloud.addresses(switched.world.name) == [ADDRESSES["secondary"]]
    assert moved["switch"]["control_plane"] is False and "does not answer" in str(moved["warnings"]) and moved["records"] == {"before": [], "after": []}
    assert switched(check=True, active="primary")["actions"] != [] and switched.keys() == ["failover", "state"]
    seen = switched.info(switch_url=moved["switch"]["url"])
    assert (seen["active"], seen["control_plane"], seen["fingerprint"]) == ("secondary", False, moved["fingerprint"])
    # What cannot do without the control plane waits for an answer that is only slow, and a minute for one that is none.
    if kind == "lost_request":
        assert switched.info()["failed"]
        assert switched(state="absent")["failed"] and switched.keys() == ["failover", "state"]
    switched.world.cloud.control("mend")
    again = switched(active="secondary")
    assert not again["changed"] and again["switch"]["control_plane"]


def test_without_a_switch_nothing_moves_while_the_control_plane_does_not_answer(switched: Switched) -> None:
    """An object that nobody looks for would be no failover."""
    switched.break_control_plane()
    refused = switched(active="secondary")
    assert refused["failed"] and refused["reason"] == "no_switch" and switched.keys() == []
    # A refusal is not silence.
    switched.world.cloud.control("mend")
    assert not switched()["failed"]
    switched.world.cloud.fault("error", "route53", "ListResourceRecordSets", code="AccessDenied", status=403, count=9)
    assert "give the role the permission" in switched(active="secondary")["msg"] and switched.keys() == ["state"]


def test_a_switch_that_the_checkers_cannot_see_is_refused(switched: Switched) -> None:
    """Before the object is put, and when the switch is made."""
    made = switched()
    policy = switched.storage.get_bucket_policy(Bucket=switched.bucket)["Policy"]
    switched.hide()
    refused = switched(active="secondary")
    assert refused["reason"] == "switch_unreadable" and "answers 403" in refused["msg"] and switched.keys() == ["state"]
    assert "would not work" in str(switched()["warnings"]) and switched.info()["active"] == "unknown"
    unchecked = {"switch": {**switched.options()["switch"], "check_readable": False}}
    assert switched(active="secondary", verify="none", **unchecked)["changed"] and switched.keys() == ["failover", "state"]
    switched.storage.put_bucket_policy(Bucket=switched.bucket, Policy=policy)
    assert not made["failed"] and switched.info()["active"] == "secondary"
    other = {**switched.options()["switch"], "bucket": "no-such-bucket"}
    assert "there is no such bucket" in switched(switch=other)["msg"]


@pytest.mark.parametrize(("fault", "skip"), [("lost_reply", 0), ("lost_reply", 1), ("lost_request", 1), ("throttle", 0)])
def test_lost_and_refused_writes_of_a_switch_end_well(switched: Switched, fault: str, skip: int) -> None:
    """Whether it is the state's or the object's."""
    assert not switched()["failed"]
    switched.world.cloud.fault(fault, "s3", "PutObject", skip=skip)
    moved = switched(active="secondary")
    assert not moved["failed"] and moved["changed"] and switched.keys() == ["failover", "state"], moved
    assert ("was lost" in str(moved.get("warnings"))) == (fault == "lost_reply")
    switched.world.cloud.fault(fault, "s3", "DeleteObject")
    assert not switched()["failed"] and switched.keys() == ["state"]


def test_of_two_that_move_a_switch_one_is_refused(switched: Switched) -> None:
    """The state is written only over the version that was read."""
    assert not switched()["failed"]
    began = switched.world.cloud.calls()["s3:GetObject"]
    process = switched.world.run.start("route53_failover", switched.options(active="secondary", probes=8))
    until(lambda: switched.world.cloud.calls()["s3:GetObject"] > began, "the module's reading")
    switched.storage.put_object(Bucket=switched.bucket, Key=f"{switched.prefix}/state", Body=b"mainstay active=primary at=1 token=theirs")
    found = switched.world.run.finish(process)
    assert found["reason"] == "conflict" and "theirs" in str(found["live"]) and "theirs" not in str(found["expected"]), found
    assert switched.keys() == ["state"]


def test_moves_of_a_switch_are_refused_as_those_of_records(switched: Switched) -> None:
    """A stale view, a move soon after another, an ill side, both of them; with Route 53's API or without."""
    assert not switched()["failed"]
    for options in ({"expect_active": "secondary"}, {"expect_fingerprint": "0123456789abcdef"}):
        assert switched(active="secondary", **options)["reason"] == "stale_expectation"
    assert switched(active="secondary", min_interval=600)["reason"] == "flap_guard"
    switched.break_control_plane()
    assert switched(active="secondary", min_interval=600)["reason"] == "flap_guard"
    switched.world.stop("secondary")
    assert switched(active="secondary")["reason"] == "target_unhealthy"
    switched.world.stop("primary")
    assert switched(active="secondary")["reason"] == "both_unhealthy" and switched.keys() == ["state"]
    forced = switched(active="secondary", force=True, force_reason="a drill")
    assert forced["active"] == "secondary" and forced["forced"] and switched.keys() == ["failover", "state"]


def seen_while(world: World, act: t.Callable[[], dict[str, t.Any]]) -> tuple[dict[str, t.Any], list[list[str]]]:
    """Return the result of something, and what a client that resolves the name without pause got meanwhile."""
    seen: list[list[str]] = []
    end = threading.Event()

    def client() -> None:
        while not end.wait(0.02):
            seen.append(world.cloud.addresses(world.name))

    thread = threading.Thread(target=client)
    thread.start()
    try:
        return act(), seen
    finally:
        end.set()
        thread.join(30)


def test_a_pair_comes_to_a_switch_and_leaves_it(switched: Switched) -> None:
    """No client gets another side's address meanwhile, though the new check, an inverted one, counts as ill at first; old checks go."""
    world = switched.world
    assert not world()["failed"]
    switched.answers("primary")
    hung, seen = seen_while(world, switched)
    assert not hung["failed"] and hung["previous_active"] == "auto", hung
    assert seen and all(found == [ADDRESSES["primary"]] for found in seen)
    assert [config["Inverted"] for config in switched.own_checks()] == [True]
    left = world()
    assert not left["failed"] and left["previous_active"] == "unknown" and "hung on a switch" in str(left["warnings"])
    assert [config.get("Inverted", False) for config in switched.own_checks()] == [False, False] and world.info()["active"] == "auto"


SABOTAGE = {
    "no wait for the checkers": "SwitchedFailover._await_check = lambda self, check: None",
    "no condition": "SwitchObject._put = lambda self, key, marker, condition, put=SwitchObject._put: put(self, key, marker, {})",
    "no object": "SwitchObject.throw = lambda self, marker: None",
}
"""What takes the place of a part of the module in its process, so that the tests above are seen to fail."""
SABOTAGED = """
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover_switch import SwitchedFailover
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_object import SwitchObject
{patch}
"""


def sabotaged(switched: Switched, folder: pathlib.Path, name: str, **more: t.Any) -> subprocess.Popen[str]:
    """Start the module with a part of it replaced; or whole, without a name."""
    (folder / "sitecustomize.py").write_text(SABOTAGED.format(patch=SABOTAGE.get(name, "")))
    return switched.world.run.start("route53_failover", switched.options(**more), PYTHONPATH=str(folder))


@pytest.mark.parametrize("name", ["", "no wait for the checkers"])
def test_only_without_the_wait_for_its_checkers_a_switch_shows_the_other_side(switched: Switched, tmp_path: pathlib.Path, name: str) -> None:
    """A name whose records come to hang on a check that nobody has looked by yet, in a zone whose changes are in force at once."""
    world = switched.world
    assert not world()["failed"]
    switched.answers("primary")
    world.cloud.control("set", sync=1)
    # So many looks until it counts that a slow machine cannot be slower; a module that waits would wait for as many real seconds.
    slow = {"switch": {**switched.options()["switch"], "interval": 30, "failure_threshold": 10}} if name else {}
    hung, seen = seen_while(world, lambda: world.run.finish(sabotaged(switched, tmp_path, name, **slow)))
    assert not hung["failed"], hung
    assert ([ADDRESSES["secondary"]] in seen) == bool(name), "the client saw the other side, or did not where it had to"


def test_without_its_condition_a_switch_overwrites_what_somebody_else_writes(switched: Switched, tmp_path: pathlib.Path) -> None:
    """As in the test of two that move it, of which nobody is refused then."""
    assert not switched()["failed"]
    began = switched.world.cloud.calls()["s3:GetObject"]
    process = sabotaged(switched, tmp_path, "no condition", active="secondary", probes=8)
    until(lambda: switched.world.cloud.calls()["s3:GetObject"] > began, "the module's reading")
    switched.storage.put_object(Bucket=switched.bucket, Key=f"{switched.prefix}/state", Body=b"mainstay active=primary at=1 token=theirs")
    found = switched.world.run.finish(process)
    assert not found["failed"] and switched.keys() == ["failover", "state"], found


def test_a_switch_that_is_not_thrown_is_noticed(switched: Switched, tmp_path: pathlib.Path) -> None:
    """By the look at the bucket, before the name servers are asked."""
    assert not switched()["failed"]
    found = switched.world.run.finish(sabotaged(switched, tmp_path, "no object", active="secondary"))
    assert found["failed"] and found["reason"] == "conflict" and switched.keys() == ["state"], found
    assert switched.world.cloud.addresses(switched.world.name) == [ADDRESSES["primary"]]


def test_options_that_do_not_fit_a_switch_are_refused(switched: Switched) -> None:
    """Before anything is made."""
    wrong: tuple[tuple[dict[str, t.Any], str], ...] = (
        ({"active": "auto"}, "active cannot be auto"),
        ({"verify": "testdns"}, "verify by authoritative"),
        ({"name_servers": None}, "give name_servers"),
        ({"switch": None}, "give switch with the bucket"),
        ({"primary": {"addresses": ["192.0.2.1"], "health_check_id": "x"}}, "give primary.probe instead"),
    )
    started = [(switched.world.run.start("route53_failover", switched.options(**options)), options, words) for options, words in wrong]
    for process, options, words in started:
        refused = switched.world.run.finish(process)
        assert refused["failed"] and words in refused["msg"], (options, refused)
    assert switched.keys() == [] and switched.own_checks() == []
