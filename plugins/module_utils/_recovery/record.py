# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a recovery, or the rehearsal of one, did and measured, and whether that is a success."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils import _report
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

LEVELS = ("verify", "restore", "site")
"""From the least that a drill proves to the most."""
OUTCOMES = (_report.OK, _report.FAILED, _report.SKIPPED)


@dataclasses.dataclass(frozen=True)
class Record:
    """A run as it is reported.

    Args:
        title: what was done, for people.
        operation: ``drill``, ``failover``, ``failback`` or ``restore``.
        level: one of :data:`LEVELS`.
        name: what was recovered, such as the name of the catalogue or of the site.
        summary: a sentence or two.
        started: when it began, UTC.
        finished: when it ended, UTC.
        phases: the steps in their order.
        targets: figures and what they must not exceed.
        measured: figures that were measured.
        evidence: what was checked, and what was seen.
        lost: what was lost, one sentence each; empty if nothing was; None if nobody looked.
    """

    title: str
    operation: str
    level: str
    name: str
    summary: str
    started: datetime.datetime
    finished: datetime.datetime
    phases: tuple[_report.Phase, ...]
    targets: dict[str, float]
    measured: dict[str, t.Any]
    evidence: tuple[_report.Check, ...]
    lost: tuple[str, ...] | None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return round((self.finished - self.started).total_seconds(), 3)

    @property
    def problems(self) -> list[str]:
        """Why it is no success, a sentence each. What was promised and not measured counts: nobody knows whether it held."""
        found = [f"the phase {phase.name} failed after {_report.duration(phase.seconds)}" for phase in self.phases if phase.status == _report.FAILED]
        found += [f"{check.name}: {check.evidence or 'it did not hold'}" for check in self.evidence if check.status == _report.FAILED]
        for key, limit in self.targets.items():
            figure = self.measured.get(key)
            if not _report.is_number(figure):
                found.append(f"{key} has a target, and was not measured")
            elif figure > limit:
                found.append(f"{key} is {_report.value_text(key, figure)}, its target is {_report.value_text(key, limit)}")
        if not self.evidence:
            found.append("nothing was checked")
        return found

    @property
    def success(self) -> bool:
        """Whether everything held."""
        return not self.problems

    def report(self) -> dict[str, t.Any]:
        """Return the JSON form that :mod:`.._report` describes, with what identifies the run, and ``problems`` and ``lost``."""
        known = _report.Report(
            title=self.title,
            summary=self.summary,
            started=_text(self.started),
            finished=_text(self.finished),
            status=_report.OK if self.success else _report.FAILED,
            phases=self.phases,
            checks=self.evidence,
            targets=self.targets,
            figures=self.measured,
        )
        more = {"operation": self.operation, "level": self.level, "name": self.name, "success": self.success, "problems": self.problems}
        return {**known.to_dict(), **more, "lost": None if self.lost is None else list(self.lost)}

    def line(self) -> dict[str, t.Any]:
        """Return what the history keeps of it."""
        numbers = {key: figure for key, figure in self.measured.items() if _report.is_number(figure)}
        return {
            "format": 1,
            "started": _text(self.started),
            "finished": _text(self.finished),
            "operation": self.operation,
            "level": self.level,
            "name": self.name,
            "success": self.success,
            "seconds": self.seconds,
            "targets": self.targets,
            "measured": numbers,
            "problems": self.problems,
            "lost": None if self.lost is None else list(self.lost),
        }


def _text(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(params: t.Mapping[str, t.Any]) -> Record:
    """Return the record that a module's options describe.

    Raises:
        InvalidInput: a time, a target or a key is not what it must be.
    """
    started, finished = _moment("started", params["started"]), _moment("finished", params["finished"])
    if finished < started:
        raise InvalidInput("read the run", f"it finished {params['finished']}, which is before it started, {params['started']}", "correct the times")
    measured = {key: _number(figure) for key, figure in params["measured"].items()}
    reserved = {"title", "summary", "started", "finished", "status", "phases", "events", "checks", "targets"}
    if taken := sorted(reserved.union(("operation", "level", "name", "success", "problems", "lost")) & set(measured)):
        raise InvalidInput("read the run", f"measured has the key {taken[0]}, which has another meaning in a report", "name the figure otherwise")
    return Record(
        title=params["title"],
        operation=params["operation"],
        level=params["level"],
        name=params["name"],
        summary=params["summary"],
        started=started,
        finished=finished,
        phases=tuple(_phase(phase, started) for phase in params["phases"]),
        targets={key: _target(key, limit) for key, limit in params["targets"].items()},
        measured=measured,
        evidence=tuple(_report.Check(check["name"], check["outcome"], check["seen"]) for check in params["evidence"]),
        lost=None if params["lost"] is None else tuple(params["lost"]),
    )


def _phase(phase: t.Mapping[str, t.Any], started: datetime.datetime) -> _report.Phase:
    begun = _moment(f"started of the phase {phase['name']}", phase["started"])
    if begun < started:
        raise InvalidInput("read the run", f"the phase {phase['name']} started {phase['started']}, which is before the run", "correct the times")
    if phase["seconds"] < 0:
        raise InvalidInput("read the run", f"the phase {phase['name']} took {phase['seconds']} s", "correct the times")
    return _report.Phase(phase["name"], round((begun - started).total_seconds(), 3), phase["seconds"], phase["outcome"])


def _moment(what: str, given: t.Any) -> datetime.datetime:
    """Return the moment that ISO 8601 text or a Unix time means."""
    text = str(given).strip()
    number = _number(text)
    found = _report.moment(number if _report.is_number(number) else text)
    if found is None:
        raise InvalidInput(f"read {what}", f"{given!r} is no moment", "give a Unix time, or ISO 8601 such as 2026-11-22T17:42:00Z")
    return found


def _number(given: t.Any) -> t.Any:
    """Return the number that text is, where it is one; templates may have made text of it."""
    if not isinstance(given, str):
        return given
    try:
        return int(given)
    except ValueError:
        pass
    try:
        found = float(given)
    except ValueError:
        return given
    return found if found - found == 0 else given  # neither infinite nor no number at all


def _target(key: str, given: t.Any) -> float:
    number = _number(given)
    if _report.is_number(number):
        return number
    try:
        return parse_duration(str(given))
    except InvalidInput as error:
        raise InvalidInput(f"read the target of {key}", error.cause, "write seconds, or for example 15m") from error
