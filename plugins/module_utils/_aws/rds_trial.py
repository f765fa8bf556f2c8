# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instance of RDS that ``rds_backup`` restores a snapshot to for trial, and looks through.

The master password of a restored instance is that of the source. It gets a random one at once, so that no secret of the source is needed here.
"""

from __future__ import annotations

import dataclasses
import secrets
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds, Row, tags_of
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import Instances, wait_serving
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_login import login_to, wait_login
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_place import plan_trial
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import Snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._aws.trial import LEASE, OF, REMOVAL, UNTIL, Lodger, lease, remove
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import VerificationFailed, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.integrity import Examination, examine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import Query

BEAT = 60
"""Seconds after which the time of an instance is moved on."""
CLOSED = ("rdsadmin",)
"""AWS's own database in every instance, which nobody may log in to."""
SPOILT = ("incompatible-restore", "restore-error", "failed")
"""States of a new instance that tell of its snapshot (Amazon RDS User Guide, "Viewing Amazon RDS DB instance status")."""


def lodgers(instances: t.Iterable[Row]) -> list[Lodger]:
    """Return the instances that are not being removed, with their tags."""
    return [Lodger(row["DBInstanceIdentifier"], tags_of(row)) for row in instances if row["DBInstanceStatus"] != "deleting"]


@dataclasses.dataclass(frozen=True)
class InstanceBed:
    """An instance for trial; see ``trial.Bed``.

    Args:
        source: the instance that snapshots are of.
        rds: the calls that tell of instances, and tag.
        instances: the calls that make, change and remove instances.
        params: the module's options.
    """

    source: str
    rds: Rds
    instances: Instances
    params: t.Mapping[str, t.Any]

    noun: t.ClassVar[str] = "instance"
    name_characters: t.ClassVar[int] = 40
    """An instance's identifier has at most 63."""

    @property
    def asked(self) -> str:
        """A word for the queries."""
        return snapshots.digest(self.params["verify_queries"])

    def lodgers(self) -> list[Lodger]:
        """Return the instances."""
        return lodgers(self.rds.instances())

    def plan(self, snapshot: Snapshot, doing: str) -> dict[str, t.Any]:
        """Return how it is made; see :func:`.rds_place.plan_trial`."""
        return plan_trial(self.params, self.rds.instance(self.source), doing)

    def tag(self, arn: str, tags: t.Mapping[str, str]) -> None:
        """Set tags."""
        self.rds.tag(arn, tags)

    def _patience(self, beat: t.Callable[[], None] | None = None) -> Patience:
        return Patience(self.params["wait_timeout"], self.params["poll_interval"], beat)

    def look(self, snapshot: Snapshot, name: str, settings: t.Mapping[str, t.Any], phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore to an instance and look through it: every row is read, every foreign key followed, and the queries are put."""
        password = secrets.token_urlsafe(24)
        beat = Beat(self.rds, snapshot.arn.replace(f":snapshot:{snapshot.id}", f":db:{name}"))
        with timed(phases, "restore"):
            self.instances.restore(snapshot.id, name, {OF: self.source, UNTIL: lease()}, **settings)
            try:
                instance = wait_serving(self.rds, name, self._patience(beat))
            except MainstayError as error:
                if any(f"it is {state}," in error.cause for state in SPOILT):
                    raise VerificationFailed(error.doing, error.cause) from error
                raise
        with timed(phases, "connect"):
            self.instances.change(name, MasterUserPassword=password)
            login = login_to(instance, self.params, instance["MasterUsername"], password, "postgres")
            self._wait_login(login, name, self._patience(beat))
        with timed(phases, "check"):
            beat.hold(self.params["check_timeout"] + LEASE)
            queries = tuple(Query(**query) for query in self.params["verify_queries"])
            return examine(login, Examination(queries, CLOSED, self.params["check_timeout"]))

    @staticmethod
    def _wait_login(login: Login, name: str, patience: Patience) -> None:
        """Wait until one can log in. RDS takes a while to apply the password, and its status does not say so at once.

        Raises:
            MainstayError: nobody could until the time was over.
        """
        try:
            wait_login(login, f"log in to the instance {name}", patience)
        except MainstayError as error:
            step = "run it where the database's subnets can be reached, such as a host in the VPC, and see the security groups"
            raise MainstayError(error.doing, error.cause, step) from error

    def remove(self, name: str) -> None:
        """Remove an instance for trial and wait until it is gone."""

        def status() -> str | None:
            row = self.rds.instance(name)
            return str(row["DBInstanceStatus"]) if row else None

        patience = Patience(max(REMOVAL, self.params["wait_timeout"]), self.params["poll_interval"])
        by_hand = f"aws rds delete-db-instance --db-instance-identifier {name} --skip-final-snapshot"
        remove(status, lambda: self.instances.remove(name), "InvalidDBInstanceState", patience, f"remove the instance {name}", by_hand)


class Beat:
    """Holds an instance for trial for this run."""

    def __init__(self, rds: Rds, arn: str) -> None:
        """Hold the instance of an ARN; it has just been made with a tag."""
        self._rds, self._arn, self._next = rds, arn, time.monotonic() + BEAT

    def __call__(self) -> None:
        """Move the time on if that is due."""
        if time.monotonic() >= self._next:
            self.hold(LEASE)

    def hold(self, seconds: float) -> None:
        """Hold it for so many seconds from now."""
        self._rds.tag(self._arn, {UNTIL: lease(seconds)})
        self._next = time.monotonic() + BEAT
