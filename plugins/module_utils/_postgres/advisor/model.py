# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report on a PostgreSQL server is made of: findings, what they are measured against, and what is known of the server while they are judged."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

CRITICAL, WARNING, INFO = "critical", "warning", "info"
SEVERITIES = (CRITICAL, WARNING, INFO)
"""From the worst one."""

READ_ROWS = 1000
"""So many objects of a database are read for a check at most, the largest ones first: a bound for memory and time."""
READ_CHARACTERS = 4000
"""So many characters of a statement are read, to be masked and cut."""

Row = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that somebody should look at.

    Attributes:
        id: what kind it is.
        severity: one of :data:`SEVERITIES`.
        object: what it is about.
        problem: a sentence without a final stop.
        measured: in ``unit``; ``threshold`` is in the same one, None where there is nothing to compare with.
        recommendation: what to do, in words.
        sql: a statement that does it, where that is safe to give. It is never run.
        details: further figures; their names end with the unit.
        database: where the object is; empty for the whole server.
    """

    id: str
    severity: str
    object: str
    problem: str
    measured: float
    unit: str
    threshold: float | None
    recommendation: str
    sql: str = ""
    details: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    database: str = ""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """From where on something is a finding. What each means, and where its default is from, is documented with the module's option ``thresholds``."""

    statement_mean_seconds: float = 1.0
    statement_share_percent: float = 25.0
    statement_calls: int = 10
    connections_warning_percent: float = 90.0
    connections_critical_percent: float = 95.0
    idle_in_transaction_seconds: float = 300.0
    lock_warning_seconds: float = 30.0
    lock_critical_seconds: float = 300.0
    transaction_warning_seconds: float = 1800.0
    transaction_critical_seconds: float = 21600.0
    prepared_warning_seconds: float = 300.0
    prepared_critical_seconds: float = 3600.0
    lag_warning_seconds: float = 60.0
    lag_critical_seconds: float = 600.0
    lag_bytes: int = 268435456
    slot_warning_bytes: int = 1073741824
    slot_critical_bytes: int = 10737418240
    wraparound_late_factor: float = 1.5
    wraparound_critical_percent: float = 65.0
    checkpoints_requested_percent: float = 50.0
    temp_bytes_per_day: int = 10737418240
    cache_hit_percent: float = 90.0
    cache_blocks: int = 100000
    unused_index_bytes: int = 1048576
    unused_index_days: float = 30.0
    scan_rows: int = 10000
    scan_count: int = 100
    referencing_rows: int = 10000
    bloat_percent: float = 50.0
    bloat_warning_bytes: int = 1073741824
    bloat_critical_bytes: int = 5368709120
    vacuum_late_factor: float = 2.0
    vacuum_rows: int = 10000
    sequence_warning_percent: float = 85.0
    sequence_critical_percent: float = 95.0

    @classmethod
    def from_params(cls, given: t.Mapping[str, t.Any]) -> Thresholds:
        """Read the option.

        Raises:
            InvalidInput: one is negative.
        """
        negative = sorted(name for name, number in given.items() if number < 0)
        if negative:
            raise InvalidInput("judge the server", f"the threshold {negative[0]} is negative", "give a number from 0 up")
        return cls(**given)


@dataclasses.dataclass(frozen=True)
class Server:
    """What is known of the server.

    Attributes:
        standby: whether it is in recovery.
        counters_seconds: age of its counters.
        uptime_seconds: how long it has run.
        sees_all: whether the login may see other sessions.
        settings: those that matter here, by name.
    """

    version_num: int
    version: str
    standby: bool
    counters_seconds: float
    uptime_seconds: float
    sees_all: bool
    settings: t.Mapping[str, str]

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_num // 10000

    def number(self, setting: str) -> float:
        """Return a setting that is a number; 0 if the server has none of that name."""
        return float(self.settings.get(setting) or 0)

    @property
    def role(self) -> str:
        """``primary`` or ``standby``."""
        return "standby" if self.standby else "primary"

    @property
    def block(self) -> int:
        """Bytes of a page."""
        return int(self.number("block_size"))


@dataclasses.dataclass(frozen=True)
class Context:
    """What a judgement may look at besides the rows of its check.

    Attributes:
        database: name of the database that the rows are of; empty for those of the server.
        counters_seconds: age of the counters that the rows are from.
        statement: turns a statement's text into what may be shown of it.
    """

    server: Server
    thresholds: Thresholds
    statement: t.Callable[[str], str]
    database: str = ""
    counters_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Check:
    """A question to a server or to each database, and who judges the answer.

    Attributes:
        query: the question, for a version of the server.
        judge: turns rows into findings.
        counted: whether it rests on counters, which say little when they are young.
        of_databases: whether its rows are of one database each, those that are not looked at too.
        needs_monitor: whether it can be answered only to those who may see other sessions.
        primary_only: whether a standby has nothing to say about it.
        partial: of what rows tell nothing, in words, because the login may not see it or nobody has analysed it.
    """

    name: str
    query: t.Callable[[Server], str]
    judge: t.Callable[[Context, list[Row]], t.Iterable[Finding]]
    counted: bool = False
    of_databases: bool = False
    needs_monitor: bool = False
    primary_only: bool = False
    partial: t.Callable[[Context, list[Row]], str] = lambda context, rows: ""


def graded(measured: float, warning: float, critical: float) -> str | None:
    """Return the severity of something measured that should be small; None if it is below both thresholds."""
    return CRITICAL if measured >= critical else WARNING if measured >= warning else None


def quoted(*names: str) -> str:
    """Return names as one identifier of SQL."""
    return ".".join('"{}"'.format(name.replace('"', '""')) for name in names)
