# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on a PostgreSQL server: every check asked, judged, and put together."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor import bloat, indexes, metrics, server as instance, sessions, statements, tables
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.model import SEVERITIES, Check, Context, Finding, Row, Server, Thresholds
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.reading import (
    Asker,
    Database,
    NotJudged,
    choose,
    read_databases,
    read_server,
    session,
)
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.texts import sentences, where
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, postgres_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._report import duration
from ansible_collections.mainstay.ops.plugins.module_utils._schedule.metrics import write

OF_SERVER = sessions.CHECKS + instance.CHECKS
OF_DATABASE = indexes.CHECKS + tables.CHECKS
STATEMENTS, BLOAT = "statements", "bloat"
NAMES = tuple(dict.fromkeys((STATEMENTS, *(check.name for check in OF_SERVER), *(check.name for check in OF_DATABASE), BLOAT)))
"""All checks, in the order in which their findings are told."""


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    kinds = {"int": "int", "float": "float"}
    limits = {field.name: {"type": kinds[str(field.type)], "default": field.default} for field in dataclasses.fields(Thresholds)}
    return {
        **postgres_argument_spec(),
        "databases": {"type": "list", "elements": "str", "default": []},
        "exclude_databases": {"type": "list", "elements": "str", "default": []},
        "checks": {"type": "list", "elements": "str", "default": [], "choices": list(NAMES)},
        "thresholds": {"type": "dict", "apply_defaults": True, "options": limits},
        "limit": {"type": "int", "default": 20},
        "min_age": {"type": "str", "default": "1d"},
        "mask_statements": {"type": "bool", "default": True},
        "bloat_method": {"type": "str", "default": "estimate", "choices": ["estimate", "pgstattuple"]},
        "statement_timeout": {"type": "int", "default": 30},
        "timeout": {"type": "int", "default": 300},
        "metrics_file": {"type": "path"},
        "late_after": {"type": "str"},
    }


@dataclasses.dataclass(frozen=True)
class Request:
    """What was asked for; times in seconds."""

    login: Login
    databases: tuple[str, ...]
    exclude: tuple[str, ...]
    checks: frozenset[str]
    thresholds: Thresholds
    limit: int
    min_age: float
    statement: t.Callable[[str], str]
    exact_bloat: bool
    statement_timeout: int
    timeout: int
    metrics_file: str | None
    late_after: int | None

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Request:
        """Read a module's options.

        Raises:
            InvalidInput: one of them cannot be right.
        """
        for name in ("limit", "statement_timeout", "timeout"):
            if params[name] < 1:
                raise InvalidInput("judge the server", f"{name} is {params[name]}", "give a number from 1 up")
        if params["metrics_file"] and not params["metrics_file"].endswith(".prom"):
            raise InvalidInput(f"write the figures to {params['metrics_file']}", "the collector reads only files that end in .prom")
        return cls(
            login=Login.from_params(params),
            databases=tuple(params["databases"]),
            exclude=tuple(params["exclude_databases"]),
            checks=frozenset(params["checks"] or NAMES),
            thresholds=Thresholds.from_params(params["thresholds"]),
            limit=params["limit"],
            min_age=parse_duration(params["min_age"]),
            statement=functools.partial(statements.shown, mask=params["mask_statements"]),
            exact_bloat=params["bloat_method"] == "pgstattuple",
            statement_timeout=params["statement_timeout"],
            timeout=params["timeout"],
            metrics_file=params["metrics_file"],
            late_after=parse_duration(params["late_after"]) if params["late_after"] else None,
        )


