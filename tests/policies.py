# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of docs/aws.md, the calls that modules made in the tests, and those that stand in their code."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import typing as t

import botocore.session
from botocore import xform_name

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = ROOT / "plugins" / "module_utils" / "_aws"
MODULE_KEY = "AKIAMODULE"
"""The access key that modules use in the tests, so that their calls are told from those of the tests."""

CLIENTS = {
    "ecs_bluegreen": {
        "ecs.py": "ecs",
        "elbv2.py": "elbv2",
        "lock.py": "ssm",
        "watch.py:Watch": "cloudwatch",
        "watch.py:Autoscaling": "application-autoscaling",
    },
    "route53_failover": {"route53.py": "route53"},
}
"""Where the calls of a module stand, and of which service they are."""

PREFIXES = {"elbv2": "elasticloadbalancing"}
"""Services whose actions have another prefix than boto3's name."""
NO_CALLS = {"iam:PassRole"}
"""Actions that are asked for by a call of another service."""


def action(service: str, operation: str) -> str:
    """Return the action of IAM that a call needs."""
    return f"{PREFIXES.get(service, service)}:{operation}"


def policies() -> dict[str, set[str]]:
    """Return the actions of each module's policy in the page about AWS."""
    text = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    found = {}
    for name, body in re.findall(r"### Permissions of `(\w+)`\n.*?```json\n(.*?)```", text, re.DOTALL):
        found[name] = {each for statement in json.loads(body)["Statement"] for each in statement["Action"]}
    return found


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


def recorded(calls: t.Iterable[t.Mapping[str, t.Any]]) -> set[str]:
    """Return the actions of the calls that a module made.

    Args:
        calls: what the cloud of the tests has recorded.
    """
    return {action(call["service"], call["operation"]) for call in calls if call["access_key"] == MODULE_KEY}
