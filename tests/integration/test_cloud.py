# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cloud of the tests does what it claims: each behaviour is probed from outside with boto3, HTTP and DNS."""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import typing as t

import botocore.exceptions
import pytest
from cloud import Cloud, Load, Site, cloud, site
from postgres_cluster import until

SOON = {"Delay": 0.2, "MaxAttempts": 300}
"""How boto3's waiters wait."""


@pytest.fixture(scope="module")
def running() -> t.Iterator[Cloud]:
    """A cloud for all tests of this file."""
    with cloud() as started:
        yield started
        assert started.control("state")["errors"] == {}


@pytest.fixture
def shop(running: Cloud, request: pytest.FixtureRequest) -> t.Iterator[Site]:
    """A web service with two tasks of one release in the service blue."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:20].strip("-")
    with site(running, name) as made:
        made.service("blue", "app:v1", made.blue)
        made.wait_healthy(made.blue)
        yield made


@pytest.fixture
def mended(running: Cloud) -> t.Iterator[Cloud]:
    """The cloud, with no fault left behind."""
    yield running
    running.control("mend")


def code_of(error: pytest.ExceptionInfo[botocore.exceptions.ClientError]) -> str:
    """Return the code of an error of the API."""
    return str(error.value.response["Error"]["Code"])


def ask(made: Site, count: int = 60) -> collections.Counter[str]:
    """Ask the production listener often; return how often each image answered, or which status came instead."""
    return collections.Counter(image if status == 200 else str(status) for status, image in (made.get() for unused in range(count)))


def test_a_service_runs_real_processes(shop: Site) -> None:
    """Each task is a process with an address of its own, and its end is seen and mended."""
    until(lambda: shop.describe("blue")["deployments"][0]["rolloutState"] == "COMPLETED", "the end of the deployment")
    assert shop.describe("blue")["runningCount"] == 2
    tasks = shop.cloud.tasks("app:v1")
    assert len({task["address"] for task in tasks}) == 2 and all(pathlib.Path(f"/proc/{task['pid']}").exists() for task in tasks)
    subprocess.run(["kill", "-KILL", str(tasks[0]["pid"])], check=True)
    stopped = until(lambda: shop.ecs.list_tasks(cluster=shop.cluster, serviceName="blue", desiredStatus="STOPPED")["taskArns"], "a stopped task")
    found = shop.ecs.describe_tasks(cluster=shop.cluster, tasks=stopped)["tasks"][0]
    assert (found["stopCode"], found["containers"][0]["exitCode"]) == ("EssentialContainerExited", 137)
    until(lambda: len(shop.cloud.tasks("app:v1")) == 2, "a new task")
    shop.wait_healthy(shop.blue)


def test_a_task_that_is_run_once_tells_its_exit_code(shop: Site) -> None:
    """As a migration does; an image that does not exist says so."""
    codes = {}
    for image in ("app:v2-job", "app:v2-crash", "app:v2-missing"):
        made = shop.ecs.run_task(cluster=shop.cluster, taskDefinition=shop.definition(image), launchType="FARGATE", networkConfiguration=shop.network)
        arn = made["tasks"][0]["taskArn"]
        shop.ecs.get_waiter("tasks_stopped").wait(cluster=shop.cluster, tasks=[arn], WaiterConfig=SOON)
        found = shop.ecs.describe_tasks(cluster=shop.cluster, tasks=[arn])["tasks"][0]
        codes[image] = found["containers"][0].get("exitCode"), found["stopCode"]
    assert codes == {
        "app:v2-job": (0, "EssentialContainerExited"),
        "app:v2-crash": (1, "EssentialContainerExited"),
        "app:v2-missing": (None, "TaskFailedToStart"),
    }


def test_the_sample_application_runs_as_a_task(running: Cloud, tmp_path: pathlib.Path) -> None:
    """A release of it, started by gunicorn from its folder, answers through the load balancer."""
    build = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "app" / "build.py"
    made = subprocess.run([sys.executable, str(build), "--release", "1", "--output", str(tmp_path)], check=True, capture_output=True, text=True)
    release = tmp_path / "release"
    shutil.unpack_archive(json.loads(made.stdout)["path"], release)
    argv = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "ledger.wsgi:app"]
    environment = {"LEDGER_ADDRESS": "{address}", "LEDGER_WORKERS": "1", "LEDGER_REDIS_URL": "redis://127.0.0.1:1"}
    environment["LEDGER_DATABASE_URL"] = "postgresql://ledger@127.0.0.1:1/ledger"
    running.control("image", image="ledger", argv=argv, folder=str(release), environment=environment)
    with site(running, "ledger") as shop:
        for group in (shop.blue, shop.green):
            shop.elb.modify_target_group(TargetGroupArn=group, HealthCheckPath="/health/live")
        shop.service("blue", "ledger:1", shop.blue, 1, healthCheckGracePeriodSeconds=100_000)
        shop.wait_healthy(shop.blue, 1)
        connection = http.client.HTTPConnection(*shop.address, timeout=30)
        connection.request("GET", "/version")
        assert json.loads(connection.getresponse().read())["release"] == "1"
        connection.close()


def test_weights_are_followed_within_the_propagation_delay(shop: Site) -> None:
    """Not at once, but soon, and in proportion."""
    shop.service("green", "app:v2", shop.green)
    shop.wait_healthy(shop.green)
    with propagation(shop.cloud, 100):
        shop.weights(0, 100)
        assert shop.live_weights() == (0, 100) and "app:v1" in ask(shop, 10)
        shop.settle()
        assert set(ask(shop)) == {"app:v2"}
    shop.weights(50, 50)
    shop.settle()
    shares = ask(shop, 200)
    assert set(shares) == {"app:v1", "app:v2"} and 50 < shares["app:v1"] < 150


@contextlib.contextmanager
def propagation(running: Cloud, seconds: float) -> t.Iterator[None]:
    """Let changes of rules take so many seconds of AWS for a while."""
    before = running.control("state")["propagation"]
    running.control("set", propagation=seconds)
    try:
        yield
    finally:
        running.control("set", propagation=before)


def post(task: dict[str, t.Any], path: str) -> None:
    """Tell a task something directly."""
    connection = http.client.HTTPConnection(task["address"], task["port"], timeout=10)
    connection.request("POST", path)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_failing_target_becomes_unhealthy_and_gets_no_request(shop: Site) -> None:
    """After the threshold; a healthy one goes on alone."""
    shop.ecs.update_service(cluster=shop.cluster, service="blue", healthCheckGracePeriodSeconds=100_000)
    rows = shop.elb.describe_target_health(TargetGroupArn=shop.blue)["TargetHealthDescriptions"]
    ill = next(task for task in shop.cloud.tasks("app:v1") if task["address"] == rows[0]["Target"]["Id"])
    post(ill, "/health/fail")
    until(lambda: shop.states(shop.blue) == ["healthy", "unhealthy"], "an unhealthy target")
    rows = shop.elb.describe_target_health(TargetGroupArn=shop.blue)["TargetHealthDescriptions"]
    health = next(row["TargetHealth"] for row in rows if row["TargetHealth"]["State"] == "unhealthy")
    assert (health["Reason"], health["Description"]) == ("Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]")
    assert ask(shop, 40) == {"app:v1": 40}
    recent = [hit["address"] for hit in shop.cloud.control("hits") if hit["listener"] == shop.listener]
    assert len(recent) == 40 and ill["address"] not in recent
    post(ill, "/health/mend")
    shop.wait_healthy(shop.blue)


def test_an_ill_task_is_replaced_after_the_grace_period(shop: Site) -> None:
    """ECS stops a task that its load balancer finds unhealthy."""
    shop.ecs.update_service(cluster=shop.cluster, service="blue", healthCheckGracePeriodSeconds=0)
    ill = next(task for task in shop.cloud.tasks("app:v1") if task["group"] == "service:blue")
    post(ill, "/health/fail")
    until(lambda: ill["arn"] not in [task["arn"] for task in shop.cloud.tasks()], "the end of the task")
    assert "Health checks failed with these codes: [500]" in str(shop.describe("blue")["events"])
    shop.wait_healthy(shop.blue)


def test_a_group_without_a_rule_is_unused_and_refused(running: Cloud) -> None:
    """Its targets are not checked, and ECS makes no service for it."""
    with site(running, "unused") as made:
        for rule in (made.rule, made.test_rule):
            made.elb.modify_rule(RuleArn=rule, Actions=[{"Type": "forward", "TargetGroupArn": made.blue}])
        made.elb.register_targets(TargetGroupArn=made.green, Targets=[{"Id": "127.0.0.1", "Port": 1}])
        assert made.states(made.green) == ["unused"]
        with pytest.raises(botocore.exceptions.ClientError) as error:
            made.service("unused-green", "app:v1", made.green)
        assert code_of(error) == "InvalidParameterException"
        made.weights(100, 0)
        until(lambda: made.states(made.green) == ["unhealthy"], "the check of a target that is in use now")


@pytest.mark.parametrize(("drain", "expected"), [(200, 200), (0, 502)])
def test_draining_lets_requests_end(running: Cloud, drain: int, expected: int) -> None:
    """A request that is in progress when its task is stopped is answered; with a delay that is too short it is lost."""
    with site(running, f"drain-{drain}", drain) as made:
        made.service("blue", "app:v1", made.blue, 1)
        made.wait_healthy(made.blue, 1)
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(made.get("/sleep/2")[0]))
        thread.start()
        time.sleep(0.5)
        made.ecs.update_service(cluster=made.cluster, service="blue", desiredCount=0)
        if drain:
            until(lambda: made.states(made.blue) == ["draining"], "the draining target")
            assert made.get()[0] == 503
        thread.join(60)
        assert answers == [expected]


def deploy(made: Site, sabotage: str = "") -> None:
    """Move production from blue to green, in the right order or in a wrong one."""
    if sabotage == "shift before attach":
        made.weights(0, 100)
    made.service("green", "app:v2", made.green)
    if sabotage != "shift before attach":
        made.wait_healthy(made.green)
        made.weights(50, 50)
        made.settle()
        made.weights(0, 100)
    if sabotage not in ("no settle", "no drain"):
        made.settle()
    if sabotage == "no drain":
        time.sleep(0.1)
    made.ecs.update_service(cluster=made.cluster, service="blue", desiredCount=0)
    until(lambda: made.describe("blue")["runningCount"] == 0, "the end of blue")
    made.wait_healthy(made.green)
    made.settle()


@pytest.mark.parametrize("sabotage", ["", "no settle", "no drain", "shift before attach"])
def test_only_the_right_order_loses_no_request(running: Cloud, sabotage: str) -> None:
    """The right order loses none; each wrong one does, so that a test of a deployment can fail."""
    name = sabotage.replace(" ", "-") or "order"
    drain = 0 if sabotage == "no drain" else 30
    with site(running, name, drain) as made, propagation(running, 0 if sabotage == "no drain" else 40):
        made.service("blue", "app:v1", made.blue)
        made.wait_healthy(made.blue)
        with Load(made.address, path="/sleep/1.5" if sabotage == "no drain" else "/") as load:
            deploy(made, sabotage)
    assert (load.lost == 0) == (sabotage == ""), load.answers
    if not sabotage:
        assert load.answers["app:v1"] and load.answers["app:v2"] and load.total > 200


def test_a_rolling_deployment_loses_nothing_and_is_named(shop: Site) -> None:
    """A new deployment id is PRIMARY at once, and the old one ends; the breaker brings the old release back."""
    breaker = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    first = shop.describe("blue")["deployments"][0]["id"]
    with Load(shop.address) as load:
        shop.ecs.update_service(cluster=shop.cluster, service="blue", taskDefinition=shop.definition("app:v2"), deploymentConfiguration=breaker)
        begun = shop.describe("blue")
        assert [row["status"] for row in begun["deployments"]] == ["PRIMARY", "ACTIVE"]
        assert begun["deployments"][0]["id"] != first
        shop.ecs.get_waiter("services_stable").wait(cluster=shop.cluster, services=["blue"], WaiterConfig=SOON)
    assert load.lost == 0 and load.answers["app:v2"], load.answers
    shop.ecs.update_service(cluster=shop.cluster, service="blue", taskDefinition=shop.definition("app:v3-crash"))
    until(lambda: [row["taskDefinition"] for row in shop.describe("blue")["deployments"]] == [begun["taskDefinition"]], "the rollback")
    assert set(ask(shop, 10)) == {"app:v2"}


def test_the_native_strategy_moves_bakes_and_cleans_up(running: Cloud) -> None:
    """ECS's own canary: test traffic, a share, a pause that is answered, all, a bake, and blue is gone; nothing is lost."""
    with site(running, "native") as made:
        hook = {"targetType": "PAUSE", "lifecycleStages": ["POST_TEST_TRAFFIC_SHIFT"]}
        canary = {"canaryPercent": 10, "canaryBakeTimeInMinutes": 1}
        native(made, {"strategy": "CANARY", "bakeTimeInMinutes": 1, "canaryConfiguration": canary, "lifecycleHooks": [hook]})
        with Load(made.address) as load:
            arn = begin(made, "app:v2")
            waiting = until(lambda: [row for row in service_deployment(made, arn)["lifecycleHookDetails"] if row["status"] == "AWAITING_ACTION"], "the pause")
            assert made.live_weights() == (100, 0) and made.live_weights(made.test_rule) == (0, 100)
            made.ecs.continue_service_deployment(serviceDeploymentArn=arn, hookId=waiting[0]["hookId"], action="CONTINUE")
            until(lambda: made.live_weights() == (90, 10), "the canary")
            found = service_deployment(made, arn)
            assert (found["status"], found["targetServiceRevision"]["requestedProductionTrafficWeight"]) == ("IN_PROGRESS", 10.0)
            until(lambda: service_deployment(made, arn)["status"] == "SUCCESSFUL", "the end of the deployment")
        assert load.lost == 0 and load.answers["app:v2"] > 50, load.answers
        assert made.live_weights() == (0, 100) and set(ask(made, 20)) == {"app:v2"}
        until(lambda: made.states(made.blue) == [], "the end of blue")


