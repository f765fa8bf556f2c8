# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups stay and which go, and why: a pure plan. Whatever the rules say, what could be restored before can be restored after.

The rules are restic's (``restic forget``, section "Removing snapshots according to a policy" of its documentation), in UTC: of each period that has a backup
the newest one counts, and ``keep_within`` looks back from the newest backup, so that nothing ages away when no new ones come in.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the option ``retention`` asks for. A rule that is None or 0 is not there.

    Args:
        keep_last: so many of the newest good backups.
        keep_within_seconds: all good backups that are at most so much older than the newest one.
        keep_hourly: the newest good backup of each of the last so many hours that have one.
        keep_daily: the same for days.
        keep_weekly: the same for weeks (ISO 8601).
        keep_monthly: the same for months.
        keep_yearly: the same for years.
        min_good: so many of the newest good backups that are based on no other stay in any case.
        grace_seconds: nothing younger goes.
    """

    keep_last: int | None = None
    keep_within_seconds: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    min_good: int = 2
    grace_seconds: int = 86400

    @property
    def has_rules(self) -> bool:
        """Whether there is a rule that keeps anything; without one nothing goes."""
        return any(getattr(self, name) for name in ("keep_last", "keep_within_seconds", *(f"keep_{period}" for period in _PERIODS)))


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A backup as the plan sees it.

    Args:
        id: its id.
        moment: the moment whose data it holds; its age counts from here.
        good: its manifest can be read and its newest verification, if any, did not fail.
        verified: it is good and was restored for trial with success.
        readable: its manifest can be read.
        in_progress: it has no manifest (yet).
        parents: ids of the backups that it cannot be restored without.
        regular: it is not of data that a restore replaced.
    """

    id: str
    moment: datetime.datetime
    good: bool
    verified: bool
    readable: bool = True
    in_progress: bool = False
    parents: tuple[str, ...] = ()
    regular: bool = True


@dataclasses.dataclass(frozen=True)
class Decision:
    """Whether a backup stays, and all reasons for that in words."""

    id: str
    keep: bool
    reasons: tuple[str, ...]


_PERIODS: dict[str, t.Callable[[datetime.datetime], str]] = {
    "hourly": lambda moment: f"{moment:%Y-%m-%dT%H}",
    "daily": lambda moment: f"{moment:%Y-%m-%d}",
    "weekly": lambda moment: f"{moment:%G-W%V}",
    "monthly": lambda moment: f"{moment:%Y-%m}",
    "yearly": lambda moment: f"{moment:%Y}",
}


def plan(policy: Policy, candidates: t.Sequence[Candidate], now: datetime.datetime) -> tuple[Decision, ...]:
    """Decide for each backup whether it stays.

    Args:
        policy: the rules.
        candidates: all backups of the catalogue, in any order.
        now: the time by the store's clock.

    Returns:
        A decision for each backup, oldest first.
    """
    found = sorted(candidates, key=lambda item: (item.moment, item.id))
    sound = _sound(found)
    newest_first = [item for item in reversed(found) if item.id in sound]
    reasons: dict[str, list[str]] = {item.id: [] for item in found}
    _apply_rules(policy, newest_first, now, reasons)
    _apply_rails(policy, found, newest_first, now, reasons)
    if not policy.has_rules or not newest_first:
        why = "no keep rule is given" if not policy.has_rules else "nothing goes while there is no good backup"
        for given in reasons.values():
            if not given:
                given.append(why)
    _keep_parents(found, reasons)
    return tuple(Decision(item.id, bool(reasons[item.id]), tuple(reasons[item.id]) or (_why_not(item, sound),)) for item in found)


def _sound(found: t.Sequence[Candidate]) -> set[str]:
    """Return the ids of the good backups whose parents, and theirs, are all there and good."""
    good = [item for item in found if item.good and item.readable and item.regular and not item.in_progress]
    sound: set[str] = set()
    while more := {item.id for item in good if item.id not in sound and sound.issuperset(item.parents)}:
        sound |= more
    return sound


