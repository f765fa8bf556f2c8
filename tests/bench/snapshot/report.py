# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From figures to the page: targets and words. Nothing here measures."""

from __future__ import annotations

import dataclasses

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
    rounds_words,
    staging_target,
    stream_target,
    targets_table,
)

MEMORY_LIMIT = 64 * MIB


@dataclasses.dataclass
class SnapshotFindings(Findings):
    """All figures of this benchmark.

    Attributes:
        keys: number of keys.
        plain_bytes: bytes of the snapshot before compression.
    """

    keys: int = 0
    plain_bytes: int = 0


def targets(found: SnapshotFindings) -> list[Target]:
    """Compare with what is asked."""
    speed = [
        stream_target(found, "redis-snapshot-plain", "not encrypted: at least as fast as `redis-cli --rdb` through zstd", "redis-cli"),
        stream_target(found, "redis-snapshot", "encrypted: at least as fast as `redis-cli --rdb` through zstd and age", "redis-cli-age"),
    ]
    words = {"redis-snapshot": "into a folder", "redis-snapshot-s3": "to S3, boto3 included"}
    memory = [
        memory_target(found, f"memory of its own under 64 MiB whatever the size, {words[result.key]}", MEMORY_LIMIT, [result])
        for result in found.results
        if result.key in words
    ]
    return [*speed, *memory, staging_target(found), noop_target(found)]


PAGE = """## Snapshots of Redis

Made by `make bench-redis SIZE={size}` on {machine}; {versions}.
The data: {gigabytes:.2f} GB of the server's memory in {keys} keys, about a sixth each: strings of JSON, random strings, hashes, lists, sorted sets, streams;
{plain:.0f} MB as a snapshot. {rounds}, taken in turn: medians (lowest to highest); the greatest memory and staging of all runs; one restore each.
Load of the machine when they began: {load:.2f}.

{peers}

- *CPU*: user and system time of all processes of the backup, and of the server and the child that writes the snapshot, per GB of the server's memory.
- *memory*: greatest sum over the backup's processes, without the server and its child, of their proportional set size, ten times a second;
  *our own*: of the module's process alone, without the programs that it runs.
- *staged*: files outside the destination that one of the backup's processes wrote, or the server saved, ten times a second.
- *restored after*: from the start of the restore until a server that was empty, or not there, answered with all keys.
  The digests of all data were compared after that.
- The server waits 0 seconds before it sends a snapshot (`repl-diskless-sync-delay`; by default it waits 5, whoever asks), and has no AOF.

What each one does:

{legend}

Against the targets:

{targets}

What the machine can do:

{limits}

{lines}
"""


def page(found: SnapshotFindings) -> str:
    """Return the section of docs/benchmarks.md."""
    near = lowest_limit(found, "take", "redis-snapshot", "`redis_snapshot` into a folder")
    return PAGE.format(
        size=f"{found.size / 1e9:g}G",
        machine=machine(),
        versions=found.versions,
        gigabytes=found.raw_bytes / 1e9,
        keys=found.keys,
        plain=found.plain_bytes / 1e6,
        rounds=rounds_words(found),
        load=found.load,
        peers=peers_table(found),
        legend="\n".join(legend(result) for result in found.results),
        targets=targets_table(targets(found)),
        limits=limits_table(found),
        lines="\n".join([*near, *memory_lines(found), *_library_lines(found), *noop_lines(found)]),
    )


def _library_lines(found: SnapshotFindings) -> list[str]:
    """Say how much of the memory is there before anything is read."""
    return [
        f"- {result.name}: {found.noop_memory[result.key] / MIB:.0f} MiB of its own are the interpreter and the libraries, as in a task with nothing to do."
        for result in found.results
        if result.key in found.noop_memory and result.costs
    ]
