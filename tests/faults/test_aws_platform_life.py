# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform on AWS after it was made: deployed to, left alone and changed by further runs of its playbook, and removed when it is told so in words.

The tests of this file are one story, in their order.
"""

from __future__ import annotations

import typing as t

import pytest
from aws_platform import ACCOUNT, NAME, PATIENCE, Platform, platform_on
from cloud import REGION
from policies import compare


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Platform]:
    """Yield the playbook with a cloud of its own."""
    with platform_on(tmp_path_factory.mktemp("platform")) as made:
        yield made


def test_it_is_planned_and_made(platform: Platform) -> None:
    """On an empty account."""
    for arguments in (["--check"], []):
        done = platform(*arguments)
        assert done.status == 0, done.output[-5000:]
    assert set(platform.stacks().values()) == {"CREATE_COMPLETE"} and platform.weights == {"blue": 100, "green": 0}


def test_a_deployment_finds_the_platform_and_is_left_alone(platform: Platform) -> None:
    """Cluster, rules, target groups and alarms by the platform's name; weights, release and counts stay, and a changed size changes the rest."""
    quick = {"settle_seconds": 0.6, "gate_seconds": 0.5, "poll_interval": 0.2, "healthy_polls": 2, "start_timeout": PATIENCE, "lock_ttl": PATIENCE}
    options = {f"ecs_app_{name}": value for name, value in quick.items()}
    earlier = platform.cloud.calls()
    deployed = platform.deploy("-e", "app_release=v2", **options)
    assert deployed.status == 0, deployed.output[-5000:]
    assert platform.weights == {"blue": 0, "green": 100}
    # The test listener was used, and the alarms were looked at.
    made = platform.cloud.calls() - earlier
    assert made["elbv2:ModifyRule"] >= 2 and made["cloudwatch:DescribeAlarms"] > 0, made
    outputs = platform.outputs("web")
    ecs = platform.cloud.client("ecs")

    def services() -> dict[str, tuple[str, int]]:
        rows = ecs.describe_services(cluster=NAME, services=[f"{NAME}-blue", f"{NAME}-green"])["services"]
        return {row["serviceName"]: (row["taskDefinition"], row["desiredCount"]) for row in rows}

    before = services()
    assert before[f"{NAME}-blue"][1] == 0
    done = platform()
    assert (done.status, done.changed) == (0, 0), done.output[-5000:]
    checked = platform("--check", aws_platform_rate_limit=3000)
    assert "web: change Firewall (AWS::WAFv2::WebACL)" in checked.output, checked.output[-5000:]
    changed = platform(aws_platform_rate_limit=3000)
    assert changed.status == 0, changed.output[-5000:]
    assert changed.changed == 2
    rules = platform.cloud.client("wafv2").get_web_acl_for_resource(ResourceArn=outputs["BalancerArn"])["WebACL"]["Rules"]
    assert rules[0]["Statement"]["RateBasedStatement"]["Limit"] == 3000
    assert platform.weights == {"blue": 0, "green": 100}
    assert services() == before


def test_data_is_removed_in_words_only(platform: Platform) -> None:
    """What holds data is named; with the words, a snapshot and the buckets stay."""
    platform.cloud.client("s3").put_object(Bucket=f"{NAME}-assets-{ACCOUNT}-{REGION}", Key="logo.svg", Body=b"<svg/>")
    refused = platform(aws_platform_state="absent")
    assert refused.status != 0
    assert f"shop holds data: the database shop, the bucket {NAME}-assets-{ACCOUNT}-{REGION}" in refused.words
    assert len(platform.stacks()) == 6
    words = {"aws_platform_state": "absent", "aws_platform_confirm": "remove shop and its data"}
    removed = platform(**words)
    assert removed.status == 0, removed.output[-5000:]
    assert platform.stacks() == {}
    assert platform.cloud.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"][0]["DBInstanceIdentifier"] == NAME
    assert platform.cloud.client("s3").head_bucket(Bucket=f"{NAME}-assets-{ACCOUNT}-{REGION}")
    again = platform(aws_platform_state="absent")
    assert (again.status, again.changed) == (0, 0), again.output[-5000:]
    anew = platform()
    assert f"the bucket {NAME}-assets-{ACCOUNT}-{REGION} is there from before" in anew.words


def test_the_policy_is_what_was_called(platform: Platform) -> None:
    """By all of the runs above; what is asked for by the calls of other services was not."""
    compare("aws_platform", platform.cloud.control("calls"), all_of_them=True)
