# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances of RDS: what they are doing, and the calls that make, change and remove them."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import calling, unless_done
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds, Row, tag_list
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

SERVING = frozenset(("available", "storage-optimization", "storage-initialization"))
PASSING = frozenset(
    ("backing-up", "creating", "maintenance", "modifying", "rebooting", "renaming", "resetting-master-credentials", "starting", "storage-config-upgrade")
    + ("upgrading", "converting-to-vpc", "moving-to-vpc")
    + ("configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports", "configuring-associated-roles")
)
"""States that end by themselves; any other one does not (Amazon RDS User Guide, "Viewing Amazon RDS DB instance status")."""


def pending(instance: Row | None, name: str, doing: str) -> str:
    """Say what an instance still is; nothing once it serves.

    Raises:
        MainstayError: it is in a state that does not end by itself, or is not there.
    """
    if instance is None:
        raise MainstayError(doing, f"there is no instance {name} any more", "see who has removed it")
    status = instance["DBInstanceStatus"]
    if status in SERVING:
        return ""
    if status in PASSING:
        return f"it is {status}"
    raise MainstayError(doing, f"it is {status}, which does not end by itself", "see the events of the instance in AWS")


def wait_serving(rds: Rds, name: str, patience: Patience) -> Row:
    """Wait until an instance serves, and return it."""
    doing = f"wait for the instance {name}"
    return t.cast(Row, patience.wait(doing, lambda: rds.instance(name), lambda found: pending(found, name, doing)))


def refuse_unready(instance: Row, doing: str) -> None:
    """Refuse an instance that neither serves nor will.

    Raises:
        InvalidInput: so.
    """
    status = instance["DBInstanceStatus"]
    if status not in SERVING | PASSING:
        raise InvalidInput(doing, f"{instance['DBInstanceIdentifier']} is {status}", "bring it to the state available first")


class Instances:
    """What makes, changes and removes instances."""

    def __init__(self, client: t.Any, region: str) -> None:
        """Use a boto3 client with retries."""
        self._client, self._region = client, region

    def restore(self, snapshot: str, name: str, tags: t.Mapping[str, str], **settings: t.Any) -> None:
        """Begin to make an instance of a snapshot; one of that name with our tags is there already if only the answer was lost."""
        with unless_done("DBInstanceAlreadyExists"), calling(f"restore the snapshot {snapshot} to the instance {name}"):
            self._client.restore_db_instance_from_db_snapshot(
                DBInstanceIdentifier=name, DBSnapshotIdentifier=snapshot, Tags=tag_list(tags), aws_retry=True, **settings
            )

    def change(self, name: str, **settings: t.Any) -> None:
        """Change an instance at once."""
        with calling(f"change the instance {name}"):
            self._client.modify_db_instance(DBInstanceIdentifier=name, ApplyImmediately=True, aws_retry=True, **settings)

    def remove(self, name: str) -> None:
        """Remove an instance with its own backups, without a last snapshot; one that is gone is removed."""
        with unless_done("DBInstanceNotFound"), calling(f"remove the instance {name}"):
            self._client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True, aws_retry=True)
