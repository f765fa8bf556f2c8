# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures of ``make bench-scale`` say: tables, growth, and the targets."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
import typing as t

from document import machine, spread, table

from scale.converge import Converged
from scale.peers import TAGS

MIB = 1 << 20
BARE, SAME, DEPLOY = "`site` from bare hosts", "`site` again, nothing to change", "`deploy` of a new release"
PEERS_BARE, PEERS_SAME = "the peers from bare hosts", "the peers again"
RUNS = (BARE, SAME, DEPLOY, PEERS_BARE, PEERS_SAME)

TEMPLATE = """
## Measured

Made by `make bench-scale SIZES="{sizes}"` on {machine}, which carries all the hosts as well as the controller: with more hosts it is also the hosts
that get slower. Load when it began: {load:.1f}. {rounds} runs of each kind but those from bare hosts, which are one; medians (lowest to highest).
Each run begins without an open connection.

{table}

- *SSH*: executions for each host, exact on any machine.
- *CPU*: user and system time of the controller's processes alone, for each host.
- *memory*: greatest sum over the controller's processes (`ansible-playbook`, its forks, `ssh`), as proportional set size, twice a second.
- *per host and task*: the seconds, divided by the tasks that ran on all hosts together.
- {peers}

Growth from {first} to {last} hosts:

| run | hosts | seconds | s for each further host | memory MiB for each further host |
|---|---|---|---|---|
{growth}

{targets}
{variants}
"""

VARIANTS = """
Settings, on {size} hosts, `site` with nothing to change; each differs from `ansible.cfg` in what it names.
Strategies that do not wait for other hosts are not among them: with `free`, such a run failed on one host and changed two others, since roles of a
cluster count on what its other members have done before.

{table}
"""


@dataclasses.dataclass
class Findings:
    """All that was measured.

    Attributes:
        rounds: runs of a kind.
        load: load of the machine when it began.
        runs: by size and kind.
        variants: by name, at the smallest size.
        missing: why the peers could not be had; empty if they were.
    """

    rounds: int
    load: float
    runs: dict[int, dict[str, list[Converged]]] = dataclasses.field(default_factory=dict)
    variants: dict[str, list[Converged]] = dataclasses.field(default_factory=dict)
    missing: str = ""


def save(found: Findings, path: pathlib.Path) -> None:
    """Keep what was found until now."""
    path.write_text(json.dumps(dataclasses.asdict(found)) + "\n", encoding="utf-8")


def load(path: pathlib.Path) -> Findings:
    """Return what was kept.

    Raises:
        ValueError: there is nothing.
    """
    if not path.exists():
        raise ValueError(f"there is no {path}, so no earlier run to go on with")
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["runs"] = {int(size): read_runs(kinds) for size, kinds in kept["runs"].items()}
    return Findings(**{**kept, "variants": read_runs(kept["variants"])})


def read_runs(kinds: dict[str, list[dict[str, t.Any]]]) -> dict[str, list[Converged]]:
    """Return runs by kind, as they were before they were kept."""
    return {kind: [Converged(**run) for run in runs] for kind, runs in kinds.items()}


def seconds(runs: t.Sequence[Converged]) -> float:
    """Return the median of the seconds."""
    return statistics.median(run.seconds for run in runs)


def memory(runs: t.Sequence[Converged]) -> int:
    """Return the greatest memory in bytes."""
    return max(run.peak_bytes for run in runs)


def per_task(runs: t.Sequence[Converged]) -> float:
    """Return the milliseconds for each host and task, as the median of the runs."""
    return statistics.median(1000 * run.seconds / run.tasks for run in runs)


def row(name: str, runs: t.Sequence[Converged]) -> list[str]:
    """Return the figures of a kind of run."""
    last = runs[-1]
    return [
        name,
        spread([run.seconds for run in runs]),
        f"{seconds(runs) / last.hosts:.2f}",
        f"{per_task(runs):.0f}",
        f"{last.executions / last.hosts:.1f}",
        f"{statistics.median(run.cpu_seconds for run in runs) / last.hosts:.2f}",
        f"{memory(runs) / MIB:.0f}",
    ]