def test_the_native_strategy_rolls_back_on_an_alarm(running: Cloud) -> None:
    """A release that fails half of its requests sets the alarm off, and blue comes back; users see only the canary's share."""
    with site(running, "alarm") as made:
        alarm = {"alarmNames": ["alarm-5xx"], "enable": True, "rollback": True}
        canary = {"canaryPercent": 20, "canaryBakeTimeInMinutes": 5}
        native(made, {"strategy": "CANARY", "bakeTimeInMinutes": 5, "canaryConfiguration": canary, "alarms": alarm})
        alarms = running.client("cloudwatch")
        alarms.put_metric_alarm(
            AlarmName="alarm-5xx",
            Namespace="AWS/ApplicationELB",
            MetricName="HTTPCode_Target_5XX_Count",
            Dimensions=[{"Name": "TargetGroup", "Value": made.green.split(":")[-1]}],
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=5,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )
        before = made.describe("web")["taskDefinition"]
        with Load(made.address) as load:
            arn = begin(made, "app:v2-errors")
            until(lambda: service_deployment(made, arn)["status"] == "ROLLBACK_SUCCESSFUL", "the rollback")
        found = service_deployment(made, arn)
        assert found["alarms"]["triggeredAlarmNames"] == ["alarm-5xx"] and found["rollback"]["reason"]
        assert made.describe("web")["taskDefinition"] == before and made.live_weights() == (100, 0)
        assert 5 < load.lost < load.total / 5, load.answers
        assert set(ask(made, 20)) == {"app:v1"}


