# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform on AWS, by its playbook: planned, made, found by a deployment, and left alone by a further run.

The tests of this file are one story, in their order; how it goes on is in tests/faults/test_aws_platform_life.py. The cloud is a simulator
(tests/fixtures/cloud); its CloudFormation makes every resource by a call of the service's API, so that what is read here went through botocore's models and
moto's checks.
"""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
from aws_platform import ACCOUNT, EDGE, NAME, STANDBY, Platform, platform_on
from cloud import REGION
from policies import compare, key_of
from servers import Runner


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Platform]:
    """Yield the playbook with a cloud of its own."""
    with platform_on(tmp_path_factory.mktemp("platform")) as made:
        yield made
        compare("aws_platform", made.cloud.control("calls"))


def test_what_is_missing_is_said_before_anything_is_changed(platform: Platform) -> None:
    """All problems at once: a permission, a quota, a certificate that is nowhere, one of another region."""
    iam = platform.cloud.client("iam")
    iam.create_user(UserName="weak")
    key = iam.create_access_key(UserName="weak")["AccessKey"]
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    denied = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": ["rds:CreateDBInstance", "wafv2:*"], "Resource": "*"}]}
    for name, policy in (("all", allowed), ("but", denied)):
        iam.put_user_policy(UserName="weak", PolicyName=name, PolicyDocument=json.dumps(policy))
    access = {**platform.variables["aws_platform_access"], "access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}
    ec2 = platform.cloud.client("ec2")
    networks = [ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"] for unused in range(4)]
    absent = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000"
    elsewhere = platform.variables["aws_platform_certificate_arn"]
    done = platform(aws_platform_access=access, aws_platform_certificate_arn=absent, aws_platform_cdn_certificate_arn=elsewhere)
    assert done.status != 0
    assert "user/weak has no permission for rds:CreateDBInstance, wafv2:CreateWebACL, wafv2:AssociateWebACL" in done.words
    assert f"{REGION} lacks room for 1 more VPCs, there is room for 0" in done.words
    assert f"the certificate {absent} does not exist" in done.words
    assert f"the certificate {elsewhere} is not in {EDGE}" in done.words
    assert platform.stacks() == {}
    for network in networks:
        ec2.delete_vpc(VpcId=network)


def test_missing_credentials_are_said(platform: Platform, run_module: Runner) -> None:
    """In one sentence."""
    options = {"name": NAME, "region": REGION, "endpoint_url": platform.cloud.endpoint_url}
    nothing = {"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"}
    failed = run_module("aws_platform_info", options, **nothing)
    assert failed["failed"] is True
    assert failed["msg"].startswith("could not find out who calls AWS: Unable to locate credentials; see whether credentials")
    without = run_module("aws_platform_info", {"name": NAME, "endpoint_url": platform.cloud.endpoint_url}, **nothing)
    assert "there is no region" in without["msg"]


def test_check_mode_prints_the_plan_and_the_costs(platform: Platform) -> None:
    """On an empty account."""
    done = platform("--check")
    assert done.status == 0, done.output
    assert "base: make Vpc (AWS::EC2::VPC)" in done.output
    assert "data: make Database (AWS::RDS::DBInstance)" in done.output
    assert "replica: make Replica (AWS::RDS::DBInstance)" in done.output
    assert re.search(r"shop in the size small: about \d+ USD a month \(us-east-1, 2026-06", done.words)
    assert re.search(r"\d+\.\d\d  the size large", done.output)
    assert platform.stacks() == {}


def test_it_is_made(platform: Platform) -> None:
    """And what is read from the APIs is what was promised; no secret shows, at any verbosity."""
    done = platform("-vvv")
    assert done.status == 0, done.output[-5000:]
    assert set(platform.stacks()) == {f"shop-{name}" for name in ("edge", "standby", "base", "data", "web", "replica")}
    assert set(platform.stacks().values()) == {"CREATE_COMPLETE"}
    secrets = platform.cloud.client("secretsmanager")
    for row in secrets.list_secrets()["SecretList"]:
        text = secrets.get_secret_value(SecretId=row["ARN"])["SecretString"]
        assert (json.loads(text)["password"] if text.startswith("{") else text) not in done.output
    assert "SentinelAWS" not in done.output
    assert platform.weights == {"blue": 100, "green": 0}
    assert "monthly_usd: " in done.output


def test_the_data_is_safe(platform: Platform) -> None:
    """Encrypted, in several zones, protected, with a replica and copies in the second region."""
    rds, replica = (platform.cloud.client("rds", region=region) for region in (REGION, STANDBY))
    row = rds.describe_db_instances(DBInstanceIdentifier=NAME)["DBInstances"][0]
    assert (row["MultiAZ"], row["StorageEncrypted"], row["DeletionProtection"], row["PubliclyAccessible"]) == (True, True, True, False)
    assert (row["BackupRetentionPeriod"], row["KmsKeyId"]) == (14, platform.outputs("base")["KeyArn"])
    assert replica.describe_db_instances()["DBInstances"][0]["ReadReplicaSourceDBInstanceIdentifier"].endswith(f":db:{NAME}")
    cache = platform.cloud.client("elasticache").describe_replication_groups()["ReplicationGroups"][0]
    assert (cache["AutomaticFailover"], cache["TransitEncryptionEnabled"], cache["AtRestEncryptionEnabled"], cache["AuthTokenEnabled"]) == (
        "enabled",
        True,
        True,
        True,
    )
    s3 = platform.cloud.client("s3")
    for name in ("logs", "assets", "backups"):
        bucket = f"{NAME}-{name}-{ACCOUNT}-{REGION}"
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
        assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        rule = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        assert rule["SSEAlgorithm"] == ("AES256" if name == "logs" else "aws:kms")
        assert '"aws:SecureTransport"' in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    rule = s3.get_bucket_replication(Bucket=f"{NAME}-backups-{ACCOUNT}-{REGION}")["ReplicationConfiguration"]["Rules"][0]
    assert rule["Destination"]["Bucket"] == f"arn:aws:s3:::{NAME}-backups-{ACCOUNT}-{STANDBY}"


def test_the_front_is_guarded(platform: Platform) -> None:
    """TLS, firewalls, flows, alarms."""
    elb, outputs = platform.cloud.client("elbv2"), platform.outputs("web")
    rows = {row["Port"]: row for row in elb.describe_listeners(LoadBalancerArn=outputs["BalancerArn"])["Listeners"]}
    assert {rows[port]["SslPolicy"] for port in (443, 8443)} == {"ELBSecurityPolicy-TLS13-1-2-Res-2021-06"}
    assert rows[80]["DefaultActions"][0]["RedirectConfig"]["Protocol"] == "HTTPS"
    firewall = platform.cloud.client("wafv2").get_web_acl_for_resource(ResourceArn=outputs["BalancerArn"])["WebACL"]
    assert [rule["Name"] for rule in firewall["Rules"]] == ["rate", "reputation", "common", "known-bad-inputs", "sql-injection"]
    ec2, base = platform.cloud.client("ec2"), platform.outputs("base")
    for group, port, source in (("AppGroup", 8080, "BalancerGroup"), ("DatabaseGroup", 5432, "AppGroup"), ("CacheGroup", 6379, "AppGroup")):
        flows = ec2.describe_security_groups(GroupIds=[base[group]])["SecurityGroups"][0]["IpPermissions"]
        found = [(row["FromPort"], [pair["GroupId"] for pair in row["UserIdGroupPairs"]], row["IpRanges"]) for row in flows]
        assert found == [(port, [base[source]], [])]
    zones = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [base["VpcId"]]}])["Subnets"]
    assert {row["AvailabilityZone"] for row in zones} == {f"{REGION}{letter}" for letter in "abc"}
    alarms = {row["AlarmName"] for row in platform.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert set(outputs["Alarms"].split(",")) <= alarms
    distribution = platform.cloud.client("cloudfront").get_distribution(Id=outputs["DistributionId"])["Distribution"]["DistributionConfig"]
    assert distribution["WebACLId"] == platform.outputs("edge", EDGE)["FirewallArn"]
    assert distribution["CacheBehaviors"]["Items"][0]["Compress"] is True


def test_a_second_run_changes_nothing(platform: Platform) -> None:
    """And makes no call that could."""
    before = platform.cloud.calls()
    done = platform()
    assert (done.status, done.changed) == (0, 0), done.output[-5000:]
    calls = platform.cloud.calls() - before
    assert not [name for name in calls if re.search(r":(Create|Modify|Put|Register|Delete)", name)], calls


def test_a_deployment_finds_the_platform(platform: Platform) -> None:
    """Cluster, rules, target groups and alarms by the platform's name, and nothing where there is none."""
    planned = platform.deploy("--check", "-e", "app_release=v2")
    assert planned.status == 0, planned.output[-5000:]
    assert f"deploy of {NAME} v2: register a revision of {NAME}, start {NAME}-green with " in planned.words, planned.output
    nowhere = platform.deploy("-e", "app_release=v2", ecs_app_name="nowhere")
    assert nowhere.status != 0 and f"there is no platform nowhere in {REGION}: no stack nowhere-web has the output Cluster" in nowhere.words, nowhere.output


