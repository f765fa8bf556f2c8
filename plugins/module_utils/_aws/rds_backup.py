# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``rds_backup``: each looks first, then acts unless it is a check run, and returns the same keys either way."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds, refuse_missing
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import Instances, refuse_unready, wait_serving
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_restore import Restorer
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_trial import InstanceBed
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Copy, Keeper, Outcome, listing, timed_run
from ansible_collections.mainstay.ops.plugins.module_utils._aws.trial import Verifier
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

Params = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """One run.

    Args:
        rds: the calls that tell of instances, and work on snapshots.
        instances: the calls that work on instances.
        copies: the same in other regions.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    rds: Rds
    instances: Instances
    copies: tuple[Copy, ...]
    params: Params
    check_mode: bool

    @property
    def name(self) -> str:
        """The identifier of the instance whose snapshots these are. AWS keeps identifiers in small letters."""
        return str(self.params["db_instance_identifier"]).lower()

    @property
    def keeper(self) -> Keeper:
        """The snapshots."""
        return Keeper(self.name, self.rds, self.copies, self.params, self.check_mode)

    def run(self) -> tuple[dict[str, t.Any], list[str]]:
        """Bring about the state that is asked for; return the module's result and warnings.

        Raises:
            MainstayError: it could not be done.
        """
        regions = [self.rds.region, *(copy.shelf.region for copy in self.copies)]
        if twice := sorted({region for region in regions if regions.count(region) > 1}):
            raise InvalidInput("use the regions in copies", f"{', '.join(twice)} is named twice", "name other regions than region, each once")
        states: dict[str, t.Callable[[], Outcome]] = {
            "present": lambda: self.keeper.present(self.prepare),
            "verified": Verifier(self.keeper, InstanceBed(self.name, self.rds, self.instances, self.params), self.params, self.check_mode).verified,
            "restored": Restorer(self.keeper, self.rds, self.instances, self.params, self.check_mode).restored,
            "copied": self.keeper.copied,
            "pruned": self.keeper.pruned,
            "absent": self.keeper.absent,
        }
        return timed_run(states[self.params["state"]])

    def prepare(self, wait: bool) -> bool:
        """See whether a snapshot of the instance can be taken, and wait for that; return whether it would be encrypted."""
        doing = f"take a snapshot of {self.name}"
        instance = refuse_missing(self.rds.instance(self.name), self.name, self.rds.region, doing)
        refuse_unready(instance, doing)
        if wait:
            wait_serving(self.rds, self.name, self.keeper.patience())
        return bool(instance.get("StorageEncrypted"))


def overview(rds: Rds, name: str, selector: str | None) -> dict[str, t.Any]:
    """Return what the info module tells."""
    instance = rds.instance(name)
    restorable = instance.get("LatestRestorableTime") if instance else None
    return {
        **listing(snapshots.ours(rds.snapshots(name), name), selector, f"find a snapshot of {name}"),
        "instance_status": instance["DBInstanceStatus"] if instance else "",
        "point_in_time_to": to_text(restorable) if restorable else None,
    }
