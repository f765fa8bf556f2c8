# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a platform, and what a change set says."""

from __future__ import annotations

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._aws.changes import words_for_changes, words_for_new
from ansible_collections.mainstay.ops.plugins.module_utils._aws.platform import Wishes, bucket_names, name_region, principal_of, stack_problem, zones_of


@pytest.mark.parametrize(
    ("caller", "principal"),
    [
        ("arn:aws:sts::123456789012:assumed-role/deployer/me", "arn:aws:iam::123456789012:role/deployer"),
        ("arn:aws-us-gov:sts::123456789012:assumed-role/deployer/me", "arn:aws-us-gov:iam::123456789012:role/deployer"),
        ("arn:aws:iam::123456789012:user/me", "arn:aws:iam::123456789012:user/me"),
        ("arn:aws:iam::123456789012:root", ""),
    ],
)
def test_who_iam_is_asked_about(caller: str, principal: str) -> None:
    """A session is a role to IAM, and the root of an account may do everything."""
    assert principal_of(caller) == principal


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("", ""),
        ("CREATE_COMPLETE", ""),
        ("UPDATE_ROLLBACK_COMPLETE", ""),
        ("UPDATE_IN_PROGRESS", "wait until that is over"),
        ("ROLLBACK_COMPLETE", "delete it"),
        ("UPDATE_ROLLBACK_FAILED", "repair it"),
    ],
)
def test_a_stack_that_cannot_be_changed(status: str, words: str) -> None:
    """With the next step."""
    problem = stack_problem("shop-data", status)
    assert words in problem
    assert bool(words) == bool(problem)


def test_stacks_and_buckets_by_regions() -> None:
    """In the order in which they are made."""
    regions = {"main": "eu-central-1", "standby": "eu-west-1"}
    assert Wishes("shop", regions, 1).stacks == ["standby", "base", "data", "web", "replica"]
    assert Wishes("shop", {"main": "eu-central-1"}, 1).stacks == ["base", "data", "web"]
    buckets = bucket_names("shop", "123456789012", regions)
    assert buckets["shop-backups-123456789012-eu-west-1"] == "standby"
    assert {name_region(name) for name in buckets} == {"eu-central-1", "eu-west-1"}


def test_a_network_stays_where_it_is() -> None:
    """Whatever zones there are today."""
    assert zones_of({"parameters": {"Zones": "a,b,c"}}) == ["a", "b", "c"]
    assert zones_of({}) == []


def test_the_words_of_a_plan() -> None:
    """Of a new stack, and of a change set."""
    template = {"Resources": {"Key": {"Type": "AWS::KMS::Key"}, "Nat2": {"Type": "AWS::EC2::NatGateway", "Condition": "NatPerZone"}}}
    assert words_for_new("base", template) == ["base: make Key (AWS::KMS::Key)", "base: make Nat2 (AWS::EC2::NatGateway), if NatPerZone"]
    change = {"Action": "Modify", "LogicalResourceId": "Database", "ResourceType": "AWS::RDS::DBInstance", "Replacement": "True"}
    assert words_for_changes("data", [{"Type": "Resource", "ResourceChange": change}]) == ["data: change Database (AWS::RDS::DBInstance), replacing it"]