def test_a_service_deployment_is_stopped_by_hand(running: Cloud) -> None:
    """A release that never becomes healthy moves no traffic, and a stop brings the old one back."""
    with site(running, "stop") as made:
        native(made, {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 1})
        arn = begin(made, "app:v2-unready")
        until(lambda: service_deployment(made, arn).get("lifecycleStage") == "SCALE_UP", "the start of green")
        made.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
        until(lambda: service_deployment(made, arn)["status"] == "ROLLBACK_SUCCESSFUL", "the rollback")
        assert made.live_weights() == (100, 0) and set(ask(made, 20)) == {"app:v1"}


def native(made: Site, configuration: dict[str, t.Any]) -> None:
    """Make the service web with one of ECS's own strategies, and wait for its first release."""
    advanced = {
        "alternateTargetGroupArn": made.green,
        "productionListenerRule": made.rule,
        "testListenerRule": made.test_rule,
        "roleArn": "arn:aws:iam::123456789012:role/ecs-infrastructure",
    }
    made.service("web", "app:v1", made.blue, 2, {"advancedConfiguration": advanced}, deploymentConfiguration=configuration)
    made.wait_healthy(made.blue)
    listed = made.ecs.list_service_deployments
    until(lambda: listed(cluster=made.cluster, service="web")["serviceDeployments"][0]["status"] == "SUCCESSFUL", "the first release")


