# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of ``elasticache_backup``: those of any snapshot, of a replication group of ElastiCache."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache import ElastiCache, refuse_unready
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_bucket import BucketShelf, refuse_tiering
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_groups import Groups, wait_available
from ansible_collections.mainstay.ops.plugins.module_utils._aws.elasticache_trial import GroupBed
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Copy, Keeper, Outcome, listing, timed_run
from ansible_collections.mainstay.ops.plugins.module_utils._aws.trial import Verifier
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput


@dataclasses.dataclass(frozen=True)
class Job:
    """One run.

    Args:
        cache: the calls that tell of groups, and work on snapshots.
        groups: the calls that make and remove groups.
        buckets: what holds their data as well.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    cache: ElastiCache
    groups: Groups
    buckets: tuple[BucketShelf, ...]
    params: t.Mapping[str, t.Any]
    check_mode: bool

    @property
    def name(self) -> str:
        """The group whose snapshots these are. AWS keeps its name in small letters."""
        return str(self.params["replication_group_id"]).lower()

    @property
    def keeper(self) -> Keeper:
        """The snapshots."""
        return Keeper(self.name, self.cache, tuple(Copy(bucket) for bucket in self.buckets), self.params, self.check_mode)

    def run(self) -> tuple[dict[str, t.Any], list[str]]:
        """Bring about the state that is asked for; return the module's result and warnings.

        Raises:
            MainstayError: it could not be done.
        """
        places = [bucket.region for bucket in self.buckets]
        if twice := sorted({place for place in places if places.count(place) > 1}):
            raise InvalidInput("use the buckets in copies", f"{', '.join(twice)} is named twice", "name each once")
        if self.params["min_keys"] < 0 or self.params["check_timeout"] < 1:
            raise InvalidInput("verify a snapshot", "min_keys is less than 0, or check_timeout less than 1", "give more")
        if self.params["state"] in ("present", "copied"):
            for bucket in self.buckets:
                bucket.refuse_unfit()
        states: dict[str, t.Callable[[], Outcome]] = {
            "present": lambda: self.keeper.present(self.prepare),
            "verified": Verifier(self.keeper, GroupBed(self.name, self.cache, self.groups, self.params), self.params, self.check_mode).verified,
            "copied": self.keeper.copied,
            "pruned": self.keeper.pruned,
            "absent": self.keeper.absent,
        }
        return timed_run(states[self.params["state"]])

    def prepare(self, wait: bool) -> bool:
        """See whether a snapshot of the group can be taken, and wait for that; return whether a copy would need a key, which an export does not."""
        group = refuse_unready(self.cache.group(self.name), self.name, self.cache.region)
        if self.buckets:
            refuse_tiering(group.get("DataTiering") == "enabled", f"export a snapshot of {self.name}")
        if wait:
            wait_available(self.cache, self.name, self.keeper.patience())
        return False


def overview(cache: ElastiCache, name: str, selector: str | None) -> dict[str, t.Any]:
    """Return what the info module tells."""
    group = cache.group(name)
    found = snapshots.ours(cache.snapshots(name), name)
    return {**listing(found, selector, f"find a snapshot of {name}"), "group_status": group["Status"] if group else ""}