class Inquiry:
    """The findings so far, and what could not be judged."""

    def __init__(self, request: Request, deadline: float) -> None:
        """Begin with nothing."""
        self.request, self.deadline = request, deadline
        self.findings: list[tuple[str, Finding]] = []
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self.omitted: collections.Counter[str] = collections.Counter()
        self.not_judged: list[dict[str, str]] = []
        self.judged: set[str] = set()
        self.chosen: frozenset[str] = frozenset()
        self.statements_done = False

    def session(self, database: str = "") -> t.ContextManager[Asker]:
        """Open a session."""
        return session(self.request.login, database, self.request.statement_timeout, self.deadline)

    def skip(self, check: str, database: str, reason: str) -> None:
        """Note that something could not be judged."""
        self.not_judged.append({"check": check, "database": database, "reason": reason})

    def add(self, check: str, found: t.Iterable[Finding]) -> None:
        """Keep the worst findings of a check in a database, and count the others."""
        ordered = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
        self.findings += [(check, finding) for finding in ordered[: self.request.limit]]
        self.counts.update((check, finding.severity) for finding in ordered)
        if len(ordered) > self.request.limit:
            self.omitted[check] += len(ordered) - self.request.limit
        self.judged.add(check)

    def run(self, check: Check, asker: Asker, context: Context) -> list[Row]:
        """Ask and judge one check; return what can be said more about its rows."""
        if check.name not in self.request.checks:
            return []
        reason = obstacle(check, context, self.request.min_age)
        try:
            rows = [] if reason else asker.ask(check.query(context.server))
        except NotJudged as error:
            reason = str(error)
        if reason:
            self.skip(check.name, context.database, reason)
            return []
        if check.of_databases:
            rows = [row for row in rows if row["database"] in self.chosen]
        if check.counted:
            rows = self._old_enough(check, rows)
            if not rows and not context.database:
                return []
        if partial := check.partial(context, rows):
            self.skip(check.name, context.database, partial)
        self.add(check.name, check.judge(context, rows))
        return rows

    def _old_enough(self, check: Check, rows: list[Row]) -> list[Row]:
        """Return the rows whose counters are old enough to say something."""
        old = []
        for row in rows:
            seconds = row.get("counters_seconds", self.request.min_age)
            if seconds < self.request.min_age:
                self.skip(check.name, row.get("database", ""), too_young(seconds))
            else:
                old.append(row)
        return old

    def ask_statements(self, asker: Asker, context: Context) -> None:
        """Judge the statements in the first database that has the extension; it counts those of all databases."""
        if self.statements_done or STATEMENTS not in self.request.checks:
            return
        try:
            extension = asker.extensions(sessions.STATEMENTS_EXTENSION).get(sessions.STATEMENTS_EXTENSION)
            if extension is None:
                return
            self.statements_done = True
            schema, version = extension
            reset = f"SELECT extract(epoch FROM clock_timestamp() - stats_reset)::float8 AS seconds FROM {schema}.pg_stat_statements_info"
            seconds = asker.ask(reset)[0]["seconds"] if version >= (1, 9) else self.request.min_age
            if seconds < self.request.min_age:
                raise NotJudged(too_young(seconds))
            if not context.server.sees_all:
                raise NotJudged(HIDDEN)
            rows = [row for row in asker.ask(sessions.statements_query(schema)) if row["database"] in self.chosen]
        except NotJudged as error:
            self.statements_done = True
            self.skip(STATEMENTS, "", str(error))
            return
        self.add(STATEMENTS, sessions.judge_statements(context, rows))

    def ask_bloat(self, asker: Asker, context: Context) -> None:
        """Judge how much of tables and indexes is empty."""
        if not self.request.exact_bloat:
            self.run(bloat.TABLES, asker, context)
        elif BLOAT in self.request.checks:
            try:
                self._measure_bloat(asker, context)
            except NotJudged as error:
                self.skip(BLOAT, context.database, str(error))
        self.run(bloat.INDEXES, asker, context)

    def _measure_bloat(self, asker: Asker, context: Context) -> None:
        """Have the extension pgstattuple look at the largest tables.

        Raises:
            NotJudged: the database does not have it, or the tables cannot be listed.
        """
        extension = asker.extensions(bloat.PGSTATTUPLE).get(bloat.PGSTATTUPLE)
        if extension is None:
            raise NotJudged("the database does not have the extension pgstattuple; run CREATE EXTENSION pgstattuple, or estimate")
        found: list[Finding] = []
        for row in asker.ask(bloat.TABLES.query(context.server))[: self.request.limit]:
            try:
                measured = asker.ask(bloat.measured_query(extension[0]), [row["oid"]])[0]
            except NotJudged as error:
                self.skip(BLOAT, context.database, f"{row['schema']}.{row['name']}: {error}")
            else:
                found += bloat.judge_measured(context, row, measured)
        self.add(BLOAT, found)


HIDDEN = "the login may not see other sessions; grant it pg_monitor"


def too_young(seconds: float) -> str:
    """Say that counters are too young."""
    return f"its counters are {duration(seconds)} old, which is less than min_age"