def begin(made: Site, image: str) -> str:
    """Begin a deployment of the service web; return the ARN of its service deployment."""
    definition = made.definition(image)
    made.ecs.update_service(cluster=made.cluster, service="web", taskDefinition=definition)
    brief = made.ecs.list_service_deployments(cluster=made.cluster, service="web")["serviceDeployments"][0]
    revision = made.ecs.describe_service_revisions(serviceRevisionArns=[brief["targetServiceRevisionArn"]])["serviceRevisions"][0]
    assert revision["taskDefinition"] == definition
    return str(brief["serviceDeploymentArn"])


def service_deployment(made: Site, arn: str) -> dict[str, t.Any]:
    """Describe a service deployment."""
    return dict(made.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0])


@pytest.fixture
def zone(running: Cloud, request: pytest.FixtureRequest) -> str:
    """A new hosted zone, of which the identifier is returned; its name is that of the test with ``.example.``."""
    made = running.client("route53").create_hosted_zone(Name=zone_name(request.node.name), CallerReference=request.node.name)
    return str(made["HostedZone"]["Id"])


def zone_name(test: str) -> str:
    """Return the name of a test's zone."""
    return test.removeprefix("test_").replace("_", "-")[:40] + ".example."


def record(name: str, address: str, **more: t.Any) -> dict[str, t.Any]:
    """Return an A record."""
    return {"Name": name, "Type": "A", "TTL": 10, "ResourceRecords": [{"Value": address}], **more}


