# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``elasticache_backup``: those of any snapshot, of a replication group of ElastiCache."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import PASSING, ElastiCache, refuse_unready
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Row
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Keeper, Outcome, listing, timed_run
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


@dataclasses.dataclass(frozen=True)
class Job:
    """One run.

    Args:
        cache: the calls.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    cache: ElastiCache
    params: t.Mapping[str, t.Any]
    check_mode: bool

    @property
    def name(self) -> str:
        """The group whose snapshots these are. AWS keeps its name in small letters."""
        return str(self.params["replication_group_id"]).lower()

    @property
    def keeper(self) -> Keeper:
        """The snapshots."""
        return Keeper(self.name, self.cache, (), self.params, self.check_mode)

    def run(self) -> tuple[dict[str, t.Any], list[str]]:
        """Bring about the state that is asked for; return the module's result and warnings.

        Raises:
            MainstayError: it could not be done.
        """
        states: dict[str, t.Callable[[], Outcome]] = {
            "present": lambda: self.keeper.present(self.prepare),
            "pruned": self.keeper.pruned,
            "absent": self.keeper.absent,
        }
        return timed_run(states[self.params["state"]])

    def prepare(self, wait: bool) -> bool:
        """See whether a snapshot of the group can be taken, and wait for that; return whether it would be encrypted."""
        group = refuse_unready(self.cache.group(self.name), self.name, self.cache.region)
        if wait:
            doing = f"wait for the replication group {self.name}"

            def pending(found: Row | None) -> str:
                if found is None or found["Status"] not in PASSING | {"available"}:
                    raise MainstayError(doing, "it is gone" if found is None else f"it is {found['Status']}", "see its events in AWS")
                return "" if found["Status"] == "available" else f"it is {found['Status']}"

            self.keeper.patience().wait(doing, lambda: self.cache.group(self.name), pending)
        return bool(group.get("AtRestEncryptionEnabled"))


def overview(cache: ElastiCache, name: str, selector: str | None) -> dict[str, t.Any]:
    """Return what the info module tells."""
    group = cache.group(name)
    found = snapshots.ours(cache.snapshots(name), name)
    return {**listing(found, selector, f"find a snapshot of {name}"), "group_status": group["Status"] if group else ""}
