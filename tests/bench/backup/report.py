# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From figures to the page: medians, targets, tables. Nothing here measures."""

from __future__ import annotations

from document import machine
from figures import (
    MIB,
    Findings,
    Target,
    legend,
    limits_table,
    lowest_limit,
    memory_lines,
    memory_target,
    noop_lines,
    noop_target,
    peers_table,
    ratio,
    rounds_words,
    staging_target,
    stream_target,
    targets_table,
)

MEMORY_LIMIT = 150 * MIB


def targets(found: Findings) -> list[Target]:
    """Compare with what is asked."""
    memory = memory_target(found, "memory above the tools' own under 150 MiB", MEMORY_LIMIT, [result for result in found.results if result.ours])
    return [*_speed(found), memory, staging_target(found), noop_target(found)]


def _speed(found: Findings) -> list[Target]:
    logical, physical = found.measured("pg-backup-logical"), found.measured("pg-backup-physical")
    script, alone = found.measured("gzip-gpg"), found.measured("pgbackrest")
    rows = [stream_target(found, "pg-backup-logical", "logical: at least as fast as the best `pg_dump` into one compressed stream")]
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


def page(found: Findings) -> str:
    """Return the section of docs/benchmarks.md."""
    size = f"{found.size / 1e9:g}G"
    near = [line for kind in ("logical", "physical") for line in lowest_limit(found, kind, f"pg-backup-{kind}", f"`method: {kind}`")]
    return PAGE.format(
        size=size,
        machine=machine(),
        versions=found.versions,
        gigabytes=found.raw_bytes / 1e9,
        rounds=rounds_words(found),
        slow=" (two, where a backup takes more than four times as long as the fastest)" if found.rounds > 2 else "",
        load=found.load,
        peers=peers_table(found),
        legend="\n".join(legend(result) for result in found.results),
        targets=targets_table(targets(found)),
        limits=limits_table(found),
        lines="\n".join([*near, *memory_lines(found), *noop_lines(found, "logical `present`")]),
    )
