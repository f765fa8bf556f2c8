# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots that AWS keeps, as a catalogue of backups: their tags say whose they are, what their labels are, and what a trial showed."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import re
import secrets
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import from_text, to_text
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.retention import Candidate, Decision, Policy, plan, refusals
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

OWNER = "mainstay:backup"
"""The tag that makes a snapshot one of ours; it holds the name of what it is of."""
MOMENT = "mainstay:moment"
"""The tag that says when a snapshot was begun: AWS tells the time of one only once it is finished, and of a copy the time of the copying."""
TRIAL = "mainstay:verification"
"""The tag that holds the result of the newest trial: status, moment, seconds of a restore, and what was asked."""
LABEL = "mainstay:label:"
MOST_LABELS = 40
"""A resource has at most 50 tags (Amazon RDS User Guide, "Tagging Amazon RDS resources")."""
TAG_TEXT = re.compile(r"[\w\s.:/=+@-]{0,256}")
TAG_NAME = re.compile(r"[\w.:/=+@-]{1,100}")
"""What a tag may hold (the same page)."""
NEW = "(a new snapshot)"
"""What stands for the identifier of a snapshot that this run takes."""
MOST_CHARACTERS = 200
"""An identifier has at most 255 characters; those that are made of it need some more."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """The result of a verification by restore.

    Args:
        status: ``successful`` or ``failed``.
        at: when it ended.
        seconds: how long the restore took, without the removal; 0 where it failed.
        asked: which queries were put, as :func:`digest` makes it.
    """

    status: str
    at: datetime.datetime
    seconds: float
    asked: str

    @property
    def text(self) -> str:
        """As the tag holds it."""
        return f"{self.status} {to_text(self.at)} {self.seconds:.1f} {self.asked}"


def read_trial(text: str) -> Trial | None:
    """Return what the tag says; None if somebody else has written it, so that it proves nothing."""
    try:
        status, moment, seconds, asked = text.split(" ")
        if status not in ("successful", "failed"):
            return None
        return Trial(status, from_text(moment), float(seconds), asked)
    except ValueError:
        return None


def digest(queries: t.Iterable[t.Mapping[str, t.Any]]) -> str:
    """Return a word for the user's queries, by which a trial with others is told from one with these."""
    rows = sorted(json.dumps(dict(query), sort_keys=True) for query in queries)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A snapshot as AWS tells of it.

    Args:
        id: its identifier, which its copies have too.
        arn: its ARN.
        region: where it is.
        moment: the moment whose data it holds.
        status: by AWS: ``creating``, ``available``, ``failed``, ...
        progress: how much of it is done, in per cent.
        tags: its tags.
        facts: what else is worth telling, in plain values.
    """

    id: str
    arn: str
    region: str
    moment: datetime.datetime
    status: str
    progress: int = 0
    tags: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    @property
    def trial(self) -> Trial | None:
        """The result of its newest trial."""
        return read_trial(self.tags.get(TRIAL, ""))

    @property
    def in_progress(self) -> bool:
        """Whether AWS is still at it."""
        return self.status in ("creating", "copying", "exporting")

    @property
    def good(self) -> bool:
        """Whether it can be restored, as far as is known."""
        return self.status == "available" and not (self.trial and self.trial.status == "failed")

    @property
    def verified(self) -> bool:
        """Whether it was restored for trial with success."""
        return self.good and self.trial is not None

    @property
    def problem(self) -> str:
        """Why it is not good, or nothing."""
        if self.status != "available":
            return f"it is {self.status}" + (f", {self.progress} % done" if self.in_progress else "")
        return "its newest verification failed" if not self.good else ""

    def plain(self) -> dict[str, t.Any]:
        """Return it as modules return it."""
        trial = self.trial
        return {
            "id": self.id,
            "arn": self.arn,
            "region": self.region,
            "name": self.tags.get(OWNER, ""),
            "method": "snapshot",
            "status": self.status,
            "progress": self.progress,
            "good": self.good,
            "problem": self.problem,
            "recoverable_from": to_text(self.moment),
            "recoverable_to": to_text(self.moment),
            "bytes_stored": None,
            "verified": self.verified,
            "verified_at": to_text(trial.at) if trial and self.verified else None,
            "restore_seconds": trial.seconds if trial and self.verified else None,
            "labels": {name.removeprefix(LABEL): text for name, text in self.tags.items() if name.startswith(LABEL)},
            **self.facts,
        }


def new_id(name: str, now: datetime.datetime) -> str:
    """Return an identifier for a new snapshot: the name, the time (UTC) and something random, so that a lost answer cannot make two."""
    return f"{name.lower()[:MOST_CHARACTERS].rstrip('-')}-{now:%Y%m%d%H%M%S}-{secrets.token_hex(3)}"


def new_tags(name: str, labels: t.Mapping[str, t.Any], now: datetime.datetime) -> dict[str, str]:
    """Return the tags of a new snapshot.

    Raises:
        InvalidInput: a label is none that a tag can hold.
    """
    given = {str(key): str(text) for key, text in labels.items()}
    doing = "label a snapshot"
    if len(given) > MOST_LABELS:
        raise InvalidInput(doing, f"there are {len(given)} labels, and {MOST_LABELS} have room in its tags", "give fewer labels")
    for key, text in given.items():
        if not TAG_NAME.fullmatch(key) or not TAG_TEXT.fullmatch(text):
            step = "tags hold letters, digits, spaces and _.:/=+@-, a name at most 100 of them, a text 256"
            raise InvalidInput(doing, f"the label {key} cannot be a tag", step)
    return {OWNER: name, MOMENT: to_text(now), **{f"{LABEL}{key}": text for key, text in given.items()}}


def ours(found: t.Iterable[Snapshot], name: str) -> list[Snapshot]:
    """Return those snapshots that are backups of a name, oldest first."""
    return sorted((each for each in found if each.tags.get(OWNER) == name), key=lambda each: (each.moment, each.id))


def newest_good(found: t.Sequence[Snapshot]) -> Snapshot | None:
    """Return the newest good one of snapshots that are ordered by age, or None."""
    return next((each for each in reversed(found) if each.good), None)


def due(found: t.Sequence[Snapshot], max_age: int, now: datetime.datetime) -> tuple[Snapshot | None, bool]:
    """Decide whether a snapshot has to be taken.

    Args:
        found: ours, oldest first.
        max_age: how old the newest good one may be, in seconds; 0 always takes one.
        now: the time.

    Returns:
        The snapshot that counts (it may still be in progress: a run that was cut off has begun it), and whether a new one is due.
    """
    young = [each for each in found if (each.good or each.in_progress) and (now - each.moment).total_seconds() <= max_age]
    if max_age and young:
        return next((each for each in reversed(young) if each.good), young[-1]), False
    return newest_good(found), True


def choose(found: t.Sequence[Snapshot], selector: str, doing: str) -> Snapshot:
    """Return the snapshot that is meant.

    Args:
        found: ours, oldest first.
        selector: ``latest`` (the newest good one), ``latest_verified`` or an identifier.
        doing: what for, as a verb phrase.

    Raises:
        InvalidInput: there is none, or it cannot be used.
    """
    if selector in ("latest", "latest_verified"):
        fitting = [each for each in found if (each.good if selector == "latest" else each.verified)]
        if not fitting:
            word = "good" if selector == "latest" else "verified"
            raise InvalidInput(doing, f"there is no {word} snapshot among {len(found)} of ours", "take one with state=present, or see the info module's list")
        return fitting[-1]
    chosen = next((each for each in found if each.id == selector), None)
    if chosen is None:
        raise InvalidInput(doing, f"there is no snapshot {selector} among ours", "take the identifier from the info module's list, in this region")
    if chosen.status != "available":
        raise InvalidInput(doing, f"the snapshot {selector} is {chosen.status}", "wait until it is available, or name another one")
    return chosen


def candidates(found: t.Iterable[Snapshot]) -> list[Candidate]:
    """Return what retention plans with."""
    return [Candidate(each.id, each.moment, each.good, each.verified, in_progress=each.in_progress) for each in found]


def decide(policy: Policy, found: t.Sequence[Snapshot], now: datetime.datetime, planned: bool, kept: t.Collection[str] = (), place: str = "") -> list[Decision]:
    """Return what retention says of the snapshots of one region.

    Args:
        policy: the rules.
        found: ours there.
        now: the time.
        planned: whether a new one would be there as well.
        kept: identifiers that stay in the first region.
        place: the first region, for words.
    """
    more = [Candidate(NEW, now, good=True, verified=False)] if planned else []
    decisions = [each for each in plan(policy, [*candidates(found), *more], now) if each.id != NEW]
    why = (f"it stays in {place}",)
    return [Decision(each.id, True, why) if not each.keep and each.id in kept else each for each in decisions]


def against_removal(found: t.Sequence[Snapshot], snapshot_id: str, min_good: int) -> tuple[str, ...]:
    """Return what speaks against removing a snapshot: the rails of retention; one that is not good is no loss."""
    chosen = next(each for each in found if each.id == snapshot_id)
    if chosen.in_progress:
        return ("it is in progress",)
    return refusals(candidates(found), snapshot_id, min_good) if chosen.good else ()
