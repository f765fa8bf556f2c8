# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From figures to the page: medians, targets, tables. Nothing here measures."""

from __future__ import annotations

import dataclasses
import os
import statistics
import typing as t

from document import machine, spread, table

from backup.limits import Limit
from backup.measure import Cost

MIB = 1 << 20
MEMORY_LIMIT = 150 * MIB


@dataclasses.dataclass
class Result:
    """What was found out about a peer.

    Attributes:
        name: what the table calls it.
        key: a plain word for it.
        what: what it does.
        ours: whether it is this collection's module.
        one_stream: whether it is ``pg_dump`` into one compressed stream.
        costs: its runs.
        stored: bytes that it stored.
        restore_seconds: seconds until a restored server answered; none if it was not restored.
        problem: why there are no figures, or not all.
    """

    name: str
    key: str
    what: str
    ours: bool = False
    one_stream: bool = False
    costs: list[Cost] = dataclasses.field(default_factory=list)
    stored: int = 0
    restore_seconds: float | None = None
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether it was measured and nothing went wrong, in the restore neither."""
        return bool(self.costs) and not self.problem

    @property
    def reason(self) -> str:
        """The problem in one short line."""
        return " ".join(self.problem.split())[:200].replace("|", "\\|")

    @property
    def seconds(self) -> float:
        """The median of its runs."""
        return statistics.median(cost.seconds for cost in self.costs)


@dataclasses.dataclass
class Findings:
    """All figures of a benchmark.

    Attributes:
        size: bytes that were asked for.
        raw_bytes: bytes of the database on disk.
        rounds: how often each backup was taken.
        load: load of the machine when the rounds began.
        versions: versions of the programs.
        results: one for each peer.
        limits: what the machine can do.
        small_bytes: bytes of a smaller database.
        small_memory: by peer of ours, the memory of the module's own process with the smaller database.
        noop_module: by peer of ours, seconds of the module's process when there is nothing to do.
        noop_plays: seconds of a playbook with nothing in it, of one with a ping, and of one with a logical backup that has nothing to do, taken in turn.
    """

    size: int
    raw_bytes: int = 0
    rounds: int = 0
    load: float = 0.0
    versions: str = ""
    results: list[Result] = dataclasses.field(default_factory=list)
    limits: list[Limit] = dataclasses.field(default_factory=list)
    small_bytes: int = 0
    small_memory: dict[str, int] = dataclasses.field(default_factory=dict)
    noop_module: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    noop_plays: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)

    def measured(self, key: str) -> Result | None:
        """Return a peer's result, if nothing is missing in it."""
        return next((result for result in self.results if result.key == key and result.complete), None)


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure that the collection wants to reach.

    Attributes:
        what: what is asked.
        found: what was found.
        met: whether that is enough; none if it could not be measured.
    """

    what: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "met", False: "**not met**", None: "not measured"}[self.met]


def parse_size(text: str) -> int:
    """Return the bytes that ``2G``, ``100M`` or ``5000000`` mean (powers of ten).

    Raises:
        ValueError: it is nothing of the kind, or less than 10 MB.
    """
    unit = {"k": 1000, "m": 1000**2, "g": 1000**3}.get(text[-1:].lower(), 1)
    size = int(float(text[:-1] if unit > 1 else text) * unit)
    if size < 10_000_000:
        raise ValueError(f"{text} is less than 10 MB")
    return size


def ratio(figure: float, digits: int = 2) -> str:
    """Return a ratio as the tables show it."""
    return f"{figure:.{digits}f}"


def targets(found: Findings) -> list[Target]:
    """Compare with what is asked."""
    return [*_speed(found), *_thrift(found)]


def _speed(found: Findings) -> list[Target]:
    logical, physical = found.measured("pg-backup-logical"), found.measured("pg-backup-physical")
    script, alone = found.measured("gzip-gpg"), found.measured("pgbackrest")
    streams = [result for result in found.results if result.one_stream and result.complete]
    rows = []
    what = "logical: at least as fast as the best `pg_dump` into one compressed stream"
    if logical and streams:
        best = min(streams, key=lambda result: result.seconds)
        rows.append(Target(what, f"{ratio(best.seconds / logical.seconds)} times as fast as {best.name}", logical.seconds <= best.seconds))
    else:
        rows.append(Target(what, "", None))
    what = "logical: at least 2 times as fast as `pg_dump \\| gzip \\| gpg -c`"
    times = script.seconds / logical.seconds if logical and script else 0.0
    rows.append(Target(what, f"{ratio(times)} times", times >= 2) if times else Target(what, "", None))
    what = "physical: at most 3 % slower than pgBackRest alone"
    if physical and alone:
        extra = physical.seconds - alone.seconds
        shown = f"{abs(extra) / alone.seconds:.1%} ({abs(extra):.1f} s) {'slower' if extra > 0 else 'faster'}"
        rows.append(Target(what, shown, extra <= 0.03 * alone.seconds))
    else:
        rows.append(Target(what, "", None))
    return rows


def _thrift(found: Findings) -> list[Target]:
    ours = [result for result in found.results if result.ours]
    measured = [result for result in ours if result.costs]
    complete = bool(ours) and all(result.complete for result in ours)
    rows = []
    memory = [cost.own_bytes for result in measured for cost in result.costs]
    met = max(memory) < MEMORY_LIMIT if memory else None
    shown = f"{max(memory) / MIB:.0f} MiB" if memory else ""
    rows.append(Target("memory above the tools' own under 150 MiB", shown, met if complete or met is False else None))
    staged = [cost.staged_bytes for result in measured for cost in result.costs]
    met = max(staged) == 0 if staged else None
    rows.append(Target("nothing staged on the local disk", f"{max(staged)} bytes" if staged else "", met if complete or met is False else None))
    extra = [task - empty for empty, _ping, task in found.noop_plays]
    what = "a `present` that has nothing to do: under 1 s beyond Ansible's own start"
    rows.append(Target(what, f"{statistics.median(extra):.2f} s", statistics.median(extra) < 1) if extra else Target(what, "", None))
    return rows


def peers_table(found: Findings) -> str:
    """Return the table of all peers."""
    head = ["backup by", "seconds", "CPU s per GB", "memory MiB", "of it our own", "staged MB", "stored MB", "restored after s"]
    rows = []
    for result in found.results:
        if not result.costs:
            rows.append([result.name, f"not measured: {result.reason}", "", "", "", "", "", ""])
            continue
        cpu = statistics.median(cost.cpu_seconds for cost in result.costs) / (found.raw_bytes / 1e9)
        own = max(cost.own_bytes for cost in result.costs) / MIB
        rows.append(
            [
                result.name,
                spread([cost.seconds for cost in result.costs]),
                f"{cpu:.1f}",
                f"{max(cost.peak_bytes for cost in result.costs) / MIB:.0f}",
                f"{own:.0f}" if result.ours else "",
                megabytes(max(cost.staged_bytes for cost in result.costs)),
                f"{result.stored / 1e6:.0f}",
                "not measured" if result.restore_seconds is None else f"{result.restore_seconds:.1f}",
            ]
        )
    return table(head, rows)


def megabytes(count: int) -> str:
    """Return bytes as megabytes: 0 only for none at all."""
    return "0" if count == 0 else f"{count / 1e6:.2g}" if count < 10_000_000 else f"{count / 1e6:.0f}"


def limits_table(found: Findings) -> str:
    """Return the table of the machine's limits."""
    rows = [[limit.step, f"{limit.rate / 1e6:.0f}", f"{limit.seconds:.1f}"] for limit in found.limits]
    return table(["one step alone", "MB/s", "seconds for these data"], rows)


