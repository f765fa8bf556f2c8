# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state ``restored`` of ``rds_backup``: a snapshot becomes an instance, which takes the name of an old one only if that is asked for.

RDS restores into new instances only. For a name that is taken the new instance is made beside the old one, and both are renamed once it serves (Amazon RDS
User Guide, "Renaming a DB instance"): the name of the endpoint goes along. All names follow from the snapshot's, so that a run that was cut off is finished.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds, Row, tags_of
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import Instances, pending, wait_serving
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_place import plan_restored
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Keeper, Outcome
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

FROM = "mainstay:restored-from"
"""The tag of a restored instance: the snapshot."""
GOES_TO = "mainstay:restored-as"
"""The tag of an instance that waits for its name."""
NAME_CHARACTERS = 40
"""An instance's identifier has at most 63."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do.

    Args:
        target: the name that the restored instance has in the end.
        beside: the name that it has until then; empty if it has its own at once.
        aside: the name that the old instance gets; empty if there is none.
        make: whether the instance has still to be made.
        swap: whether names have still to be changed.
    """

    target: str
    beside: str = ""
    aside: str = ""
    make: bool = False
    swap: bool = False

    def words(self, snapshot: str) -> list[str]:
        """Return it in words."""
        found = [f"restore snapshot {snapshot} to the new instance {self.beside or self.target}"] if self.make else []
        if self.swap and self.aside:
            found.append(f"rename the instance {self.target} to {self.aside}")
        return found + ([f"rename the instance {self.beside} to {self.target}"] if self.swap else [])


def plan(target: str, snapshot: str, instances: t.Mapping[str, Row], on_existing: str) -> Plan:
    """Plan a restore.

    Args:
        target: the name that the restored instance has in the end.
        snapshot: the identifier of the snapshot.
        instances: all instances of the region, by name.
        on_existing: what happens to one that has the name: ``fail`` or ``rename``.

    Raises:
        InvalidInput: the name is taken, or another restore to it is not finished.
    """
    doing, old = f"restore snapshot {snapshot} to the instance {target}", instances.get(target)
    if old is not None and tags_of(old).get(FROM) == snapshot:
        return Plan(target)
    stem, word = target[:NAME_CHARACTERS].rstrip("-"), snapshot[-6:].strip("-")
    beside, aside = f"{stem}-restored-{word}", f"{stem}-before-{word}"
    waiting = {name: tags_of(row).get(FROM, "") for name, row in instances.items() if name != target and tags_of(row).get(GOES_TO) == target}
    if others := sorted(name for name in waiting if name != beside):
        cause = f"{', '.join(others)} waits for this name, since a restore of {', '.join(waiting[name] for name in others)} was cut off"
        raise InvalidInput(doing, cause, "finish that restore by its backup_id, or remove that instance")
    if beside in instances and beside not in waiting:
        raise InvalidInput(doing, f"the name {beside}, which the new instance has until it serves, is taken by one that is not ours", "rename that one")
    if old is None and not waiting:
        return Plan(target, make=True)
    if old is not None and on_existing == "fail":
        raise InvalidInput(doing, f"there is an instance {target} already", "say another name, or on_existing=rename, which keeps the old one aside")
    if old is not None and aside in instances:
        raise InvalidInput(doing, f"the name {aside}, which the old instance would get, is taken", "rename or remove that one")
    return Plan(target, beside, aside if old is not None else "", make=not waiting, swap=True)


@dataclasses.dataclass(frozen=True)
class Restorer:
    """A restore.

    Args:
        keeper: the snapshots.
        rds: the calls that tell of instances.
        instances: the calls that make and change instances.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    keeper: Keeper
    rds: Rds
    instances: Instances
    params: t.Mapping[str, t.Any]
    check_mode: bool

    def restored(self) -> Outcome:
        """There is an instance of the name that was made of the snapshot."""
        target = self.params["target_db_instance_identifier"].lower()
        snapshot = snapshots.choose(self.keeper.found(), self.params["backup_id"], f"restore a snapshot of {self.keeper.name}")
        known = {row["DBInstanceIdentifier"]: row for row in self.rds.instances()}
        planned = plan(target, snapshot.id, known, self.params["on_existing"])
        settings: dict[str, t.Any] = {}
        if planned.make:
            settings = plan_restored(self.params, known.get(self.keeper.name), f"restore snapshot {snapshot.id} to the instance {target}")
        before = sorted({target} & set(known))
        outcome = Outcome(snapshot=snapshot, actions=planned.words(snapshot.id), before=before)
        outcome.after = sorted({target, *([planned.aside] if planned.aside else [])})
        outcome.expected_seconds = snapshot.trial.seconds if snapshot.verified and snapshot.trial else None
        if not self.check_mode:
            row = self._carry_out(planned, snapshot.id, settings, outcome.phases)
            endpoint = row.get("Endpoint") or {}
            place = {"address": endpoint.get("Address"), "port": endpoint.get("Port")}
            outcome.restored = [{"instance": target, "snapshot": snapshot.id, "aside": planned.aside, **place}]
        return outcome

    def _carry_out(self, planned: Plan, snapshot: str, settings: t.Mapping[str, t.Any], phases: dict[str, float]) -> Row:
        """Do what is planned, and return the instance."""
        first = planned.beside or planned.target
        with timed(phases, "restore"):
            if planned.make:
                tags = {FROM: snapshot, **({GOES_TO: planned.target} if planned.beside else {})}
                self.instances.restore(snapshot, first, tags, **settings)
            row = wait_serving(self.rds, first, self.keeper.patience())
        if planned.swap:
            with timed(phases, "swap"):
                if planned.aside:
                    self._rename(planned.target, planned.aside)
                row = self._rename(planned.beside, planned.target)
        return row

    def _rename(self, old: str, new: str) -> Row:
        """Rename an instance and wait until it serves under its new name."""
        self.instances.change(old, NewDBInstanceIdentifier=new)
        doing = f"rename the instance {old} to {new}"

        def still(row: Row | None) -> str:
            return "it has its old name" if row is None or self.rds.instance(old) is not None else pending(row, new, doing)

        return t.cast(Row, self.keeper.patience().wait(doing, lambda: self.rds.instance(new), still))
