# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a scheduled backup for Prometheus, in the text format that the node exporter's textfile collector reads.

What was learnt stays in a state file beside the figures, so that a store that does not answer takes none of it back: the times stand still, and grow old.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import statistics
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import BEFORE_RESTORE
from ansible_collections.mainstay.ops.plugins.module_utils._disk import replace_file
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

TYPES = ("incremental", "differential", "full")
"""From the weakest to the strongest: a stronger backup counts where a weaker one was asked for."""
_SHORT = {"incr": "incremental", "diff": "differential"}
USUAL_OF = 7
"""So many good backups before the newest one say what is usual."""
LATE_FACTOR = 1.3
"""A backup that is older than this many times the time for which it is young enough is late."""
PREFIX = "mainstay_backup_"
HELP = {
    "newest_good_timestamp_seconds": "When the newest good backup was begun; 0 if there is none.",
    "newest_verified_timestamp_seconds": "When a backup was last restored for trial with success; 0 if never.",
    "recoverable_to_timestamp_seconds": "The latest moment that can be brought back.",
    "bytes": "Size of the newest good backup in the store.",
    "plain_bytes": "Size of its data before compression.",
    "usual_plain_bytes": "Median of that of up to seven good backups before it.",
    "count": "How many good backups there are.",
    "since_timestamp_seconds": "When this host began to look after the backups.",
    "late_after_seconds": "How old the newest good backup may become.",
    "verify_late_after_seconds": "How long ago the newest successful verification may be.",
    "store_readable": "Whether the catalogue could be read when it was last tried.",
    "metrics_timestamp_seconds": "When these figures were written.",
    "last_run_timestamp_seconds": "When the last run ended.",
    "last_run_success": "Whether it did what it should; a host that has nothing to do succeeds.",
    "last_run_seconds": "How long it took.",
    "last_run_mine": "Whether this host was the one to do it, of those that have the schedule.",
}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What the figures are about.

    Args:
        schedule: name of the schedule.
        name: name of the catalogue.
        kind: ``postgres``, ``redis``, ``files``, ``rds`` or ``elasticache``.
        method: ``logical``, ``physical``, ``snapshot`` for Redis and in AWS, or ``tar`` for files.
        backup_type: of a physical backup, one of :data:`TYPES`; empty otherwise.
        late_after: seconds after which the newest good backup is too old.
        verify_late_after: seconds after which the newest verification is too old; None if none is expected.
    """

    schedule: str
    name: str
    kind: str
    method: str
    backup_type: str
    late_after: int
    verify_late_after: int | None

    def labels(self, **more: str) -> str:
        """The labels of a figure, as text."""
        texts = {"schedule": self.schedule, "name": self.name, "kind": self.kind, "method": self.method, **more}
        return ",".join(f'{label}="{escaped(text)}"' for label, text in texts.items())


@dataclasses.dataclass(frozen=True)
class Run:
    """How a run ended.

    Args:
        operation: ``backup`` or ``verify``.
        success: whether it did what it should.
        mine: whether this host was the one to do it.
        seconds: how long it took.
    """

    operation: str
    success: bool
    mine: bool
    seconds: float


def learn(
    state: t.Mapping[str, t.Any], schedule: Schedule, listing: t.Mapping[str, t.Any] | None, run: Run | None, now: float,
) -> dict[str, t.Any]:
    """Return the state after what was found.

    Args:
        state: what was known before; empty at the first time.
        schedule: what is looked at.
        listing: what the ``_info`` module returned; None if the catalogue could not be read.
        run: how a run ended; None if nothing was run.
        now: Unix time.
    """
    known = {"since": now, **state, "at": now, "readable": int(listing is not None)}
    if listing is not None:
        known["catalogue"] = _figures(schedule, listing)
    if run is not None:
        ended = {"timestamp": now, "success": int(run.success), "seconds": round(run.seconds, 3), "mine": int(run.mine)}
        known["runs"] = {**state.get("runs", {}), run.operation: ended}
    return known


def render(schedule: Schedule, state: t.Mapping[str, t.Any]) -> str:
    """Return the figures as text; what is not known yet is left out."""
    figures: dict[str, t.Any] = {
        **state.get("catalogue", {}),
        "since_timestamp_seconds": state["since"],
        "late_after_seconds": schedule.late_after,
        "verify_late_after_seconds": schedule.verify_late_after,
        "store_readable": state["readable"],
        "metrics_timestamp_seconds": state["at"],
    }
    lines: list[str] = []
    for name, text in HELP.items():
        if name.startswith("last_run_"):
            # A state that an older version of the collection left may lack what came later.
            figure = name.split("_")[2]
            runs = sorted(state.get("runs", {}).items())
            samples = [(schedule.labels(operation=operation), run[figure]) for operation, run in runs if figure in run]
        else:
            samples = [(schedule.labels(), figures[name])] if figures.get(name) is not None else []
        if samples:
            lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} gauge"]
            lines += [f"{PREFIX}{name}{{{labels}}} {number}" for labels, number in samples]
    return "\n".join(lines) + "\n"


def _figures(schedule: Schedule, listing: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What the catalogue says of the backups that this schedule asks for."""
    mine = [backup for backup in listing["backups"] if _counts(schedule, backup) and BEFORE_RESTORE not in backup.get("labels", {})]
    good = [backup for backup in mine if backup["good"]]
    verified = [seconds_of(backup["verified_at"]) for backup in mine if backup.get("verified_at")]
    reached = [seconds_of(backup["recoverable_to"]) for backup in good if backup.get("recoverable_to")]
    figures: dict[str, t.Any] = {"count": len(good), "newest_good_timestamp_seconds": 0, "newest_verified_timestamp_seconds": max(verified, default=0)}
    if good:
        newest, sizes = good[-1], [_size(backup) for backup in good[:-1] if _type(backup) == _type(good[-1])]
        before = [size for size in sizes if size is not None][-USUAL_OF:]
        figures["newest_good_timestamp_seconds"] = _moment(newest)
        figures["recoverable_to_timestamp_seconds"] = max(reached, default=None)
        figures["bytes"], figures["plain_bytes"] = newest["bytes_stored"], _size(newest)
        figures["usual_plain_bytes"] = int(statistics.median(before)) if before else None
    return figures


