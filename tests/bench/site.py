# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure ``site`` from bare hosts and its no-change re-run, and write the table of docs/benchmarks.md.

Seconds differ from machine to machine, so each stands beside the floor of the same run: a play of one module on each host.
SSH executions are exact. Run by ``make bench``; it makes a lab of its own and removes it.
"""

from __future__ import annotations

import collections
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/demo"))

from demo import Demo  # noqa: E402  pylint: disable=wrong-import-position
from document import machine, spread, table, write_section  # noqa: E402  pylint: disable=wrong-import-position

RUNS = 3
HOSTS = 7

TEMPLATE = """## The whole stack

Made by `make bench` on {machine}, which carries the {hosts} hosts as well as the controller;
{runs} runs each, medians (lowest to highest).
Seconds depend on the machine and its load: compare ratios. Counts of SSH executions are exact and gated by the tests.

{table}

- *floor*: a play of one `ansible.builtin.ping`, the least that a run on these hosts can cost.
- *ten files*: the same ten unchanged files, by a loop of `ansible.builtin.copy` and by one `config_tree`.
- What well-known roles of a single purpose cost on the same hosts, and how both grow with their number, is in [Many hosts](scale.md#measured).
"""


def measure(demo: Demo, playbook: str, *args: str, runs: int = RUNS) -> tuple[list[float], int]:
    """Seconds of each run, and the greatest number of SSH executions that one host saw in the last."""
    seconds, executions = [], collections.Counter()
    for number in range(runs):
        count = demo.artifacts / f"count-{pathlib.Path(playbook).stem}-{number}"
        count.unlink(missing_ok=True)
        started = time.monotonic()
        demo.playbook(playbook, *args, count_ssh=count)
        seconds.append(time.monotonic() - started)
        executions = collections.Counter(count.read_text(encoding="utf-8").split())
    return seconds, max(executions.values())


def main() -> None:
    """Measure, and write the table."""
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as folder:
        demo = Demo(pathlib.Path(folder), "bench")
        (demo.artifacts / "logs").mkdir()
        try:
            demo.playbook("playbooks/lab_up.yml")
            rows = {"`site` from bare hosts": measure(demo, "playbooks/site.yml", runs=1)}
            rows["`site` again, nothing to change"] = measure(demo, "playbooks/site.yml")
            demo.playbook("tests/bench/many_files.yml")
            rows["ten files by `copy`"] = measure(demo, "tests/bench/many_files.yml", "--tags", "tasks")
            rows["ten files by `config_tree`"] = measure(demo, "tests/bench/many_files.yml", "--tags", "tree")
            rows["floor"] = measure(demo, "tests/bench/floor.yml")
        finally:
            demo.playbook("playbooks/lab_down.yml")
    floor = statistics.median(rows["floor"][0])
    lines = [[name, spread(seconds), str(executions), f"{statistics.median(seconds) / floor:.1f}"] for name, (seconds, executions) in rows.items()]
    shown = table([f"run on {HOSTS} hosts", "seconds", "SSH executions per host", "against the floor"], lines)
    section = TEMPLATE.format(machine=machine(), hosts=HOSTS, runs=RUNS, table=shown)
    write_section("the whole stack", section)
    print(section)


if __name__ == "__main__":
    main()
