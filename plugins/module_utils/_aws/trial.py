# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state ``verified`` of modules that keep snapshots in AWS: one is restored for trial, looked through, and what was made is removed, whatever happens.

What is made says by tags whose it is and until when a run is at it. What is there after its time was left by a run that was cut off; the next run removes it.
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
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshot_states import Keeper, Outcome
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import Snapshot, Trial
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import from_text, to_text, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, VerificationFailed, rto_seconds, timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import uninterrupted

OF = "mainstay:trial-of"
"""The tag of what was made for trial: whose snapshot it is of."""
UNTIL = "mainstay:trial-until"
"""The tag that says until when a run is at it."""
LEASE = 900
"""Seconds from now that it says."""
REMOVAL = 3600
"""Seconds that the removal may take. Not everything can be removed while it is being made."""


@dataclasses.dataclass(frozen=True)
class Lodger:
    """What is there in AWS, and is perhaps for trial.

    Args:
        name: its identifier.
        tags: its tags.
    """

    name: str
    tags: t.Mapping[str, str]


class Bed(t.Protocol):
    """What a kind of snapshot is restored to for trial."""

    noun: str
    """What that is, in words."""
    name_characters: int
    """How many characters of the source's name have room in its own."""

    @property
    def asked(self) -> str:
        """What is asked of it, as a word by which a trial with other questions is told from one with these."""

    def lodgers(self) -> list[Lodger]:
        """Return what there is and is not being removed."""

    def plan(self, snapshot: Snapshot, doing: str) -> dict[str, t.Any]:
        """Return how it is made of a snapshot.

        Raises:
            InvalidInput: that cannot be told.
        """

    def look(self, snapshot: Snapshot, name: str, settings: t.Mapping[str, t.Any], phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore a snapshot to it and look through it; return what was seen, for the details of the verification.

        Raises:
            VerificationFailed: the snapshot is at fault.
            MainstayError: it could not be tried.
        """

    def remove(self, name: str) -> None:
        """Remove it and wait until it is gone."""

    def tag(self, arn: str, tags: t.Mapping[str, str]) -> None:
        """Set tags of a snapshot."""


def lease(seconds: float = LEASE) -> str:
    """Return the text of the tag that holds something for so many seconds from now."""
    return to_text(datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds))


def split_leftovers(found: t.Iterable[Lodger], name: str, now: datetime.datetime) -> tuple[list[str], list[str]]:
    """Return what was made for trials of a name and is left over, and what a run is at."""
    left, held = [], []
    for each in found:
        if each.tags.get(OF) != name:
            continue
        try:
            over = from_text(each.tags.get(UNTIL, "")) < now
        except ValueError:
            over = True
        (left if over else held).append(each.name)
    return left, held


def remove(status: t.Callable[[], str | None], act: t.Callable[[], None], busy: str, patience: Patience, doing: str, by_hand: str) -> None:
    """Remove something and wait until it is gone.

    Args:
        status: tells its state; None once it is gone.
        act: begins to remove it.
        busy: the error code that says "not now".
        patience: how long.
        doing: all of this, as a verb phrase.
        by_hand: what to do if it is still there in the end.

    Raises:
        MainstayError: it is.
    """
    seen = [""]

    def step() -> str:
        state = status()
        if state is None:
            return ""
        if state != "deleting":
            try:
                act()
            except AwsError as error:
                if error.code != busy:
                    raise
                seen[0] = f" ({error.cause})"
        return f"it is {state}{seen[0]}"

    try:
        patience.wait(doing, step, lambda problem: problem)
    except MainstayError as error:
        raise MainstayError(doing, error.cause, f"it costs money until it is removed: {by_hand}") from error


@dataclasses.dataclass(frozen=True)
class Verifier:
    """A verification.

    Args:
        keeper: the snapshots.
        bed: what they are restored to.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    keeper: Keeper
    bed: Bed
    params: t.Mapping[str, t.Any]
    check_mode: bool

    @property
    def name(self) -> str:
        """The source."""
        return self.keeper.name

    def verified(self) -> Outcome:
        """The snapshot was restored for trial and looked through not longer than ``max_age`` ago, with the same questions."""
        limit, targets, now = spec.parse_duration(self.params["max_age"]), Targets.of(self.params), utc_now()
        snapshot = snapshots.choose(self.keeper.found(), self.params["backup_id"], f"verify a snapshot of {self.name}")
        outcome, noun = Outcome(snapshot=snapshot, before=self._line(snapshot), after=self._line(snapshot)), self.bed.noun
        left, held = split_leftovers(self.bed.lodgers(), self.name, now)
        outcome.warnings += [f"another run is at the {noun} {each}, or was cut off a short time ago; one whose time is over is removed" for each in held]
        outcome.actions = [f"remove the {noun} {each}, which an earlier verification has left" for each in left]
        trial = snapshot.trial
        if limit and trial and snapshot.verified and trial.asked == self.bed.asked and (now - trial.at).total_seconds() <= limit:
            details, missed = targets.judge({"rto_seconds": trial.seconds})
            outcome.warnings += missed
            outcome.verification = Verification(trial.at, "restore", trial.status, trial.seconds, {}, "", {"rto_seconds": trial.seconds, **details}).plain()
            self._clear(left)
            return outcome
        settings = self.bed.plan(snapshot, f"restore the snapshot {snapshot.id} for trial")
        article = "an" if noun[0] in "aeiou" else "a"
        outcome.actions.append(f"restore snapshot {snapshot.id} to {article} {noun} for trial, check it, and remove the {noun}")
        outcome.after = [f"{snapshot.id}: restore successful"]
        self._clear(left)
        if not self.check_mode:
            self._try(snapshot, settings, targets, outcome)
        return outcome

    @staticmethod
    def _line(snapshot: Snapshot) -> list[str]:
        return [f"{snapshot.id}: restore {snapshot.trial.status}"] if snapshot.trial else []

    def _clear(self, left: t.Iterable[str]) -> None:
        """Remove what earlier runs have left."""
        for name in left:
            if not self.check_mode:
                self.bed.remove(name)

    def _try(self, snapshot: Snapshot, settings: dict[str, t.Any], targets: Targets, outcome: Outcome) -> None:
        """Restore, look, record and remove."""
        trial = f"{self.name[: self.bed.name_characters].rstrip('-')}-trial-{secrets.token_hex(4)}"
        began, started, cause = utc_now(), time.monotonic(), None
        details: dict[str, t.Any] = {"rpo_seconds": max(0.0, (began - snapshot.moment).total_seconds())}
        try:
            try:
                details.update(self.bed.look(snapshot, trial, settings, outcome.phases))
            except VerificationFailed as error:
                cause = error
            details["rto_seconds"] = rto_seconds(outcome.phases)
            met, missed = targets.judge(details)
            outcome.warnings += [*details.pop("warnings", []), *missed]
            details |= met
            status, seconds = "failed" if cause else "successful", round(time.monotonic() - started, 3)
            result = Verification(utc_now(), "restore", status, seconds, outcome.phases, str(cause or ""), details)
            done = Trial(result.status, result.at, 0.0 if cause else details["rto_seconds"], self.bed.asked)
            self.bed.tag(snapshot.arn, {snapshots.TRIAL: done.text})
            outcome.snapshot = dataclasses.replace(snapshot, tags={**snapshot.tags, snapshots.TRIAL: done.text})
        finally:
            with timed(outcome.phases, "remove"), uninterrupted():
                self.bed.remove(trial)
        outcome.verification = result.plain()
        if cause is not None:
            raise VerificationFailed(f"verify snapshot {snapshot.id}", cause, verification=result.plain()) from cause
