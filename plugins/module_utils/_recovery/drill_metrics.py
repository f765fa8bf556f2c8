# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of recoveries and drills for Prometheus; a failed drill leaves the time of the last success standing, and that grows old."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._recovery.record import Record
from ansible_collections.mainstay.ops.plugins.module_utils._schedule.metrics import escaped

PREFIX = "mainstay_drill_"
HELP = {
    "last_success_timestamp_seconds": "When the last drill that succeeded ended; 0 if none did.",
    "success": "Whether the last drill did.",
    "last_run_timestamp_seconds": "When the last drill ended; 0 if there was none.",
    "seconds": "How long the last drill took.",
    "since_timestamp_seconds": "Since when drills are expected.",
    "late_after_seconds": "How long ago the last success may be.",
    "measured": "What the last drill measured, in the unit that the name of the figure ends with.",
    "target": "What that figure must not exceed.",
}
State = dict[str, t.Any]


def expect(state: t.Mapping[str, t.Any], name: str, level: str, late_after: int | None, now: float) -> State:
    """Return the state after a drill was announced: from now on one that never comes is late.

    Args:
        state: what was known; empty at the first time.
        name: what is recovered.
        level: how much the drill proves.
        late_after: seconds after which the last success is too old; None leaves what was said before.
        now: Unix time.
    """
    known = {"since": now, **state}
    drill = {"name": name, "level": level, "since": now, "last_success": 0, **known.get("drills", {}).get(f"{level} {name}", {})}
    if late_after is not None:
        drill["late_after"] = late_after
    return {**known, "drills": {**known.get("drills", {}), f"{level} {name}": drill}}


def learn(state: t.Mapping[str, t.Any], record: Record, late_after: int | None) -> State:
    """Return the state after a run; see :func:`expect` for the arguments. One that ended before the last one changes nothing."""
    ended = record.finished.timestamp()
    known = expect(state, record.name, record.level, late_after, record.started.timestamp())
    drill = known["drills"][f"{record.level} {record.name}"]
    if drill.get("last_run", 0) > ended:
        return known
    measured = {key: record.measured.get(key) for key in record.targets if record.measured.get(key) is not None}
    run = {"last_run": ended, "success": int(record.success), "seconds": record.seconds, "measured": measured, "targets": record.targets}
    last_success = ended if record.success else drill["last_success"]
    return {**known, "drills": {**known["drills"], f"{record.level} {record.name}": {**drill, **run, "last_success": last_success}}}


def render(state: t.Mapping[str, t.Any]) -> str:
    """Return the figures as text."""
    samples: dict[str, list[str]] = {figure: [] for figure in HELP}
    for _key, drill in sorted(state.get("drills", {}).items()):
        labels = f'name="{escaped(drill["name"])}",level="{escaped(drill["level"])}"'
        figures = {
            "last_success_timestamp_seconds": drill["last_success"],
            "success": drill.get("success"),
            "last_run_timestamp_seconds": drill.get("last_run", 0),
            "seconds": drill.get("seconds"),
            "since_timestamp_seconds": drill["since"],
            "late_after_seconds": drill.get("late_after"),
        }
        for figure, number in figures.items():
            if number is not None:
                samples[figure].append(f"{{{labels}}} {number}")
        for figure, source in (("measured", "measured"), ("target", "targets")):
            samples[figure] += [f'{{{labels},figure="{escaped(key)}"}} {number}' for key, number in sorted(drill.get(source, {}).items())]
    lines: list[str] = []
    for figure, found in samples.items():
        if found:
            lines += [f"# HELP {PREFIX}{figure} {HELP[figure]}", f"# TYPE {PREFIX}{figure} gauge", *(f"{PREFIX}{figure}{sample}" for sample in found)]
    return "\n".join(lines) + "\n"