def _counts(schedule: Schedule, backup: t.Mapping[str, t.Any]) -> bool:
    """Whether a backup is of the method and, for a physical one, of the type or a stronger one."""
    if schedule.kind != "postgres" or backup.get("method") is None:
        return True
    if backup["method"] != schedule.method:
        return False
    found = _type(backup)
    return found not in TYPES or schedule.backup_type not in TYPES or TYPES.index(found) >= TYPES.index(schedule.backup_type)


def _type(backup: t.Mapping[str, t.Any]) -> str:
    """The type of a physical backup, which pgBackRest calls full, diff or incr; empty for any other."""
    found = str(((backup.get("contents") or {}).get("pgbackrest") or {}).get("type") or "")
    return _SHORT.get(found, found)


def _size(backup: t.Mapping[str, t.Any]) -> int | None:
    """The size of the data; compression does not change it. Of files it is what a restore brings, whatever an incremental backup holds of it itself.

    AWS does not tell that of a snapshot.
    """
    if _of_aws(backup):
        return None
    if backup.get("kind") == "files" and backup.get("contents"):
        return int(backup["contents"]["bytes"])
    return int(backup["bytes_plain"] or backup["bytes_stored"] or 0)


def _of_aws(backup: t.Mapping[str, t.Any]) -> bool:
    """Whether it is a snapshot that AWS keeps."""
    return "arn" in backup


def _moment(backup: t.Mapping[str, t.Any]) -> float:
    """When a backup was begun."""
    if _of_aws(backup):
        return seconds_of(backup["recoverable_from"])
    return seconds_of(backup["started"] or f"{backup['id'][:4]}-{backup['id'][4:6]}-{backup['id'][6:11]}:{backup['id'][11:13]}:{backup['id'][13:16]}")


def seconds_of(text: str) -> float:
    """Return the Unix time of a moment such as ``2026-11-22T17:42:00Z``."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def escaped(text: str) -> str:
    """Return a label's text, as the exposition format has it."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextlib.contextmanager
def locked(folder: str) -> t.Iterator[None]:
    """Keep other runs from writing at the same time.

    Raises:
        MainstayError: the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise MainstayError(f"write the figures in {folder}", exc.strerror or exc) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_state(path: str) -> dict[str, t.Any]:
    """Return what is known; nothing at the first time, or if the file was damaged."""
    try:
        with open(path, encoding="utf-8") as stream:
            state = json.load(stream)
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) and "since" in state else {}


def dump(state: t.Mapping[str, t.Any]) -> str:
    """Return the state as the text of its file."""
    return json.dumps(state, indent=2) + "\n"


def write(path: str, content: str | bytes, mode: int = 0o644) -> None:
    """Replace a file that others read, in one step.

    Args:
        path: the file, in a folder that exists.
        content: what shall be in it.
        mode: its permissions.

    Raises:
        MainstayError: it cannot be written.
    """
    replace_file(path, content, mode)
