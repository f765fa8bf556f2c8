# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates of the role aws_platform: valid for CloudFormation, fed by the role, and without what a deployment owns."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import typing as t

import pytest
import yaml

from ansible_collections.mainstay.ops.plugins.module_utils._aws.platform import STACKS

ROLE = pathlib.Path(__file__).resolve().parents[2] / "roles" / "aws_platform"
PATHS = sorted((ROLE / "files" / "stacks").glob("*.yml"))
TEMPLATES = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in PATHS}
VARIABLES = yaml.safe_load((ROLE / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))
LARGEST = 51_200
"""Bytes of a template that is sent with the call (CloudFormation User Guide, "Understand CloudFormation quotas")."""
OWNED_BY_DEPLOYMENTS = {
    "AWS::ECS::Service",
    "AWS::ECS::TaskDefinition",
    "AWS::ElasticLoadBalancingV2::ListenerRule",
    "AWS::ApplicationAutoScaling::ScalableTarget",
}
WITH_DATA = (
    "AWS::S3::Bucket",
    "AWS::RDS::DBInstance",
    "AWS::ElastiCache::ReplicationGroup",
    "AWS::KMS::Key",
    "AWS::SecretsManager::Secret",
    "AWS::Logs::LogGroup",
)


def resources(*kinds: str) -> list[t.Any]:
    """Return the resources of these types, as parameters of a test."""
    return [
        pytest.param(row, id=f"{stack}-{name}") for stack, template in TEMPLATES.items() for name, row in template["Resources"].items() if row["Type"] in kinds
    ]


def test_cloudformation_takes_them() -> None:
    """By cfn-lint, which knows the schema of each type."""
    program = pathlib.Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([program, *PATHS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_template_fits_into_a_call(path: pathlib.Path) -> None:
    """So that no bucket is needed for it."""
    assert path.stat().st_size < LARGEST


def test_stacks_and_templates_are_the_same() -> None:
    """None is forgotten."""
    assert set(TEMPLATES) == set(STACKS)


@pytest.mark.parametrize("stack", sorted(TEMPLATES))
def test_the_role_feeds_each_parameter(stack: str) -> None:
    """Exactly, also those with a default."""
    assert set(VARIABLES[f"__aws_platform_parameters_{stack}"]) == set(TEMPLATES[stack]["Parameters"])


def test_what_a_deployment_owns_is_in_no_template() -> None:
    """An update of a stack would put it back."""
    assert not [row for template in TEMPLATES.values() for row in template["Resources"].values() if row["Type"] in OWNED_BY_DEPLOYMENTS]


@pytest.mark.parametrize("row", resources(*WITH_DATA))
def test_data_outlives_its_stack(row: dict[str, t.Any]) -> None:
    """It stays, or leaves a snapshot; a replica is no data of its own."""
    replica = "SourceDBInstanceIdentifier" in row["Properties"]
    assert row.get("DeletionPolicy") in (("Delete",) if replica else ("RetainExceptOnCreate", "Snapshot"))
    assert row.get("UpdateReplacePolicy") in ("Retain", "Snapshot")


@pytest.mark.parametrize("row", resources("AWS::S3::Bucket"))
def test_a_bucket(row: dict[str, t.Any]) -> None:
    """Versioned, encrypted, private, owned, and with a lifecycle."""
    given = row["Properties"]
    assert given["VersioningConfiguration"] == {"Status": "Enabled"}
    assert given["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert given["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    assert given["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert given["LifecycleConfiguration"]["Rules"]


@pytest.mark.parametrize("row", resources("AWS::IAM::Role"))
def test_a_role_is_for_one_service_of_this_account(row: dict[str, t.Any]) -> None:
    """And may nothing on everything, but for a token of ECR that AWS gives for no resource."""
    trust = row["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert [list(each["Principal"]) for each in trust] == [["Service"]]
    assert all(each["Condition"]["StringEquals"]["aws:SourceAccount"] for each in trust)
    for policy in row["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Resource"] != "*" or statement["Action"] == "ecr:GetAuthorizationToken"


@pytest.mark.parametrize("row", resources("AWS::EC2::SecurityGroup"))
def test_a_security_group_lets_out_what_is_named(row: dict[str, t.Any]) -> None:
    """A group without a rule for what goes out would let out everything."""
    assert row["Properties"]["SecurityGroupEgress"]
    assert all("Description" in rule for rule in row["Properties"]["SecurityGroupEgress"] + row["Properties"]["SecurityGroupIngress"])


def test_a_replica_has_the_parameters_of_its_source() -> None:
    """Also after it has become a primary."""
    groups = [template["Resources"]["DatabaseParameters"]["Properties"]["Parameters"] for template in (TEMPLATES["data"], TEMPLATES["standby"])]
    assert groups[0] == groups[1]
    assert groups[0]["rds.force_ssl"] == "1"
