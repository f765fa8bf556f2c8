# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state ``verified`` of ``rds_backup``: a snapshot is restored to an instance for trial, looked through, and the instance is removed, whatever happens.

The instance says by tags whose it is and until when a run is at it. One whose time is over was left by a run that was cut off; the next run removes it.
The master password of a restored instance is that of the source. It gets a random one at once, so that no secret of the source is needed here.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Rds, Row, tags_of
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_instances import Instances, wait_serving
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_login import login_to, wait_login
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds_place import plan_trial
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Keeper, Outcome
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import Snapshot, Trial
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import from_text, to_text, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, VerificationFailed, rto_seconds, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.integrity import Examination, examine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import Query

OF = "mainstay:trial-of"
"""The tag of an instance for trial: whose snapshot it is of."""
UNTIL = "mainstay:trial-until"
"""The tag that says until when a run is at it; the run moves it on."""
LEASE = 900
BEAT = 60
"""Seconds: how far it is moved on, and how often."""
REMOVAL = 3600
"""Seconds that the removal may take. An instance cannot always be removed while it is being made."""
CLOSED = ("rdsadmin",)
"""AWS's own database in every instance, which nobody may log in to."""
SPOILT = ("incompatible-restore", "restore-error", "failed")
"""States of a new instance that tell of its snapshot (Amazon RDS User Guide, "Viewing Amazon RDS DB instance status")."""
NAME_CHARACTERS = 40
"""An instance's identifier has at most 63."""


def lease(seconds: float = LEASE) -> str:
    """Return the text of the tag that holds an instance for so many seconds from now."""
    return to_text(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds))


def split_leftovers(instances: t.Iterable[Row], name: str, now: datetime.datetime) -> tuple[list[str], list[str]]:
    """Return the instances for trial of a name that runs have left, and those that a run is at."""
    left, held = [], []
    for row in instances:
        tags = tags_of(row)
        if tags.get(OF) != name or row["DBInstanceStatus"] == "deleting":
            continue
        try:
            over = from_text(tags.get(UNTIL, "")) < now
        except ValueError:
            over = True
        (left if over else held).append(row["DBInstanceIdentifier"])
    return left, held


