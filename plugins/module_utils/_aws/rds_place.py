# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an instance that is made of a snapshot is to be, and how it is set."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Row
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

OPTIONS = {
    "DBInstanceClass": "db_instance_class",
    "DBSubnetGroupName": "db_subnet_group_name",
    "VpcSecurityGroupIds": "vpc_security_group_ids",
    "DBParameterGroupName": "db_parameter_group_name",
}
"""The members of RestoreDBInstanceFromDBSnapshot, and the options that set them."""


def of_instance(instance: Row | None) -> dict[str, t.Any]:
    """Return how an instance is set; nothing without one."""
    if instance is None:
        return {}
    groups = [row["VpcSecurityGroupId"] for row in instance.get("VpcSecurityGroups", [])]
    parameters = [row["DBParameterGroupName"] for row in instance.get("DBParameterGroups", [])]
    found = {
        "DBInstanceClass": instance.get("DBInstanceClass"),
        "DBSubnetGroupName": instance.get("DBSubnetGroup", {}).get("DBSubnetGroupName"),
        "VpcSecurityGroupIds": groups,
        "DBParameterGroupName": parameters[0] if parameters else None,
    }
    return {name: content for name, content in found.items() if content}


def plan_place(params: t.Mapping[str, t.Any], source: Row | None, doing: str) -> dict[str, t.Any]:
    """Return the network, class and parameters of a new instance: the options, and for those that are not given what the source has.

    Without them RDS takes the default network, security group and parameters, where the instance is of no use and may be open to others.

    Raises:
        InvalidInput: the source is gone, and an option is missing.
    """
    given = {name: params[option] for name, option in OPTIONS.items() if params[option]}
    found = {**of_instance(source), **given}
    missing = [option for name, option in OPTIONS.items() if name not in found and name != "DBParameterGroupName"]
    if missing:
        cause = "there is no source instance in this region to take its place from" if source is None else "the source instance is in no network of its own"
        raise InvalidInput(doing, cause, f"give {', '.join(missing)}")
    return {**found, "PubliclyAccessible": False}


def plan_trial(params: t.Mapping[str, t.Any], source: Row | None, doing: str) -> dict[str, t.Any]:
    """Return how an instance for trial is set: nothing that outlives it, and nothing that costs without need. See :func:`plan_place`."""
    return {
        **plan_place(params, source, doing),
        "MultiAZ": False,
        "DeletionProtection": False,
        "CopyTagsToSnapshot": False,
        "AutoMinorVersionUpgrade": False,
    }


def plan_restored(params: t.Mapping[str, t.Any], source: Row | None, doing: str) -> dict[str, t.Any]:
    """Return how an instance that is to serve is set: as the source, unless options say otherwise. See :func:`plan_place`."""
    like = source or {}
    two_zones = params["multi_az"] if params["multi_az"] is not None else like.get("MultiAZ", False)
    guarded = params["deletion_protection"] if params["deletion_protection"] is not None else like.get("DeletionProtection", False)
    settings = {"MultiAZ": two_zones, "DeletionProtection": guarded, "CopyTagsToSnapshot": like.get("CopyTagsToSnapshot", True)}
    if exports := like.get("EnabledCloudwatchLogsExports"):
        settings["EnableCloudwatchLogsExports"] = exports
    return {**plan_place(params, source, doing), **settings}
