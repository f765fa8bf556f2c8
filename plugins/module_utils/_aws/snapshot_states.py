# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a module that keeps snapshots in AWS and need to know nothing of their kind: present, copied, pruned, absent."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws import snapshots
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import AwsError, NoReply
from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.snapshots import NEW, Snapshot
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec, states
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import to_text, utc_now
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Policy
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

LATEST = ("latest", "latest_verified")


class Place(t.Protocol):
    """Where snapshots of a kind are."""

    region: str
    """Its name in words, for a person."""

    def snapshots(self, name: str) -> list[Snapshot]:
        """Return all snapshots of what has that name."""

    def remove(self, snapshot: str) -> None:
        """Remove a snapshot."""


class Shelf(Place, t.Protocol):
    """Where snapshots are taken."""

    def take(self, name: str, snapshot: str, tags: t.Mapping[str, str]) -> None:
        """Begin a snapshot."""


class CopyShelf(Place, t.Protocol):
    """Where copies of snapshots are."""

    def bring(self, source: Snapshot, kms_key: str | None) -> None:
        """Begin a copy of a snapshot that lies elsewhere."""


@dataclasses.dataclass(frozen=True)
class Copy:
    """A further place that holds every snapshot.

    Args:
        shelf: the place.
        kms_key: what copies are encrypted with there.
    """

    shelf: CopyShelf
    kms_key: str | None = None


@dataclasses.dataclass
class Outcome(states.Outcome):
    """What a run found and did, in the making."""

    snapshot: Snapshot | None = None


def result_of(outcome: Outcome, seconds: float) -> dict[str, t.Any]:
    """Return the module's result, with the keys of the other modules of backups.

    Args:
        outcome: what was found and done.
        seconds: how long it took.
    """
    snapshot = outcome.snapshot
    moment = to_text(snapshot.moment) if snapshot else None
    return {
        **states.common_result(outcome, seconds),
        "backup": snapshot.plain() if snapshot else None,
        "recoverable_from": moment,
        "recoverable_to": moment,
    }