def change(running: Cloud, zone: str, *changes: tuple[str, dict[str, t.Any]]) -> dict[str, t.Any]:
    """Send a batch and return the change."""
    rows = [{"Action": action, "ResourceRecordSet": each} for action, each in changes]
    return dict(running.client("route53").change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": rows})["ChangeInfo"])


def names_of(running: Cloud, zone: str) -> list[tuple[str, str]]:
    """Return name and content of the A records."""
    rows = running.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return [(row["Name"], row["ResourceRecords"][0]["Value"]) for row in rows if row["Type"] == "A"]


def test_a_batch_is_made_in_whole_or_not_at_all(running: Cloud, zone: str, request: pytest.FixtureRequest) -> None:
    """A DELETE with values that are not there any more refuses everything, and the same identifier under another name is left alone."""
    name = zone_name(request.node.name)
    a, b = f"a.{name}", f"b.{name}"
    first = record(a, "192.0.2.1", SetIdentifier="one", Weight=100)
    change(running, zone, ("CREATE", first), ("CREATE", record(b, "192.0.2.9", SetIdentifier="one", Weight=1)))
    second = record(a, "192.0.2.2", SetIdentifier="one", Weight=100)
    change(running, zone, ("DELETE", first), ("CREATE", second))
    assert names_of(running, zone) == [(a, "192.0.2.2"), (b, "192.0.2.9")]
    for batch in (
        [("CREATE", record(f"new.{name}", "192.0.2.3")), ("DELETE", first), ("CREATE", record(a, "192.0.2.4", SetIdentifier="one", Weight=100))],
        [("CREATE", record(f"new.{name}", "192.0.2.3")), ("CREATE", second)],
        [("CREATE", record(f"new.{name}", "192.0.2.3")), ("CREATE", record(a, "192.0.2.5"))],
        [("DELETE", second), ("DELETE", second)],
        [("CREATE", record("www.other.example.", "192.0.2.3"))],
        [("CREATE", record(f"f.{name}", "192.0.2.3", SetIdentifier="p", Failover="PRIMARY"))],
    ):
        with pytest.raises(botocore.exceptions.ClientError) as error:
            change(running, zone, *batch)
        assert code_of(error) == "InvalidChangeBatch"
        assert names_of(running, zone) == [(a, "192.0.2.2"), (b, "192.0.2.9")]


def test_a_change_is_pending_then_in_sync(running: Cloud, zone: str, request: pytest.FixtureRequest) -> None:
    """The API shows a change at once, the name servers when it is INSYNC."""
    name, client = f"www.{zone_name(request.node.name)}", running.client("route53")
    running.control("set", sync=100)
    try:
        made = change(running, zone, ("CREATE", record(name, "192.0.2.1")))
        assert made["Status"] == "PENDING" and names_of(running, zone) == [(name, "192.0.2.1")] and running.addresses(name) == []
        client.get_waiter("resource_record_sets_changed").wait(Id=made["Id"], WaiterConfig=SOON)
        assert running.addresses(name) == ["192.0.2.1"]
        assert client.test_dns_answer(HostedZoneId=zone, RecordName=name, RecordType="A")["RecordData"] == ["192.0.2.1"]
    finally:
        running.control("set", sync=1)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.get_change(Id="/change/CNEVERMADE")
    assert code_of(error) == "NoSuchChange"


def test_paging_goes_through_many_identifiers_of_a_name(running: Cloud, zone: str, request: pytest.FixtureRequest) -> None:
    """Pages may end within a name."""
    name = f"www.{zone_name(request.node.name)}"
    rows = [record(name, f"192.0.2.{number}", SetIdentifier=f"n{number:02}", Weight=1) for number in range(25)]
    change(running, zone, *(("CREATE", row) for row in rows))
    pages = running.client("route53").get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone, PaginationConfig={"PageSize": 4})
    found = [row["SetIdentifier"] for page in pages for row in page["ResourceRecordSets"] if row["Type"] == "A"]
    assert found == [f"n{number:02}" for number in range(25)]