def _unknown(found: t.Sequence[Candidate]) -> dict[str, str]:
    """Return the ids of the backups of which it is not known whether they are good, because they, or what they are based on, cannot be read; and why."""
    unknown: dict[str, str] = {}
    for item in found:
        if item.in_progress:
            unknown[item.id] = "it has no manifest, so it is in progress or the remains of a run that was killed"
        elif not item.readable:
            unknown[item.id] = "its manifest cannot be read"
    while more := {item.id: parent for item in found for parent in item.parents if item.id not in unknown and parent in unknown}:
        unknown.update({item_id: f"it is based on {parent}, of which not enough is known" for item_id, parent in more.items()})
    return unknown


def _apply_rules(policy: Policy, newest_first: t.Sequence[Candidate], now: datetime.datetime, reasons: dict[str, list[str]]) -> None:
    for position, item in enumerate(newest_first[: policy.keep_last or 0], 1):
        reasons[item.id].append(f"keep_last {position} of {policy.keep_last}")
    if policy.keep_within_seconds and newest_first:
        start = min(newest_first[0].moment, now) - datetime.timedelta(seconds=policy.keep_within_seconds)
        for item in newest_first:
            if item.moment >= start:
                reasons[item.id].append(f"keep_within {_span(policy.keep_within_seconds)}")
    for period, name_of in _PERIODS.items():
        newest: dict[str, Candidate] = {}
        for item in newest_first:
            newest.setdefault(name_of(item.moment.astimezone(datetime.timezone.utc)), item)
        for name, item in list(newest.items())[: getattr(policy, f"keep_{period}") or 0]:
            reasons[item.id].append(f"keep_{period} {name}")


def _apply_rails(
    policy: Policy, found: t.Sequence[Candidate], newest_first: t.Sequence[Candidate], now: datetime.datetime, reasons: dict[str, list[str]]
) -> None:
    for item in newest_first[:1]:
        reasons[item.id].append("the newest good one")
    for item in [item for item in newest_first if item.verified][:1]:
        reasons[item.id].append("the newest verified one")
    for position, item in enumerate([item for item in newest_first if not item.parents][: policy.min_good], 1):
        reasons[item.id].append(f"min_good {position} of {policy.min_good}")
    for item_id, why in _unknown(found).items():
        reasons[item_id].append(why)
    for item in found:
        if not item.regular:
            reasons[item.id].append("it is of data that a restore replaced")
    for item in found:
        # The clock of whoever made a backup may be ahead of this one's: a period of 0 is none, whatever they say.
        if policy.grace_seconds and (now - item.moment).total_seconds() < policy.grace_seconds:
            reasons[item.id].append(f"younger than {_span(policy.grace_seconds)} (grace)")


def _keep_parents(found: t.Sequence[Candidate], reasons: dict[str, list[str]]) -> None:
    """Keep what a kept backup is based on, down to the first."""
    by_id = {item.id: item for item in found}
    kept = [item for item in reversed(found) if reasons[item.id]]
    seen: set[str] = set()
    while kept:
        item = kept.pop(0)
        if item.id in seen:
            continue
        seen.add(item.id)
        for parent in item.parents:
            if parent in by_id:
                reasons[parent].append(f"{item.id} is based on it")
                kept.append(by_id[parent])


def refusals(candidates: t.Sequence[Candidate], backup_id: str, min_good: int) -> tuple[str, ...]:
    """Return what speaks against removing one backup by name: the rails without the period of grace.

    Args:
        candidates: all backups of the catalogue.
        backup_id: the one that is to go.
        min_good: so many good backups that are based on no other must be left, if the one that goes is such a backup.
    """
    found = sorted(candidates, key=lambda item: (item.moment, item.id))
    sound = _sound(found)
    newest_first = [item for item in reversed(found) if item.id in sound]
    alone = [item.id for item in newest_first if not item.parents]
    against = [f"{item.id} is based on it" for item in found if backup_id in item.parents]
    if [item.id for item in newest_first][:1] == [backup_id]:
        against.append("it is the newest good one")
    if [item.id for item in newest_first if item.verified][:1] == [backup_id]:
        against.append("it is the newest verified one")
    if backup_id in alone and len(alone) - 1 < min_good:
        against.append(f"{len(alone) - 1} good ones would be left, min_good is {min_good}")
    return tuple(against)


def _why_not(item: Candidate, sound: set[str]) -> str:
    if item.id in sound:
        return "no rule keeps it"
    return "its newest verification failed" if not item.good else "a backup that it is based on is missing or at fault"


def _span(seconds: int) -> str:
    """Return a duration as the option takes it."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0 and seconds > length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
