# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of backups and drills, part by part, and what does not meet it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _report
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import BEFORE_RESTORE
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.record import LEVELS
from ansible_collections.mainstay.ops.plugins.module_utils._schedule.metrics import LATE_FACTOR, seconds_of

ERROR, WARNING = "error", "warning"
TARGETS = {
    "application": ("15m", "5m"),
    "database": ("30m", "15m"),
    "cache": ("5m", "1m"),
    "files": ("10m", "1h"),
    "monitoring": ("20m", "30m"),
}
"""Recovery time and recovery point of each part, where the policy says nothing else."""
_KEYS = ("backups", "frequency", "on_calendar", "retention", "encryption", "copies", "recovery_time", "recovery_point", "drill_every", "drill_level")


@dataclasses.dataclass(frozen=True)
class Part:
    """What is asked of one part; durations in seconds.

    Args:
        name: one of :data:`TARGETS`.
        backups: whether it has backups of its own; one that is made anew, or whose data are those of other parts, has none.
        frequency: how often a backup is taken; None if the recovery point alone counts.
        min_good: so many good backups there must be.
        encryption: whether backups must be encrypted.
        copies: in so many further stores the newest backup must be.
        recovery_time: how long a recovery may take.
        recovery_point: how much may be lost.
        drill_every: how long ago the last successful drill may be; 0 if none is asked for.
        drill_level: what it must have proven at least.
    """

    name: str
    backups: bool
    frequency: int | None
    min_good: int
    encryption: bool
    copies: int
    recovery_time: int
    recovery_point: int
    drill_every: int
    drill_level: str


