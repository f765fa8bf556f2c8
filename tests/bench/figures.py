# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of a benchmark and how they are shown: results, medians, verdicts, tables. Nothing here measures."""

from __future__ import annotations

import dataclasses
import os
import statistics
import typing as t

from document import spread, table
from measure import Cost

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limit:
    """One step alone.

    Attributes:
        step: what is done.
        kind: the kind of this collection's backups into a folder that the step is one of; empty for one that is shown beside them.
        rate: bytes per second that go into the step, at its best.
        seconds: what that makes for the data of this benchmark.
    """

    step: str
    kind: str
    rate: float
    seconds: float


@dataclasses.dataclass
class Result:
    """What was found out about a peer.

    Attributes:
        name: what the table calls it.
        key: a plain word for it.
        what: what it does.
        ours: whether it is this collection's module.
        one_stream: whether it is the server's own dump in one compressed stream.
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
        raw_bytes: bytes of the data in the server.
        rounds: how often each backup was taken.
        load: load of the machine when the rounds began.
        versions: versions of the programs.
        results: one for each peer.
        limits: what the machine can do.
        small_bytes: bytes of fewer data.
        small_memory: by peer of ours, the memory of the module's own process with fewer data.
        noop_module: by peer of ours, seconds of the module's process when there is nothing to do.
        noop_memory: by peer of ours, the memory of that process.
        noop_plays: seconds of a playbook with nothing in it, of one with a ping, and of one with a backup that has nothing to do, taken in turn.
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
    noop_memory: dict[str, int] = dataclasses.field(default_factory=dict)
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


def targets_table(wanted: t.Sequence[Target]) -> str:
    """Return the table of the targets."""
    return table(["target", "found", ""], [[target.what, target.found, target.verdict] for target in wanted])


def stream_target(found: Findings, key: str, what: str, against: str = "") -> Target:
    """Judge whether a peer of ours is as fast as the one ``against``, or as the best of those that make one compressed stream."""
    ours = found.measured(key)
    streams = [result for result in found.results if result.one_stream and result.complete and against in ("", result.key)]
    if ours is None or not streams:
        return Target(what, "", None)
    best = min(streams, key=lambda result: result.seconds)
    return Target(what, f"{ratio(best.seconds / ours.seconds)} times as fast as {best.name}", ours.seconds <= best.seconds)


def memory_target(found: Findings, what: str, limit: int, ours: t.Sequence[Result]) -> Target:
    """Judge the memory of peers of ours alone, with little data and with all of it, against a limit in bytes."""
    memory = [cost.own_bytes for result in ours for cost in result.costs]
    memory += [found.small_memory[result.key] for result in ours if result.costs and result.key in found.small_memory]
    met = max(memory) < limit if memory else None
    complete = bool(ours) and all(result.complete for result in ours)
    return Target(what, f"{max(memory) / MIB:.0f} MiB" if memory else "", met if complete or met is False else None)


def noop_target(found: Findings) -> Target:
    """Judge what a task costs that has nothing to do."""
    extra = [task - empty for empty, _ping, task in found.noop_plays]
    what = "a `present` that has nothing to do: under 1 s beyond Ansible's own start"
    return Target(what, f"{statistics.median(extra):.2f} s", statistics.median(extra) < 1) if extra else Target(what, "", None)


def staging_target(found: Findings) -> Target:
    """Judge what backups of ours stage."""
    ours = [result for result in found.results if result.ours]
    staged = [cost.staged_bytes for result in ours for cost in result.costs]
    met = max(staged) == 0 if staged else None
    complete = bool(ours) and all(result.complete for result in ours)
    return Target("nothing staged on the local disk", f"{max(staged)} bytes" if staged else "", met if complete or met is False else None)


def rounds_words(found: Findings) -> str:
    """Say how often each backup was taken."""
    return f"{found.rounds} rounds" if found.rounds > 1 else "One round"


def limits_table(found: Findings) -> str:
    """Return the table of the machine's limits."""
    rows = [[limit.step, f"{limit.rate / 1e6:.0f}", f"{limit.seconds:.1f}"] for limit in found.limits]
    return table(["one step alone", "MB/s", "seconds for these data"], rows)


def lowest_limit(found: Findings, kind: str, key: str, name: str) -> list[str]:
    """Say how near a peer's backup comes to the slowest of its steps, if both were measured."""
    steps = [limit for limit in found.limits if limit.kind == kind]
    result = found.measured(key)
    if not steps or result is None:
        return []
    slowest = max(steps, key=lambda limit: limit.seconds)
    cpu = statistics.median(cost.cpu_seconds for cost in result.costs)
    share, busy = f"{slowest.seconds / result.seconds:.0%}", f"{cpu / result.seconds:.1f} of {os.cpu_count()}"
    return [f"- {name} runs at {share} of the lowest limit ({slowest.step}) and keeps {busy} cores busy."]


def memory_lines(found: Findings) -> list[str]:
    """Say how the module's own memory depends on the size."""
    lines = []
    for result in found.results:
        if result.key in found.small_memory and result.costs:
            small, large = found.small_memory[result.key], max(cost.own_bytes for cost in result.costs)
            sizes = f"{small / MIB:.0f} MiB of its own for {found.small_bytes / 1e9:.2f} GB, {large / MIB:.0f} MiB for {found.raw_bytes / 1e9:.2f} GB"
            lines.append(f"- {result.name}: {sizes}.")
    return lines


def noop_lines(found: Findings, task: str = "`present`") -> list[str]:
    """Say what a task costs that has nothing to do; ``task`` is what the playbook has."""
    lines = [
        f"- {result.name}: a `present` that finds a fresh backup takes {spread(found.noop_module[result.key], 2)} s as a process of its own."
        for result in found.results
        if found.noop_module.get(result.key)
    ]
    if found.noop_plays:
        empty, ping, whole = (list(seconds) for seconds in zip(*found.noop_plays))
        extra = [after - before for before, _ping, after in found.noop_plays]
        lines.append(
            f"- `ansible-playbook` with nothing to do takes {spread(empty, 2)} s, with an `ansible.builtin.ping` {spread(ping, 2)} s, with such a "
            f"{task} {spread(whole, 2)} s: {spread(extra, 2)} s more than with nothing, pair by pair."
        )
    return lines


def legend(result: Result) -> str:
    """Say what a peer does, and what went wrong if it has figures all the same."""
    failed = f" **Failed**: {result.reason}" if result.costs and result.problem else ""
    return f"- {result.name}: {result.what}.{failed}"


def as_json(found: Findings, wanted: t.Sequence[Target]) -> dict[str, t.Any]:
    """Return all figures and verdicts, without what the programs printed."""
    figures = dataclasses.asdict(found)
    for result in figures["results"]:
        for cost in result["costs"]:
            del cost["output"]
    return {**figures, "targets": [dataclasses.asdict(target) for target in wanted]}