def test_failover_answers_follow_real_health(running: Cloud, shop: Site, zone: str, request: pytest.FixtureRequest) -> None:
    """The primary while it is well, the secondary when the check's threshold of failures is over, the primary again when both are ill."""
    name, client = f"www.{zone_name(request.node.name)}", running.client("route53")
    tasks = sorted((task for task in running.tasks("app:v1") if task["group"] == "service:blue"), key=lambda task: task["address"])[-2:]
    shop.ecs.update_service(cluster=shop.cluster, service="blue", healthCheckGracePeriodSeconds=100_000)
    checks = []
    for task in tasks:
        config = {"Type": "HTTP", "IPAddress": task["address"], "Port": task["port"], "ResourcePath": "/health", "RequestInterval": 10, "FailureThreshold": 2}
        checks.append(client.create_health_check(CallerReference=task["arn"], HealthCheckConfig=config)["HealthCheck"]["Id"])
    roles = zip(("PRIMARY", "SECONDARY"), tasks, checks, strict=True)
    change(running, zone, *(("CREATE", record(name, task["address"], SetIdentifier=role, Failover=role, HealthCheckId=check)) for role, task, check in roles))
    primary, secondary = ([task["address"]] for task in tasks)
    until(lambda: running.addresses(name) == primary, "the primary")
    post(tasks[0], "/health/fail")
    until(lambda: running.addresses(name) == secondary, "the secondary")
    assert [words.startswith("Failure: HTTP Status Code 500") for words in words_of(client, checks[0])] == [True] * 3
    post(tasks[1], "/health/fail")
    until(lambda: running.addresses(name) == primary, "the primary, since both are ill")
    post(tasks[0], "/health/mend")
    until(lambda: words_of(client, checks[0])[0].startswith("Success"), "a check that finds the primary well")
    assert running.addresses(name) == primary


def words_of(client: t.Any, check: str) -> list[str]:
    """Return what the checkers of a health check saw last."""
    return [row["StatusReport"]["Status"] for row in client.get_health_check_status(HealthCheckId=check)["HealthCheckObservations"]]