HEAD = ["seconds", "s per host", "ms per host and task", "SSH per host", "CPU s per host", "memory MiB"]


def growth(found: Findings, kind: str) -> tuple[float, float] | None:
    """Return what each further host costs from the smallest to the largest size, in seconds and in bytes; None with one size."""
    sizes = [size for size in sorted(found.runs) if kind in found.runs[size]]
    if len(sizes) < 2:
        return None
    small, large = (found.runs[size][kind] for size in (sizes[0], sizes[-1]))
    further = sizes[-1] - sizes[0]
    return (seconds(large) - seconds(small)) / further, (memory(large) - memory(small)) / further


def targets(found: Findings) -> list[tuple[str, str, bool | None]]:
    """Hold the figures against what was aimed at; None stands for what this run could not tell."""
    sizes = sorted(found.runs)
    small, large = found.runs[sizes[0]], found.runs[sizes[-1]]
    ratio = seconds(large[SAME]) / seconds(small[SAME])
    linear = sizes[-1] / sizes[0]
    lines: list[tuple[str, str, bool | None]] = [
        (f"from {sizes[0]} to {sizes[-1]} hosts no worse than linear", f"{ratio:.2f} times the seconds for {linear:.2f} times the hosts", ratio <= linear)
        if len(sizes) > 1
        else ("growth no worse than linear", "one size was measured", None)
    ]
    faster = "nothing to change: faster for each host and task than the peers"
    for size in (size for size in sizes if PEERS_SAME in found.runs[size]):
        ours, theirs = per_task(found.runs[size][SAME]), per_task(found.runs[size][PEERS_SAME])
        lines.append((f"{faster}, on {size} hosts", f"{ours:.0f} against {theirs:.0f} ms, {ours / theirs:.2f} of it", ours < theirs))
    if PEERS_SAME not in large:
        lines.append((f"{faster}, on {sizes[-1]} hosts", "they were not measured", None))
    return lines


def peers_note(found: Findings) -> str:
    """Say what the peers are, or why there are none."""
    if found.missing:
        return f"Not measured: the peers (geerlingguy's roles). {found.missing}"
    names = ", ".join(f"{name} {tag}" for name, tag in TAGS.items())
    places = "PostgreSQL and Redis on those with data, nginx on the others"
    return f"*the peers*: geerlingguy's roles {names} with their defaults, on hosts of the same names: {places}"


def page(found: Findings) -> str:
    """Return the section of docs/scale.md."""
    sizes = sorted(found.runs)
    lines = [[str(size), *row(kind, found.runs[size][kind])] for kind in RUNS for size in sizes if kind in found.runs[size]]
    grown = {kind: growth(found, kind) for kind in RUNS if kind in found.runs[sizes[-1]]}
    spans = [
        f"| {kind} | {sizes[0]} to {sizes[-1]} | {seconds(found.runs[sizes[0]][kind]):.1f} to {seconds(found.runs[sizes[-1]][kind]):.1f} "
        f"| {each[0]:.2f} | {each[1] / MIB:.2f} |"
        for kind, each in grown.items()
        if each
    ]
    words = {True: "met", False: "**not met**", None: "not known"}
    variants = table(["settings", *HEAD], [row(name, runs) for name, runs in found.variants.items()]) if found.variants else ""
    return TEMPLATE.format(
        sizes=" ".join(map(str, sizes)),
        machine=machine(),
        load=found.load,
        rounds=found.rounds,
        table=table(["hosts", "run", *HEAD], lines),
        peers=peers_note(found),
        first=sizes[0],
        last=sizes[-1],
        growth="\n".join(spans) or "| (one size was measured) | | | | |",
        targets=table(["target", "found", ""], [[what, said, words[met]] for what, said, met in targets(found)]),
        variants=VARIANTS.format(size=next(iter(found.variants.values()))[0].hosts, table=variants) if variants else "",
    )