def obstacle(check: Check, context: Context, min_age: float) -> str:
    """Return why a check cannot be judged here; empty if it can."""
    if check.primary_only and context.server.standby:
        return "it is judged on the primary"
    if check.needs_monitor and not context.server.sees_all:
        return HIDDEN
    if check.counted and context.database and context.counters_seconds < min_age:
        return too_young(context.counters_seconds)
    return ""


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Report on a server; return the module's result, and warnings.

    Raises:
        MainstayError: the options cannot be right, or the server cannot be reached.
    """
    request, started = Request.from_params(params), time.monotonic()
    inquiry = Inquiry(request, started + request.timeout)
    try:
        with inquiry.session() as asker:
            server = read_server(asker)
            databases = choose(read_databases(asker), request.databases, request.exclude)
            inquiry.chosen = frozenset(database.name for database in databases)
            context = Context(server, request.thresholds, request.statement)
            inquiry.ask_statements(asker, context)
            for check in OF_SERVER:
                inquiry.run(check, asker, context)
    except NotJudged as error:
        raise MainstayError("look at the server", error) from error
    refused = {database.name: look_at(inquiry, context, database) for database in databases}
    if STATEMENTS in request.checks and not inquiry.statements_done:
        inquiry.skip(STATEMENTS, "", "no database has the extension pg_stat_statements; add it to shared_preload_libraries, restart, and create it in one")
    result = result_of(inquiry, server, databases, refused, round(time.monotonic() - started, 3))
    if request.metrics_file and not check_mode:
        write(request.metrics_file, result["metrics"])
    return result, [f"the database {name} was not looked at: {reason}" for name, reason in refused.items() if reason]


def look_at(inquiry: Inquiry, context: Context, database: Database) -> str:
    """Judge what is in a database; return why it could not be connected to, empty if it could."""
    if database.refusal:
        return database.refusal
    context = dataclasses.replace(context, database=database.name, counters_seconds=database.counters_seconds)
    try:
        with inquiry.session(database.name) as asker:
            inquiry.ask_statements(asker, context)
            for check in OF_DATABASE:
                inquiry.run(check, asker, context)
            inquiry.ask_bloat(asker, context)
    except MainstayError as error:
        return " ".join(error.cause.split())
    return ""


def result_of(inquiry: Inquiry, server: Server, databases: t.Sequence[Database], refused: t.Mapping[str, str], seconds: float) -> dict[str, t.Any]:
    """Put together what the module returns."""
    ordered = sorted(inquiry.findings, key=lambda entry: (SEVERITIES.index(entry[1].severity), NAMES.index(entry[0]), entry[1].database))
    findings = [rounded({"check": check, **dataclasses.asdict(finding)}) for check, finding in ordered]
    summary = {severity: sum(count for (_check, found), count in inquiry.counts.items() if found == severity) for severity in SEVERITIES}
    figures = metrics.Figures(
        port=inquiry.request.login.port,
        counts=dict(inquiry.counts),
        judged=tuple(name for name in NAMES if name in inquiry.judged),
        not_judged=len(inquiry.not_judged) + sum(1 for reason in refused.values() if reason),
        seconds=seconds,
        late_after=inquiry.request.late_after,
    )
    return {
        "server": rounded({
            "version": server.version,
            "version_num": server.version_num,
            "role": server.role,
            "uptime_seconds": server.uptime_seconds,
            "counters_seconds": server.counters_seconds,
            "sees_all": server.sees_all,
        }),
        "databases": [
            rounded({"name": each.name, "bytes": each.bytes, "counters_seconds": each.counters_seconds, "refusal": refused[each.name]}) for each in databases
        ],
        "findings": findings,
        "summary": summary,
        "worst": next((severity for severity in SEVERITIES if summary[severity]), ""),
        "omitted": dict(inquiry.omitted),
        "not_judged": inquiry.not_judged,
        "lines": sentences(findings, lambda finding: f"{where(finding)}{finding['object']} {finding['problem']}"),
        "metrics": metrics.render(figures, round(time.time(), 3)),
        "seconds": seconds,
    }


def rounded(value: t.Any) -> t.Any:
    """Return a result with times and shares to three places."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return round(value, 3) if isinstance(value, float) else value