@dataclasses.dataclass(frozen=True)
class Found:
    """What one store holds of a part.

    Args:
        part: name of the part.
        place: where, in words.
        copy: whether it is a further store.
        backups: as the ``_info`` modules list them; None if it could not be read.
        error: why it could not.
    """

    part: str
    place: str
    copy: bool
    backups: tuple[t.Mapping[str, t.Any], ...] | None
    error: str = ""

    @property
    def good(self) -> list[t.Mapping[str, t.Any]]:
        """The backups that count, oldest first."""
        return [backup for backup in self.backups or () if backup["good"] and BEFORE_RESTORE not in (backup.get("labels") or {})]


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that does not meet the policy: what, why it counts, what to do."""

    part: str
    severity: str
    what: str
    why: str
    next_step: str


def read(policy: t.Mapping[str, t.Any]) -> list[Part]:
    """Return the parts of a policy with their defaults.

    Raises:
        InvalidInput: it has no part, or one that is not known, or a key or value that is none.
    """
    if not policy:
        raise InvalidInput("read the policy", "it names no part", f"name those that you have: {', '.join(TARGETS)}")
    return [_part(name, given or {}) for name, given in policy.items()]


def _part(name: str, given: t.Any) -> Part:
    doing = f"read the part {name} of the policy"
    if name not in TARGETS:
        raise InvalidInput(doing, "there is no such part", f"the parts are {', '.join(TARGETS)}")
    if not isinstance(given, dict):
        raise InvalidInput(doing, "it is no dictionary", f"its keys are {', '.join(_KEYS)}")
    if unknown := sorted(set(given) - set(_KEYS)):
        raise InvalidInput(doing, f"there is no {unknown[0]}", f"the keys are {', '.join(_KEYS)}")
    level = given.get("drill_level", "restore")
    if level not in LEVELS:
        raise InvalidInput(doing, f"there is no level {level}", f"the levels are {', '.join(LEVELS)}")
    try:
        return Part(
            name=name,
            backups=_switch(given, "backups"),
            frequency=_seconds(given, "frequency", None),
            min_good=int((given.get("retention") or {}).get("min_good", 2)),
            encryption=_switch(given, "encryption"),
            copies=int(given.get("copies", 1)),
            recovery_time=_seconds(given, "recovery_time", TARGETS[name][0]) or 0,
            recovery_point=_seconds(given, "recovery_point", TARGETS[name][1]) or 0,
            drill_every=_seconds(given, "drill_every", "8d") or 0,
            drill_level=level,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(doing, error) from error


def _seconds(given: t.Mapping[str, t.Any], key: str, default: str | None) -> int | None:
    text = given.get(key, default)
    if text is None:
        return None
    try:
        return parse_duration(str(text))
    except InvalidInput as error:
        raise ValueError(f"{key}: {error.cause}") from error


def _switch(given: t.Mapping[str, t.Any], key: str) -> bool:
    text = str(given.get(key, True)).lower()
    if text not in ("true", "false", "yes", "no"):
        raise ValueError(f"{key} is {given[key]}, it must be true or false")
    return text in ("true", "yes")


def limits(policy: t.Mapping[str, t.Any], parts: t.Iterable[str], level: str) -> dict[str, int]:
    """Return what a drill may measure, in seconds, by the names of its figures.

    Args:
        policy: what is asked for; a part that it does not name has the targets of :data:`TARGETS`.
        parts: those that are drilled.
        level: the drill's; one that restores nothing has no recovery time.

    Raises:
        InvalidInput: there is no such part, or the policy is none.
    """
    found = {}
    for name in dict.fromkeys(parts):
        part = _part(name, policy.get(name) or {})
        found[f"{name}_rpo_seconds"] = part.recovery_point
        if level != LEVELS[0]:
            found[f"{name}_rto_seconds"] = part.recovery_time
    return found


def check(parts: t.Iterable[Part], found: t.Sequence[Found], history: t.Sequence[t.Mapping[str, t.Any]], now: float) -> list[Finding]:
    """Return what does not meet the policy.

    Args:
        parts: what is asked for.
        found: what the stores hold.
        history: lines of the drills, oldest first.
        now: Unix time.
    """
    findings: list[Finding] = []
    for part in parts:
        mine = [entry for entry in found if entry.part == part.name]
        if part.backups:
            findings += [*_backups(part, mine, now), *_copies(part, mine)]
        findings += _drills(part, history, now)
    return findings


def _age(seconds: float) -> str:
    return _report.duration(max(0.0, seconds))


def _backups(part: Part, found: t.Sequence[Found], now: float) -> t.Iterator[Finding]:
    """Judge the backups in the first store; each catalogue on its own, since the oldest one decides what is lost."""
    stores = [entry for entry in found if not entry.copy]
    if not stores:
        yield Finding(
            part.name, ERROR, "nobody has looked at its backups", "what is not looked at may not be there", f"give the listing of the part {part.name}",
        )
    for store in stores:
        if store.backups is None:
            what = f"{store.place} cannot be read: {store.error}"
            yield Finding(part.name, ERROR, what, "backups that cannot be read bring nothing back", "see to the store")
        elif not store.good:
            cause = "all of its backups are at fault" if store.backups else "there has never been any"
            yield Finding(part.name, ERROR, f"{store.place} holds no good backup", cause, "take one now: playbooks/backup.yml -e backup_max_age=0")
        else:
            yield from _freshness(part, store, now)
            yield from _quality(part, store)


def _freshness(part: Part, store: Found, now: float) -> t.Iterator[Finding]:
    newest = store.good[-1]
    reached = max((seconds_of(backup["recoverable_to"]) for backup in store.good if backup.get("recoverable_to")), default=0.0)
    if now - reached > part.recovery_point:
        yield Finding(
            part.name, ERROR, f"what was written in the last {_age(now - reached)} is in no backup of {store.place}",
            f"the recovery point allows {_age(part.recovery_point)}", "take backups more often, archive the log, or allow more by recovery_point",
        )
    if part.frequency and newest.get("started") and now - seconds_of(newest["started"]) > part.frequency * LATE_FACTOR:
        yield Finding(
            part.name, ERROR, f"the newest good backup of {store.place}, {newest['id']}, is {_age(now - seconds_of(newest['started']))} old",
            f"one is due every {_age(part.frequency)}", "look why the timer brought none: journalctl -u 'mainstay-backup*'",
        )


def _quality(part: Part, store: Found) -> t.Iterator[Finding]:
    newest = store.good[-1]
    if part.encryption and (newest.get("encryption") or {}).get("type", "none") == "none":
        yield Finding(
            part.name, ERROR, f"backup {newest['id']} in {store.place} is not encrypted", "whoever has the store has the data",
            "name recipients in backup_encryption, and remove it once there are others",
        )
    if len(store.good) < part.min_good:
        yield Finding(
            part.name, WARNING, f"{store.place} holds {len(store.good)} good backup(s)", f"retention asks for at least {part.min_good}",
            "take more, or look which verification found the others at fault",
        )
    if not any(backup.get("verified") for backup in store.good):
        yield Finding(
            part.name, WARNING, f"no backup of {store.place} was ever restored for trial", "only a restore proves a backup",
            "playbooks/verify_backups.yml, or a drill",
        )


def _copies(part: Part, found: t.Sequence[Found]) -> t.Iterator[Finding]:
    """Judge whether the newest backup is in enough further stores; where it is not known what is newest, that was said before."""
    wanted = {store.good[-1]["id"] for store in found if not store.copy and store.good}
    copies = [entry for entry in found if entry.copy]
    for copy in copies:
        if copy.backups is None:
            yield Finding(part.name, ERROR, f"the copy in {copy.place} cannot be read: {copy.error}", "a copy must be there when the store is not", "see to it")
    for newest in sorted(wanted):
        holders = {copy.place for copy in copies if newest in [backup["id"] for backup in copy.good]}
        if len(holders) < part.copies:
            yield Finding(
                part.name, ERROR, f"the newest backup, {newest}, is in {len(holders)} further stores", f"the policy asks for {part.copies}",
                "name stores at other sites in backup_copies, and take a backup",
            )


def _drills(part: Part, history: t.Sequence[t.Mapping[str, t.Any]], now: float) -> t.Iterator[Finding]:
    if not part.drill_every:
        return
    drills = [line for line in history if line.get("level") in LEVELS and LEVELS.index(line["level"]) >= LEVELS.index(part.drill_level)]
    good = [line for line in drills if line["success"]]
    step = f"playbooks/dr_drill.yml -e recovery_drill_level={part.drill_level}"
    if not good:
        what = f"no drill at the level {part.drill_level} has ever succeeded" if drills else f"it was never drilled at the level {part.drill_level}"
        yield Finding(part.name, ERROR, what, "a recovery that was never tried is a hope", step)
        return
    if (age := now - seconds_of(good[-1]["finished"])) > part.drill_every:
        yield Finding(part.name, ERROR, f"the last successful drill was {_age(age)} ago", f"one is due every {_age(part.drill_every)}", step)
    if not drills[-1]["success"]:
        said = "; ".join(drills[-1].get("problems", []))
        yield Finding(part.name, ERROR, f"the last drill failed: {said}", "what it rehearses may not work when it is needed", "mend that, and drill again")
    figure = good[-1]["measured"].get(f"{part.name}_rto_seconds")
    if not _report.is_number(figure):
        yield Finding(
            part.name, WARNING, "the last successful drill did not measure its recovery time", f"{_age(part.recovery_time)} are promised",
            "drill this part too",
        )
    elif figure > part.recovery_time:
        yield Finding(
            part.name, ERROR, f"its recovery took {_age(figure)} in the last successful drill", f"{_age(part.recovery_time)} are promised",
            "make it quicker, or promise less by recovery_time",
        )