def test_weighted_answers_and_aliases(running: Cloud, shop: Site, zone: str, request: pytest.FixtureRequest) -> None:
    """Weights decide; an alias that asks for health leaves a load balancer with an empty group."""
    name = zone_name(request.node.name)
    rows = [record(f"w.{name}", f"192.0.2.{weight}", SetIdentifier=str(weight), Weight=weight) for weight in (0, 200)]
    target = {"HostedZoneId": shop.balancer["CanonicalHostedZoneId"], "DNSName": shop.balancer["DNSName"], "EvaluateTargetHealth": True}
    alias = {"Name": f"f.{name}", "Type": "A", "SetIdentifier": "p", "Failover": "PRIMARY", "AliasTarget": target}
    second = record(f"f.{name}", "192.0.2.9", SetIdentifier="s", Failover="SECONDARY")
    change(running, zone, *(("CREATE", row) for row in (*rows, alias, second)))
    until(lambda: running.addresses(f"w.{name}") == ["192.0.2.200"], "the heavy record")
    assert {running.addresses(f"w.{name}")[0] for unused in range(20)} == {"192.0.2.200"}
    until(lambda: running.addresses(f"f.{name}") == ["192.0.2.9"], "the secondary, since the green group is empty")
    shop.elb.modify_rule(RuleArn=shop.rule, Actions=[{"Type": "forward", "TargetGroupArn": shop.blue}])
    shop.elb.modify_rule(RuleArn=shop.test_rule, Actions=[{"Type": "forward", "TargetGroupArn": shop.blue}])
    until(lambda: running.addresses(f"f.{name}") == ["127.0.0.1"], "the load balancer")


def test_a_health_check_is_made_once_and_changed_by_version(running: Cloud) -> None:
    """The same reference is the same check, also after its end; an old version changes nothing."""
    client = running.client("route53")
    config = {"Type": "TCP", "IPAddress": "127.0.0.1", "Port": 9, "RequestInterval": 30, "FailureThreshold": 3}
    first = client.create_health_check(CallerReference="once", HealthCheckConfig=config)["HealthCheck"]
    assert client.create_health_check(CallerReference="once", HealthCheckConfig=config)["HealthCheck"]["Id"] == first["Id"]
    changed = client.update_health_check(HealthCheckId=first["Id"], HealthCheckVersion=1, FailureThreshold=5)["HealthCheck"]
    assert (changed["HealthCheckVersion"], changed["HealthCheckConfig"]["FailureThreshold"]) == (2, 5)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.update_health_check(HealthCheckId=first["Id"], HealthCheckVersion=1, FailureThreshold=4)
    assert code_of(error) == "HealthCheckVersionMismatch"
    client.delete_health_check(HealthCheckId=first["Id"])
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.create_health_check(CallerReference="once", HealthCheckConfig=config)
    assert code_of(error) == "HealthCheckAlreadyExists"


def test_faults_are_what_boto3_takes_them_for(mended: Cloud, zone: str, request: pytest.FixtureRequest) -> None:
    """A lost reply leaves the change made; a throttled call is retried; an error has its code in each protocol; a slow answer is slow."""
    name = f"www.{zone_name(request.node.name)}"
    mended.fault("lost_reply", "route53", "ChangeResourceRecordSets")
    with pytest.raises(botocore.exceptions.HTTPClientError):
        change(mended, zone, ("CREATE", record(name, "192.0.2.1")))
    assert names_of(mended, zone) == [(name, "192.0.2.1")]
    mended.fault("throttle", count=1)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        mended.client("elbv2").describe_load_balancers()
    assert code_of(error) == "Throttling"
    mended.fault("throttle", "ecs", "ListClusters", skip=1, count=2)
    patient = mended.client("ecs", retries=3)
    assert patient.list_clusters()["ResponseMetadata"]["RetryAttempts"] == 0
    assert patient.list_clusters()["ResponseMetadata"]["RetryAttempts"] == 2
    for service, call in (("ecs", "list_clusters"), ("route53", "list_hosted_zones"), ("elbv2", "describe_load_balancers"), ("rds", "describe_db_instances")):
        mended.fault("error", service, code="ServiceUnavailable", status=503)
        with pytest.raises(botocore.exceptions.ClientError) as error:
            getattr(mended.client(service), call)()
        assert (code_of(error), error.value.response["ResponseMetadata"]["HTTPStatusCode"]) == ("ServiceUnavailable", 503)
    mended.fault("slow", "ecs", "ListClusters", seconds=1)
    began = time.monotonic()
    patient.list_clusters()
    assert time.monotonic() - began >= 1
    assert mended.calls()["ecs:ListClusters"] >= 6