@dataclasses.dataclass(frozen=True)
class Verifier:
    """A verification.

    Args:
        keeper: the snapshots.
        rds: the calls that tell of instances, and tag.
        instances: the calls that make, change and remove instances.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    keeper: Keeper
    rds: Rds
    instances: Instances
    params: t.Mapping[str, t.Any]
    check_mode: bool

    @property
    def name(self) -> str:
        """The source instance."""
        return self.keeper.name

    def verified(self) -> Outcome:
        """The snapshot was restored for trial and looked through not longer than ``max_age`` ago, with the same queries."""
        limit, targets, now = spec.parse_duration(self.params["max_age"]), Targets.of(self.params), utc_now()
        snapshot = snapshots.choose(self.keeper.found(), self.params["backup_id"], f"verify a snapshot of {self.name}")
        outcome = Outcome(snapshot=snapshot, before=self._line(snapshot), after=self._line(snapshot))
        left, held = split_leftovers(self.rds.instances(), self.name, now)
        outcome.warnings += [f"another run is at the instance {each}, or was cut off a short time ago; one whose time is over is removed" for each in held]
        outcome.actions = [f"remove the instance {each}, which an earlier verification has left" for each in left]
        trial = snapshot.trial
        if limit and trial and snapshot.verified and trial.asked == self._asked and (now - trial.at).total_seconds() <= limit:
            details, missed = targets.judge({"rto_seconds": trial.seconds})
            outcome.warnings += missed
            outcome.verification = Verification(trial.at, "restore", trial.status, trial.seconds, {}, "", {"rto_seconds": trial.seconds, **details}).plain()
            self._clear(left)
            return outcome
        settings = plan_trial(self.params, self.rds.instance(self.name), f"restore the snapshot {snapshot.id} for trial")
        outcome.actions.append(f"restore snapshot {snapshot.id} to an instance for trial, check it, and remove the instance")
        outcome.after = [f"{snapshot.id}: restore successful"]
        self._clear(left)
        if not self.check_mode:
            self._try(snapshot, settings, targets, outcome)
        return outcome

    @property
    def _asked(self) -> str:
        return snapshots.digest(self.params["verify_queries"])

    @staticmethod
    def _line(snapshot: Snapshot) -> list[str]:
        return [f"{snapshot.id}: restore {snapshot.trial.status}"] if snapshot.trial else []

    def _clear(self, left: t.Iterable[str]) -> None:
        """Remove what earlier runs have left."""
        for name in left:
            if not self.check_mode:
                self._remove(name)

    def _try(self, snapshot: Snapshot, settings: dict[str, t.Any], targets: Targets, outcome: Outcome) -> None:
        """Restore, look, record and remove."""
        trial = f"{self.name[:NAME_CHARACTERS].rstrip('-')}-trial-{secrets.token_hex(4)}"
        began, started, cause = utc_now(), time.monotonic(), None
        details: dict[str, t.Any] = {"rpo_seconds": max(0.0, (began - snapshot.moment).total_seconds())}
        try:
            try:
                details.update(self._look(snapshot, trial, settings, outcome.phases))
            except VerificationFailed as error:
                cause = error
            details["rto_seconds"] = rto_seconds(outcome.phases)
            met, missed = targets.judge(details)
            outcome.warnings += [*details.pop("warnings", []), *missed]
            details |= met
            status, seconds = "failed" if cause else "successful", round(time.monotonic() - started, 3)
            result = Verification(utc_now(), "restore", status, seconds, outcome.phases, str(cause or ""), details)
            done = Trial(result.status, result.at, 0.0 if cause else details["rto_seconds"], self._asked)
            self.rds.tag(snapshot.arn, {snapshots.TRIAL: done.text})
            outcome.snapshot = dataclasses.replace(snapshot, tags={**snapshot.tags, snapshots.TRIAL: done.text})
        finally:
            with timed(outcome.phases, "remove"), uninterrupted():
                self._remove(trial)
        outcome.verification = result.plain()
        if cause is not None:
            raise VerificationFailed(f"verify snapshot {snapshot.id}", cause, verification=result.plain()) from cause

    def _look(self, snapshot: Snapshot, trial: str, settings: dict[str, t.Any], phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore to an instance and look through it."""
        password = secrets.token_urlsafe(24)
        beat = Beat(self.rds, snapshot.arn.replace(f":snapshot:{snapshot.id}", f":db:{trial}"))
        with timed(phases, "restore"):
            self.instances.restore(snapshot.id, trial, {OF: self.name, UNTIL: lease()}, **settings)
            try:
                instance = wait_serving(self.rds, trial, self.keeper.patience(beat))
            except MainstayError as error:
                if any(f"it is {state}," in error.cause for state in SPOILT):
                    raise VerificationFailed(error.doing, error.cause) from error
                raise
        with timed(phases, "connect"):
            self.instances.change(trial, MasterUserPassword=password)
            login = login_to(instance, self.params, instance["MasterUsername"], password, "postgres")
            self._wait_login(login, trial, self.keeper.patience(beat))
        with timed(phases, "check"):
            beat.hold(self.params["check_timeout"] + LEASE)
            queries = tuple(Query(**query) for query in self.params["verify_queries"])
            return examine(login, Examination(queries, CLOSED, self.params["check_timeout"]))

    @staticmethod
    def _wait_login(login: Login, trial: str, patience: Patience) -> None:
        """Wait until one can log in. RDS takes a while to apply the password, and its status does not say so at once.

        Raises:
            MainstayError: nobody could until the time was over.
        """
        try:
            wait_login(login, f"log in to the instance {trial}", patience)
        except MainstayError as error:
            step = "run it where the database's subnets can be reached, such as a host in the VPC, and see the security groups"
            raise MainstayError(error.doing, error.cause, step) from error

    def _remove(self, name: str) -> None:
        """Remove an instance for trial and wait until it is gone."""
        doing, seen = f"remove the instance {name}", [""]

        def step() -> str:
            row = self.rds.instance(name)
            if row is None:
                return ""
            if row["DBInstanceStatus"] != "deleting":
                try:
                    self.instances.remove(name)
                except AwsError as error:
                    if error.code != "InvalidDBInstanceState":
                        raise
                    seen[0] = f" ({error.cause})"
            return f"it is {row['DBInstanceStatus']}{seen[0]}"

        try:
            Patience(max(REMOVAL, self.params["wait_timeout"]), self.params["poll_interval"]).wait(doing, step, lambda state: state)
        except MainstayError as error:
            by_hand = f"it costs money until it is removed: aws rds delete-db-instance --db-instance-identifier {name} --skip-final-snapshot"
            raise MainstayError(doing, error.cause, by_hand) from error


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
