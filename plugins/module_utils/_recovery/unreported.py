# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scheduled drill that did not come to its report is one that failed: what systemd runs after each (``ExecStopPost``).

It takes a Python and this collection, and no Ansible: where that does not start any more, this is what says so.
"""

from __future__ import annotations

import json
import os
import sys
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import leave, record
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import metrics

METRICS = "mainstay-drill.prom"
"""The file of the figures, in the folder of the node exporter."""


def note(job: t.Mapping[str, t.Any], environment: t.Mapping[str, str], began: float, now: float) -> list[str]:
    """Leave figures and a report of a drill that failed, unless it has left its own.

    Args:
        job: the variables of the role ``recovery_drill``.
        environment: what systemd says of the service: ``SERVICE_RESULT``, ``EXIT_CODE``, ``EXIT_STATUS``.
        began: when it was started, as a Unix time.
        now: Unix time.

    Returns:
        What was done, in words; nothing if the drill was reported.

    Raises:
        MainstayError: it could not be written.
    """
    result = environment.get("SERVICE_RESULT", "unknown")
    folder, kept = job["recovery_drill_textfile_dir"], job["recovery_drill_state_dir"]
    path = os.path.join(folder, METRICS) if folder and os.path.isdir(folder) else None
    if result == "success" or reported(path, kept, job, began):
        return []
    seen = f"systemd says {result} ({environment.get('EXIT_CODE', 'nothing')} {environment.get('EXIT_STATUS', '')}".rstrip() + ")"
    failed = record.read({
        "title": f"Drill of {job['recovery_drill_name']}: {job['recovery_drill_level']}",
        "summary": "The drill ended before its report, or could not be started: journalctl -u mainstay-drill.service",
        "operation": "drill",
        "level": job["recovery_drill_level"],
        "name": job["recovery_drill_name"],
        "started": began,
        "finished": now,
        "phases": [],
        "targets": {},
        "measured": {},
        "evidence": [{"name": "the drill came to its report", "outcome": "failed", "seen": seen}],
        "lost": None,
    })
    places = leave.Places(dest=kept if os.path.isdir(kept) else None, metrics=path, late_after=parse_duration(job["recovery_drill_late_after"]))
    return leave.leave(places, failed, check_mode=False).actions


def reported(path: str | None, kept: str, job: t.Mapping[str, t.Any], began: float) -> bool:
    """Whether a drill that began then has left its figures or, where there are none, its report."""
    if path is not None:
        drill = metrics.read_state(f"{path}.state").get("drills", {}).get(f"{job['recovery_drill_level']} {job['recovery_drill_name']}", {})
        return drill.get("last_run", 0) >= began
    try:
        return os.stat(os.path.join(kept, "report.json")).st_mtime >= began
    except OSError:
        return False


def main(argv: t.Sequence[str], environment: t.Mapping[str, str]) -> int:
    """Read the job and the time of its start, and note a failure.

    Args:
        argv: the path of the job, and of a file that was made when it was started.
        environment: see :func:`note`.
    """
    now = time.time()
    try:
        with open(argv[0], encoding="utf-8") as stream:
            job = json.load(stream)
        # Without that file the start itself failed.
        began = os.stat(argv[1]).st_mtime if os.path.exists(argv[1]) else now
        for action in note(job, environment, began, now):
            sys.stdout.write(f"{action}\n")
    except (MainstayError, OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"could not note that the drill failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:], os.environ))