def test_waiters_of_databases_and_distributions_end(running: Cloud) -> None:
    """States take time and then come; only a replica is promoted."""
    rds, wait = running.client("rds"), {"WaiterConfig": SOON}
    kind = {"DBInstanceClass": "db.t4g.small", "Engine": "postgres", "AllocatedStorage": 20, "MasterUsername": "app", "MasterUserPassword": "Sentinel-long"}
    assert rds.create_db_instance(DBInstanceIdentifier="one", **kind)["DBInstance"]["DBInstanceStatus"] == "creating"
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="one", **wait)
    rds.create_db_snapshot(DBInstanceIdentifier="one", DBSnapshotIdentifier="snap")
    rds.get_waiter("db_snapshot_available").wait(DBSnapshotIdentifier="snap", **wait)
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="one", **wait)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        rds.promote_read_replica(DBInstanceIdentifier="one")
    assert code_of(error) == "InvalidDBInstanceState"
    rds.create_db_instance_read_replica(DBInstanceIdentifier="two", SourceDBInstanceIdentifier="one")
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="two", **wait)
    replica = rds.describe_db_instances(DBInstanceIdentifier="two")["DBInstances"][0]
    assert (replica["StatusInfos"][0]["Status"], replica["ReadReplicaSourceDBInstanceIdentifier"]) == ("replicating", "one")
    rds.promote_read_replica(DBInstanceIdentifier="two")
    rds.get_waiter("db_instance_available").wait(DBInstanceIdentifier="two", **wait)
    promoted = rds.describe_db_instances(DBInstanceIdentifier="two")["DBInstances"][0]
    assert "ReadReplicaSourceDBInstanceIdentifier" not in promoted and not promoted.get("StatusInfos")
    rds.delete_db_instance(DBInstanceIdentifier="two", SkipFinalSnapshot=True)
    assert rds.describe_db_instances(DBInstanceIdentifier="two")["DBInstances"][0]["DBInstanceStatus"] == "deleting"
    rds.get_waiter("db_instance_deleted").wait(DBInstanceIdentifier="two", **wait)


def test_an_invalidation_is_made_once_and_ends(running: Cloud) -> None:
    """CloudFront: states that boto3's waiters understand."""
    client = running.client("cloudfront")
    origin = {"Id": "o", "DomainName": "origin.example", "CustomOriginConfig": {"HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "http-only"}}
    behaviour = {"TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all"}
    config = {"CallerReference": "one", "Comment": "", "Enabled": True, "Origins": {"Quantity": 1, "Items": [origin]}, "DefaultCacheBehavior": behaviour}
    made = client.create_distribution(DistributionConfig=config)["Distribution"]
    assert made["Status"] == "InProgress"
    client.get_waiter("distribution_deployed").wait(Id=made["Id"], WaiterConfig=SOON)
    batch = {"CallerReference": "release 2", "Paths": {"Quantity": 1, "Items": ["/index.html"]}}
    first = client.create_invalidation(DistributionId=made["Id"], InvalidationBatch=batch)["Invalidation"]
    assert first["Status"] == "InProgress"
    assert client.create_invalidation(DistributionId=made["Id"], InvalidationBatch=batch)["Invalidation"]["Id"] == first["Id"]
    client.get_waiter("invalidation_completed").wait(DistributionId=made["Id"], Id=first["Id"], WaiterConfig=SOON)
    with pytest.raises(botocore.exceptions.ClientError) as error:
        client.delete_distribution(Id=made["Id"], IfMatch="stale")
    assert code_of(error) == "PreconditionFailed"