def lowest_limits(found: Findings) -> list[str]:
    """Say for each method how near its backup comes to the slowest of its steps."""
    lines = []
    for kind in ("logical", "physical"):
        steps = [limit for limit in found.limits if limit.kind == kind]
        result = found.measured(f"pg-backup-{kind}")
        if steps and result:
            slowest = max(steps, key=lambda limit: limit.seconds)
            cpu = statistics.median(cost.cpu_seconds for cost in result.costs)
            lines.append(
                f"- `method: {kind}` runs at {slowest.seconds / result.seconds:.0%} of the lowest limit ({slowest.step}) "
                f"and keeps {cpu / result.seconds:.1f} of {os.cpu_count()} cores busy."
            )
    return lines


def memory_lines(found: Findings) -> list[str]:
    """Say how the module's own memory depends on the size."""
    lines = []
    for result in found.results:
        if result.key in found.small_memory and result.costs:
            small, large = found.small_memory[result.key], max(cost.own_bytes for cost in result.costs)
            sizes = f"{small / MIB:.0f} MiB of its own for {found.small_bytes / 1e9:.2f} GB, {large / MIB:.0f} MiB for {found.raw_bytes / 1e9:.2f} GB"
            lines.append(f"- {result.name}: {sizes}.")
    return lines


def noop_lines(found: Findings) -> list[str]:
    """Say what a task costs that has nothing to do."""
    lines = [
        f"- {result.name}: a `present` that finds a fresh backup takes {spread(found.noop_module[result.key], 2)} s as a process of its own."
        for result in found.results
        if found.noop_module.get(result.key)
    ]
    if found.noop_plays:
        empty, ping, task = (list(seconds) for seconds in zip(*found.noop_plays))
        extra = [after - before for before, _ping, after in found.noop_plays]
        lines.append(
            f"- `ansible-playbook` with nothing to do takes {spread(empty, 2)} s, with an `ansible.builtin.ping` {spread(ping, 2)} s, with such a logical "
            f"`present` {spread(task, 2)} s: {spread(extra, 2)} s more than with nothing, pair by pair."
        )
    return lines


