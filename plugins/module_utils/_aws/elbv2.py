# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of the load balancers: one thin method for each.

A listener's default action is changed with ModifyListener, any other rule with ModifyRule; an ARN says which of these it is.
"""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, calling
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

DRAIN_ATTRIBUTE = "deregistration_delay.timeout_seconds"
ABSENT = ("RuleNotFound", "ListenerNotFound", "TargetGroupNotFound")

Actions = list[dict[str, t.Any]]


def is_listener(arn: str) -> bool:
    """Tell a listener's ARN from a rule's."""
    return ":listener/" in arn


@contextlib.contextmanager
def absent_is_wrong(doing: str) -> t.Iterator[None]:
    """Like :func:`calling`, and what does not exist is a wrong option."""
    try:
        with calling(doing):
            yield
    except AwsError as error:
        if error.code in ABSENT:
            raise InvalidInput(doing, error.cause, "see whether ARN and region are right") from error
        raise


class LoadBalancing:
    """A client of the load balancers."""

    def __init__(self, client: t.Any) -> None:
        """Use a boto3 client with retries."""
        self._client = client

    def actions(self, arns: t.Sequence[str], to_change: bool = True) -> dict[str, Actions]:
        """Return the actions of rules, and the default actions of listeners, by ARN.

        Args:
            arns: of rules and listeners.
            to_change: whether they are to be changed from here.

        Raises:
            InvalidInput: one of them does not exist, or is a listener's default rule and is to be changed.
        """
        found: dict[str, Actions] = {}
        for listeners in (False, True):
            asked = [arn for arn in arns if is_listener(arn) == listeners]
            if asked:
                found |= self._listeners(asked) if listeners else self._rules(asked, to_change)
        return found

    def _rules(self, arns: list[str], to_change: bool) -> dict[str, Actions]:
        with absent_is_wrong(f"read the rule {' and '.join(arns)}"):
            rows = self._client.describe_rules(RuleArns=arns, aws_retry=True)["Rules"]
        for row in rows:
            if to_change and row.get("IsDefault"):  # API reference, ModifyRule: it cannot be changed as a rule
                raise InvalidInput(f"use the rule {row['RuleArn']}", "it is the default rule of its listener", "give the listener's ARN instead")
        return {row["RuleArn"]: row["Actions"] for row in rows}

    def _listeners(self, arns: list[str]) -> dict[str, Actions]:
        with absent_is_wrong(f"read the listener {' and '.join(arns)}"):
            rows = self._client.describe_listeners(ListenerArns=arns, aws_retry=True)["Listeners"]
        return {row["ListenerArn"]: row["DefaultActions"] for row in rows}

    def write(self, arn: str, actions: Actions) -> None:
        """Set the actions of a rule, or the default actions of a listener."""
        if is_listener(arn):
            with calling(f"change the listener {arn}"):
                self._client.modify_listener(ListenerArn=arn, DefaultActions=actions, aws_retry=True)
        else:
            with calling(f"change the rule {arn}"):
                self._client.modify_rule(RuleArn=arn, Actions=actions, aws_retry=True)

    def groups(self, arns: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
        """Describe target groups, by ARN.

        Raises:
            InvalidInput: one of them does not exist.
        """
        with absent_is_wrong(f"read the target groups {' and '.join(arns)}"):
            rows = self._client.describe_target_groups(TargetGroupArns=list(arns), aws_retry=True)["TargetGroups"]
        return {row["TargetGroupArn"]: row for row in rows}

    def drain_seconds(self, group: str) -> float:
        """Return a target group's deregistration delay in seconds."""
        with calling(f"read the attributes of {group}"):
            rows = self._client.describe_target_group_attributes(TargetGroupArn=group, aws_retry=True)["Attributes"]
        return float(next((row["Value"] for row in rows if row["Key"] == DRAIN_ATTRIBUTE), 300))

    def health(self, group: str) -> list[dict[str, t.Any]]:
        """Return the state of each target of a group, with reason and description where there are any."""
        with calling(f"read the health of {group}"):
            rows = self._client.describe_target_health(TargetGroupArn=group, aws_retry=True)["TargetHealthDescriptions"]
        return [row["TargetHealth"] for row in rows]