@dataclasses.dataclass(frozen=True)
class Keeper:
    """The snapshots of one name, in their region and in those that hold copies.

    Args:
        name: of what the snapshots are of.
        shelf: where they are.
        copies: where else they are to be.
        params: the module's options.
        check_mode: whether nothing may change.
    """

    name: str
    shelf: Shelf
    copies: tuple[Copy, ...]
    params: t.Mapping[str, t.Any]
    check_mode: bool

    def found(self, shelf: Place | None = None) -> list[Snapshot]:
        """Return ours, oldest first, of a place or of the first one."""
        return snapshots.ours((shelf or self.shelf).snapshots(self.name), self.name)

    def patience(self, beat: t.Callable[[], None] | None = None) -> Patience:
        """Return how long is waited from now on."""
        return Patience(self.params["wait_timeout"], self.params["poll_interval"], beat)

    def finished(self, shelf: Place, snapshot_id: str) -> Snapshot:
        """Wait until a snapshot is available, and return it.

        Raises:
            MainstayError: it failed, vanished, or took too long.
        """
        doing, seen = f"wait for the snapshot {snapshot_id} in {shelf.region}", []

        def look() -> Snapshot | None:
            return next((each for each in self.found(shelf) if each.id == snapshot_id), None)

        def pending(found: Snapshot | None) -> str:
            if found is None:
                if seen:
                    raise MainstayError(doing, "somebody has removed it", "take another one")
                return "it does not show yet"
            seen.append(found)
            if found.status != "available" and not found.in_progress:
                raise MainstayError(doing, f"it is {found.status}", "see the events of the source in AWS; a snapshot that failed is never used")
            return found.problem if found.in_progress else ""

        last = self.patience().wait(doing, look, pending, lambda found: found.progress if found else 0)
        return t.cast(Snapshot, last)

    def present(self, prepare: t.Callable[[bool], bool]) -> Outcome:
        """There is a good snapshot that is not older than ``max_age``, in all regions.

        Args:
            prepare: sees whether one can be taken, and waits for that unless it is called with False; it tells whether it would be encrypted.
        """
        limit, policy, now = spec.parse_duration(self.params["max_age"]), spec.policy_of(self.params), utc_now()
        tags = snapshots.new_tags(self.name, self.params["labels"], now)
        found = self.found()
        snapshot, needed = snapshots.due(found, limit, now)
        outcome = Outcome(snapshot=snapshot, before=lines(found), after=lines(found))
        if needed:
            encrypted = prepare(False)
            outcome.actions.append(f"take a snapshot of {self.name}")
            outcome.after = [*outcome.before, NEW]
        else:
            encrypted = bool(t.cast(Snapshot, snapshot).facts.get("encrypted"))
        if self.copies:
            self._refuse_keys(encrypted, "the new snapshot" if needed else t.cast(Snapshot, snapshot).id)
        if not self.check_mode:
            with timed(outcome.phases, "snapshot"):
                if needed:
                    prepare(True)
                    snapshot_id = snapshots.new_id(self.name, now)
                    self._begin(self.shelf, snapshot_id, lambda: self.shelf.take(self.name, snapshot_id, tags))
                else:
                    snapshot_id = t.cast(Snapshot, snapshot).id
                outcome.snapshot = self.finished(self.shelf, snapshot_id)
        self._complete(outcome, needed)
        if needed and policy is not None:
            self._retain(outcome, policy, NEW if self.check_mode else t.cast(Snapshot, outcome.snapshot).id)
        return outcome

    def _complete(self, outcome: Outcome, needed: bool) -> None:
        """Bring the snapshot into the copies."""
        for copy in self.copies:
            with timed(outcome.phases, "copy"):
                if needed:
                    self.found(copy.shelf)
                    outcome.actions.append(f"copy the new snapshot to {copy.shelf.region}")
                    outcome.after.append(f"{copy.shelf.region}: {NEW}")
                    if not self.check_mode:
                        self._bring(copy, t.cast(Snapshot, outcome.snapshot), [])
                else:
                    self._copy(copy, t.cast(Snapshot, outcome.snapshot), outcome)

    def _copy(self, copy: Copy, snapshot: Snapshot, outcome: Outcome) -> None:
        """Bring a snapshot to where it is missing, and say so."""
        place, there = copy.shelf.region, [each for each in self.found(copy.shelf) if each.id == snapshot.id]
        if there and there[0].status == "available":
            outcome.before.append(f"{place}: {snapshot.id}")
        elif there and there[0].in_progress:
            outcome.before.append(f"{place}: {snapshot.id}")
            if not self.check_mode:
                self.finished(copy.shelf, snapshot.id)
        else:
            outcome.actions += [f"remove the copy of {snapshot.id} that is {each.status} from {place}" for each in there]
            outcome.actions.append(f"copy snapshot {snapshot.id} to {place}")
            if not self.check_mode:
                self._bring(copy, snapshot, there)
        outcome.after.append(f"{place}: {snapshot.id}")

    def _bring(self, copy: Copy, snapshot: Snapshot, spoilt: t.Iterable[Snapshot]) -> None:
        for each in spoilt:
            copy.shelf.remove(each.id)
        self._begin(copy.shelf, snapshot.id, lambda: copy.shelf.bring(snapshot, copy.kms_key))
        self.finished(copy.shelf, snapshot.id)

    def _begin(self, shelf: Place, snapshot_id: str, act: t.Callable[[], None]) -> None:
        """Begin a snapshot or a copy.

        An answer may be lost on its way, to boto3 too, which then sends again and is refused: a snapshot of this identifier that is there says that it was
        done.
        """
        try:
            act()
        except (AwsError, NoReply):
            if all(each.id != snapshot_id for each in self.found(shelf)):
                raise

    def _refuse_keys(self, encrypted: bool, what: str) -> None:
        """Refuse to copy what is encrypted to where there is no key for it."""
        without = [copy.shelf.region for copy in self.copies if encrypted and not copy.kms_key]
        if without:
            cause = f"it is encrypted, and a key of KMS is in one region only, so that the copy in {', '.join(without)} needs another one"
            raise InvalidInput(f"copy {what}", cause, "give copies[].kms_key_id, a key of that region")

    def copied(self) -> Outcome:
        """All copies hold the snapshot."""
        if not self.copies:
            raise InvalidInput(f"copy a snapshot of {self.name}", "copies is empty", "say where to")
        snapshot = snapshots.choose(self.found(), self.params["backup_id"], f"copy a snapshot of {self.name}")
        self._refuse_keys(bool(snapshot.facts.get("encrypted")), snapshot.id)
        outcome = Outcome(snapshot=snapshot)
        for copy in self.copies:
            with timed(outcome.phases, "copy"):
                self._copy(copy, snapshot, outcome)
        return outcome

    def pruned(self) -> Outcome:
        """No snapshot is there that ``retention`` does not keep."""
        policy = spec.policy_of(self.params)
        if policy is None:
            raise InvalidInput(f"prune the snapshots of {self.name}", "retention is not given", "say which snapshots stay")
        outcome = Outcome()
        if not policy.has_rules:
            outcome.warnings.append("retention has no rule that keeps something, so nothing is removed")
        self._retain(outcome, policy)
        return outcome

    def _retain(self, outcome: Outcome, policy: Policy, new_id: str = "") -> None:
        """Let retention work in all regions, each by what it holds itself; what stays in the first one stays in the others.

        Ages count by this host's clock: AWS refuses calls of a host whose clock is more than 5 minutes wrong (IAM User Guide, "Signature Version 4").

        Args:
            outcome: gets what stays, what goes, and the diff.
            policy: which snapshots stay.
            new_id: the snapshot that this run took, :data:`NEW` in check mode, empty if it takes none.
        """
        now, kept, gone = utc_now(), set[str](), []
        outcome.before, outcome.after = [], []
        with timed(outcome.phases, "prune"):
            for shelf in (self.shelf, *(copy.shelf for copy in self.copies)):
                first = shelf is self.shelf
                label = "" if first else f"{shelf.region}: "
                decisions = snapshots.decide(policy, self.found(shelf), now, new_id == NEW, kept, self.shelf.region)
                decisions = [each for each in decisions if each.id != new_id]
                if first:
                    kept = {each.id for each in decisions if each.keep}
                    outcome.kept = [{"id": each.id, "reasons": list(each.reasons)} for each in decisions if each.keep]
                texts = {each.id: f"{label}{each.id}: {', '.join(each.reasons)}" for each in decisions}
                outcome.before += texts.values()
                outcome.after += [texts[each.id] for each in decisions if each.keep] + ([f"{label}{NEW}"] if new_id else [])
                gone += [(shelf, each.id) for each in decisions if not each.keep]
        outcome.pruned = sorted({snapshot_id for unused, snapshot_id in gone})
        self._remove(gone, outcome)

    def _remove(self, gone: t.Iterable[tuple[Place, str]], outcome: Outcome) -> None:
        with timed(outcome.phases, "prune"):
            for shelf, snapshot_id in gone:
                outcome.actions.append(f"remove snapshot {snapshot_id} from {shelf.region}")
                if not self.check_mode:
                    shelf.remove(snapshot_id)

    def absent(self) -> Outcome:
        """There is no snapshot ``backup_id``, here or in the copies."""
        snapshot_id = self.params["backup_id"]
        doing = f"remove snapshot {snapshot_id}"
        if snapshot_id in LATEST:
            raise InvalidInput(doing, "what is removed must be named by its identifier", "take it from the info module's list")
        policy = spec.policy_of(self.params) or Policy()
        outcome, gone = Outcome(), []
        for shelf in (self.shelf, *(copy.shelf for copy in self.copies)):
            found = self.found(shelf)
            chosen = next((each for each in found if each.id == snapshot_id), None)
            if chosen is None:
                if any(each.id == snapshot_id for each in shelf.snapshots(self.name)):
                    raise InvalidInput(f"{doing} from {shelf.region}", "it is not one of ours, since it lacks our tag", "remove it by hand if it is meant")
                continue
            against = snapshots.against_removal(found, snapshot_id, policy.min_good)
            if against and not self.params["force"]:
                raise InvalidInput(f"{doing} from {shelf.region}", ", and ".join(against), "add force=true to remove it all the same")
            outcome.snapshot = outcome.snapshot or chosen
            outcome.before.append(f"{shelf.region}: {snapshot_id}")
            gone.append((shelf, snapshot_id))
        outcome.pruned = [snapshot_id] if gone else []
        self._remove(gone, outcome)
        return outcome


def lines(found: t.Iterable[Snapshot]) -> list[str]:
    """Return snapshots as lines of a diff."""
    return [each.id for each in found]


def timed_run(state: t.Callable[[], Outcome]) -> tuple[dict[str, t.Any], list[str]]:
    """Bring about a state; return the module's result and warnings."""
    began = time.monotonic()
    outcome = state()
    return result_of(outcome, time.monotonic() - began), outcome.warnings


def listing(found: t.Sequence[Snapshot], selector: str | None, doing: str) -> dict[str, t.Any]:
    """Return what an info module tells of snapshots.

    Args:
        found: ours, oldest first.
        selector: the one that is meant; all without it.
        doing: what for, as a verb phrase.

    Raises:
        InvalidInput: there is none that is meant.
    """
    good = [each for each in found if each.good]
    shown = [snapshots.choose(found, selector, doing)] if selector else found
    return {
        "backups": [each.plain() for each in shown],
        "incomplete": [each.id for each in found if each.in_progress],
        "latest": good[-1].id if good else "",
        "latest_verified": next((each.id for each in reversed(good) if each.verified), ""),
        "recoverable_from": to_text(good[0].moment) if good else None,
        "recoverable_to": to_text(good[-1].moment) if good else None,
    }
