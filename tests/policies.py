# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of docs/aws.md: made from the calls that modules made in the tests, and compared with those that stand in their code.

``MAINSTAY_RECORD_CALLS=1 pytest ...`` adds the calls of the tests that run to ``tests/fixtures/aws_calls.json``; ``python tests/policies.py`` writes the page.
"""

from __future__ import annotations

import ast
import json
import os
import pathlib
import re
import typing as t

import botocore.session
from botocore import xform_name

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = ROOT / "plugins" / "module_utils" / "_aws"
PAGE = ROOT / "docs" / "aws.md"
CALLS = ROOT / "tests" / "fixtures" / "aws_calls.json"

CLIENTS = {
    "ecs_bluegreen": {
        "ecs.py": "ecs",
        "elbv2.py": "elbv2",
        "lock.py": "ssm",
        "watch.py:Watch": "cloudwatch",
        "watch.py:Autoscaling": "application-autoscaling",
    },
    "elasticache_backup": {"elasticache.py": "elasticache", "elasticache_groups.py": "elasticache", "elasticache_bucket.py": "s3"},
    "rds_backup": {"rds.py": "rds", "rds_instances.py": "rds"},
    "route53_failover": {"route53.py": "route53", "switch_object.py": "s3"},
}
"""Where the calls of a module stand, and of which service they are."""

PREFIXES = {"elbv2": "elasticloadbalancing"}
"""Services whose actions have another prefix than boto3's name."""
RESOURCES: dict[str, str | list[str]] = {
    "elasticloadbalancing:ModifyListener": ["LISTENER", "TEST_LISTENER"],
    "elasticloadbalancing:ModifyRule": ["RULE", "TEST_RULE"],
    "application-autoscaling:RegisterScalableTarget": "arn:aws:application-autoscaling:REGION:ACCOUNT:scalable-target/*",
    "ssm:DeleteParameter": "arn:aws:ssm:REGION:ACCOUNT:parameter/mainstay/bluegreen/*",
    "ssm:GetParameter": "arn:aws:ssm:REGION:ACCOUNT:parameter/mainstay/bluegreen/*",
    "ssm:PutParameter": "arn:aws:ssm:REGION:ACCOUNT:parameter/mainstay/bluegreen/*",
    "elasticache:CreateSnapshot": ["arn:aws:elasticache:*:ACCOUNT:replicationgroup:GROUP", "arn:aws:elasticache:*:ACCOUNT:snapshot:GROUP-*"],
    "elasticache:AddTagsToResource": "arn:aws:elasticache:*:ACCOUNT:snapshot:GROUP-*",
    "elasticache:CopySnapshot": "arn:aws:elasticache:*:ACCOUNT:snapshot:GROUP-*",
    "elasticache:CreateReplicationGroup": [
        "arn:aws:elasticache:*:ACCOUNT:replicationgroup:GROUP-trial-*",
        "arn:aws:elasticache:*:ACCOUNT:snapshot:GROUP-*",
        "arn:aws:elasticache:*:ACCOUNT:subnetgroup:*",
        "arn:aws:elasticache:*:ACCOUNT:parametergroup:*",
    ],
    "elasticache:DeleteReplicationGroup": "arn:aws:elasticache:*:ACCOUNT:replicationgroup:GROUP-trial-*",
    "elasticache:DeleteSnapshot": "arn:aws:elasticache:*:ACCOUNT:snapshot:GROUP-*",
    "rds:AddTagsToResource": ["arn:aws:rds:*:ACCOUNT:db:INSTANCE*", "arn:aws:rds:*:ACCOUNT:snapshot:INSTANCE-*"],
    "rds:CopyDBSnapshot": "arn:aws:rds:*:ACCOUNT:snapshot:INSTANCE-*",
    "rds:CreateDBSnapshot": ["arn:aws:rds:*:ACCOUNT:db:INSTANCE", "arn:aws:rds:*:ACCOUNT:snapshot:INSTANCE-*"],
    "rds:DeleteDBInstance": "arn:aws:rds:*:ACCOUNT:db:INSTANCE-trial-*",
    "rds:DeleteDBSnapshot": "arn:aws:rds:*:ACCOUNT:snapshot:INSTANCE-*",
    "rds:ModifyDBInstance": "arn:aws:rds:*:ACCOUNT:db:INSTANCE*",
    "rds:PromoteReadReplica": "arn:aws:rds:*:ACCOUNT:db:INSTANCE*",
    "rds:RestoreDBInstanceFromDBSnapshot": [
        "arn:aws:rds:*:ACCOUNT:db:INSTANCE*",
        "arn:aws:rds:*:ACCOUNT:snapshot:INSTANCE-*",
        "arn:aws:rds:*:ACCOUNT:subgrp:*",
        "arn:aws:rds:*:ACCOUNT:pg:*",
        "arn:aws:rds:*:ACCOUNT:og:*",
    ],
    "route53:ChangeResourceRecordSets": "arn:aws:route53:::hostedzone/ZONE",
    "route53:GetHostedZone": "arn:aws:route53:::hostedzone/ZONE",
    "route53:ListResourceRecordSets": "arn:aws:route53:::hostedzone/ZONE",
    "s3:DeleteObject": "arn:aws:s3:::SWITCH_BUCKET/PREFIX/*",
    "s3:GetObject": "arn:aws:s3:::SWITCH_BUCKET/PREFIX/*",
    "s3:ListBucket": "arn:aws:s3:::SWITCH_BUCKET",
    "s3:PutObject": "arn:aws:s3:::SWITCH_BUCKET/PREFIX/*",
}
"""What an action is allowed on, if that can be less than everything (Service Authorization Reference)."""
OTHER_RESOURCES: dict[str, dict[str, str]] = {
    "elasticache_backup": {"s3:DeleteObject": "arn:aws:s3:::EXPORT_BUCKET/GROUP-*", "s3:ListBucket": "arn:aws:s3:::EXPORT_BUCKET"},
}
"""The same of modules whose resources are others."""