def test_static_files_are_published(platform: Platform, run_module: Runner, tmp_path: pathlib.Path) -> None:
    """What is hashed for a year, the rest asked for each time; only what has changed, and only that is invalidated."""
    bucket, distribution = platform.outputs("data")["AssetsBucket"], platform.outputs("web")["DistributionId"]
    for name, content in (("app.3f2a9c1e.js", "1"), ("index.html", "<p>1"), ("robots.txt", "1")):
        (tmp_path / name).write_text(content)
    access = {**platform.variables["aws_platform_access"], "access_key": key_of("static_assets")}
    given = {**access, "region": REGION, "src": str(tmp_path), "bucket": bucket, "distribution_id": distribution}
    options = {**given, "poll_interval": 0.1}
    planned, first, second = run_module("static_assets", options, check=True), run_module("static_assets", options), run_module("static_assets", options)
    assert planned["actions"] == first["actions"] != []
    assert first["uploaded"] == ["static/app.3f2a9c1e.js", "static/robots.txt", "static/index.html"]
    assert (second["changed"], second["unchanged"], second["invalidated"]) == (False, 3, [])
    s3 = platform.cloud.client("s3")
    assert s3.head_object(Bucket=bucket, Key="static/app.3f2a9c1e.js")["CacheControl"] == "public, max-age=31536000, immutable"
    assert s3.head_object(Bucket=bucket, Key="static/index.html")["CacheControl"] == "no-cache"
    (tmp_path / "index.html").write_text("<p>2")
    (tmp_path / "app.aaaabbbb1.js").write_text("2")
    third = run_module("static_assets", options)
    assert third["uploaded"] == ["static/app.aaaabbbb1.js", "static/index.html"]
    assert third["invalidated"] == ["/static/index.html"]
    found = platform.cloud.client("cloudfront").get_invalidation(DistributionId=distribution, Id=third["invalidation_id"])["Invalidation"]
    assert (found["Status"], found["InvalidationBatch"]["Paths"]["Items"]) == ("Completed", ["/static/index.html"])
    missing = run_module("static_assets", {**options, "bucket": "no-such-bucket"})
    assert "there is no such bucket" in missing["msg"]
    compare("static_assets", platform.cloud.control("calls"), all_of_them=True)