PAGE = """## Backups of PostgreSQL

Made by `make bench-backup SIZE={size}` on {machine}; {versions}.
The data: {gigabytes:.2f} GB on disk, a third pgbench's tables, a third JSON documents, a third bytes that cannot be compressed; all of it in the page cache.
{rounds}, taken in turn{slow}: medians (lowest to highest); the greatest memory and staging of all runs; one restore each.
Load of the machine when they began: {load:.2f}.

{peers}

- *CPU*: user and system time of all processes of the backup and of the server's processes during it, per GB on disk.
- *memory*: greatest sum over the backup's processes, without the server's, of their proportional set size, ten times a second;
  *our own*: of the module's process alone, without the tools that it runs.
- *staged*: files outside the destination that one of the backup's processes wrote or had open for writing, ten times a second.
- *restored after*: from the start of the restore until a query was answered by a server that was empty (logical), or not there, before.
  Row counts were compared after that.
- PostgreSQL runs with `fsync` on, as the source and as the target of a restore. Which backups wait for the disk themselves is said below.

What each one does:

{legend}

Against the targets:

{targets}

What the machine can do:

{limits}

{lines}
"""


def legend(result: Result) -> str:
    """Say what a peer does, and what went wrong if it has figures all the same."""
    failed = f" **Failed**: {result.reason}" if result.costs and result.problem else ""
    return f"- {result.name}: {result.what}.{failed}"


def page(found: Findings) -> str:
    """Return the section of docs/benchmarks.md."""
    wanted = table(["target", "found", ""], [[target.what, target.found, target.verdict] for target in targets(found)])
    size = f"{found.size / 1e9:g}G"
    rounds = f"{found.rounds} rounds" if found.rounds > 1 else "One round"
    return PAGE.format(
        size=size,
        machine=machine(),
        versions=found.versions,
        gigabytes=found.raw_bytes / 1e9,
        rounds=rounds,
        slow=" (two, where a backup takes more than four times as long as the fastest)" if found.rounds > 2 else "",
        load=found.load,
        peers=peers_table(found),
        legend="\n".join(legend(result) for result in found.results),
        targets=wanted,
        limits=limits_table(found),
        lines="\n".join([*lowest_limits(found), *memory_lines(found), *noop_lines(found)]),
    )


def as_json(found: Findings) -> dict[str, t.Any]:
    """Return all figures, without what the programs printed."""
    figures = dataclasses.asdict(found)
    for result in figures["results"]:
        for cost in result["costs"]:
            del cost["output"]
    return {**figures, "targets": [dataclasses.asdict(target) for target in targets(found)]}