WITHOUT_CALL: dict[str, list[dict[str, t.Any]]] = {
    "elasticache_backup": [
        {"Effect": "Allow", "Action": ["elasticache:AddTagsToResource"], "Resource": ["arn:aws:elasticache:*:ACCOUNT:replicationgroup:GROUP-trial-*"]},
        {"Effect": "Allow", "Action": ["s3:GetBucketLocation", "s3:ListAllMyBuckets"], "Resource": "*"},
    ],
    "ecs_bluegreen": [
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": ["TASK_ROLE", "EXECUTION_ROLE", "INFRASTRUCTURE_ROLE"],
            "Condition": {"StringEquals": {"iam:PassedToService": ["ecs-tasks.amazonaws.com", "ecs.amazonaws.com"]}},
        }
    ]
}
"""Statements for what other actions ask for (ECS Developer Guide, "Grant a user permissions to pass an IAM role to ECS")."""

OTHER_NAMES = {
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:HeadObject": "s3:GetObject",
}
"""Calls whose action has another name (Amazon S3 User Guide, "Required permissions for Amazon S3 API operations")."""


BY_HAND: dict[str, set[str]] = {
    "aws_platform": {"iam:PassRole", "ecs:TagResource", "ec2:DescribeAddresses"},
    "ecs_release": set(),
    "ecs_release_info": set(),
    "static_assets": set(),
}
"""Policies whose resources are narrower than can be made from calls, with the actions that calls of other services ask for, or that the cloud of the tests
does not record. Their actions alone are compared."""


def action(service: str, operation: str) -> str:
    """Return the action of IAM that a call needs."""
    found = f"{PREFIXES.get(service, service)}:{operation}"
    return OTHER_NAMES.get(found, found)


def known() -> dict[str, list[str]]:
    """Return the actions of the calls that each module made in the tests."""
    return dict(json.loads(CALLS.read_text(encoding="utf-8")))


def policy(module: str) -> dict[str, t.Any]:
    """Return the policy of a module."""
    by_resource: dict[str, list[str]] = {}
    resources = {**RESOURCES, **OTHER_RESOURCES.get(module, {})}
    for name in known()[module]:
        by_resource.setdefault(json.dumps(resources.get(name, "*")), []).append(name)
    statements = [{"Effect": "Allow", "Action": names, "Resource": json.loads(resource)} for resource, names in sorted(by_resource.items())]
    return {"Version": "2012-10-17", "Statement": statements + WITHOUT_CALL.get(module, [])}


def with_policies(text: str) -> str:
    """Return the page with the policy of each module that has a section for it, and is not written by hand."""

    def filled(found: re.Match[str]) -> str:
        if found[2] in BY_HAND:
            return found[0]
        return f"{found[1]}```json\n{json.dumps(policy(found[2]), indent=2)}\n```"

    return re.sub(r"(### Permissions of `(\w+)`\n[^#]*?)```json\n.*?```", filled, text, flags=re.DOTALL)


def documented(text: str, module: str) -> set[str]:
    """Return the actions of a policy in the page."""
    found = re.search(rf"### Permissions of `{module}`\n.*?```json\n(.*?)```", text, re.DOTALL)
    assert found, f"the page has no policy of {module}"
    return {each for statement in json.loads(found[1])["Statement"] for each in statement["Action"]}


def in_code(module: str) -> set[str]:
    """Return the actions of the calls that stand in a module's code."""
    found = set()
    for place, service in CLIENTS[module].items():
        name, unused, wanted = place.partition(":")
        operations = {xform_name(each): each for each in botocore.session.get_session().get_service_model(service).operation_names}
        tree = ast.parse((CODE / name).read_text(encoding="utf-8"))
        nodes = [node for node in tree.body if isinstance(node, ast.ClassDef) and wanted in ("", node.name)]
        found |= {
            action(service, operations[call.func.attr])
            for node in nodes
            for call in ast.walk(node)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in operations and calls_client(call.func.value)
        }
    return found


def calls_client(node: ast.expr) -> bool:
    """Tell whether this is ``self._client``."""
    return isinstance(node, ast.Attribute) and node.attr == "_client"


def key_of(module: str) -> str:
    """Return the access key that a module uses in the tests, so that its calls are told from those of others."""
    return f"AKIA{module.replace('_', '').upper()}"


def compare(module: str, calls: t.Iterable[t.Mapping[str, t.Any]], all_of_them: bool = False) -> None:
    """Fail if a module made calls that are not known, or if it did not make all that are.

    Args:
        module: its name.
        calls: what the cloud of the tests has recorded.
        all_of_them: whether these calls are all that the module ever makes.
    """
    made = {action(call["service"], call["operation"]) for call in calls if call["access_key"] == key_of(module)}
    if os.environ.get("MAINSTAY_RECORD_CALLS"):
        found = known()
        found[module] = sorted(made | set(found.get(module, [])))
        CALLS.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    expected = set(known()[module])
    assert made <= expected and (made == expected or not all_of_them), (module, made ^ expected)


if __name__ == "__main__":
    PAGE.write_text(with_policies(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
