# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of deployments for Prometheus, in the text format that the node exporter's textfile collector reads.

They follow from the application's folder alone: its history, its lock, and how the last run ended. So whoever writes them writes the same.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._disk import replace_file
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home, Lock, Record, Run, check_name

PREFIX = "mainstay_deploy_"
HELP = {
    "live": "1 for the release that serves, with its slot and the port of that.",
    "last_run_timestamp_seconds": "When the last run ended.",
    "last_run_success": "Whether it did what it should.",
    "last_run_seconds": "How long it took.",
    "lock_timestamp_seconds": "Since when a run has had the lock; not there while nobody has it.",
    "lock_renewed_timestamp_seconds": "When that run last said that it is alive.",
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the figures go, and what they have to say besides what lies in the application's folder.

    Args:
        path: the file, which ends in ``.prom``. Where its folder is missing there is no node exporter, and nothing is written.
        application: name of the application.
        slots: the port of each slot.
    """

    path: str
    application: str
    slots: t.Mapping[str, t.Any]

    @classmethod
    def of(cls, given: t.Mapping[str, t.Any]) -> Place:
        """Take the module's option.

        Raises:
            InvalidInput: it is of no use.
        """
        if not given["path"].endswith(".prom"):
            raise InvalidInput(f"write the figures to {given['path']}", "the collector reads only files that end in .prom")
        return cls(given["path"], check_name("application", given["application"]), given["slots"] or {})


def render(place: Place, live: Record | None, run: Run | None, lock: Lock | None) -> str:
    """Return the figures as text.

    Args:
        place: whose figures they are.
        live: what serves; None if nothing does.
        run: how the last run ended; None if there was none.
        lock: who has the lock; None if nobody has.
    """
    samples: dict[str, tuple[dict[str, str], float]] = {}
    if live is not None:
        samples["live"] = ({"release": live.release, "slot": live.slot, "port": str(place.slots.get(live.slot, ""))}, 1)
    if run is not None:
        labels = {"release": run.release, "kind": run.kind}
        samples["last_run_timestamp_seconds"] = (labels, run.time)
        samples["last_run_success"] = (labels, int(run.success))
        samples["last_run_seconds"] = (labels, run.seconds)
    if lock is not None:
        samples["lock_timestamp_seconds"] = ({}, lock.since)
        samples["lock_renewed_timestamp_seconds"] = ({}, lock.renewed)
    lines: list[str] = []
    for name, (labels, number) in samples.items():
        told = ",".join(f'{label}="{text}"' for label, text in {"application": place.application, **labels}.items())
        lines += [f"# HELP {PREFIX}{name} {HELP[name]}", f"# TYPE {PREFIX}{name} gauge", f"{PREFIX}{name}{{{told}}} {number}"]
    return "".join(f"{line}\n" for line in lines)


def write(home: Home, place: Place) -> str:
    """Write the figures of what is there now.

    Returns:
        Why they could not be written, empty if they were, or if this host has no node exporter. A deployment does not fail for want of its figures.
    """
    if not os.path.isdir(os.path.dirname(place.path)):
        return ""
    try:
        state = home.read()
        replace_file(place.path, render(place, state.live, home.read_run(), state.lock), 0o644)
    except MainstayError as error:
        return str(error)
    return ""
