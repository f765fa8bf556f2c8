# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure many health probes at once against a loop of ``ansible.builtin.uri``, and write the table of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

from document import PAGE, machine, spread, table, write_section

from probe.measured import Endpoints, Run, checks, endpoints, run_module

ROOT = PAGE.parents[1]
TIMEOUT = 5
"""Seconds that one attempt may take, for both."""
DEADLINE = 15
"""Seconds that all attempts together may take."""
HANGING_SHARE = 0.1
MEMORY_LIMIT = 150 << 20
FASTER = 50

TEMPLATE = """
## Health probes

Made by `make bench-probe` on {machine}:
{count} HTTP endpoints, each a listener of its own on loopback, all in one process on the same machine.
One attempt at each, of at most {timeout} seconds; {rounds} rounds of `health_probe`, medians (lowest to highest); one round of the loop.
Load of the machine when it began: {load:.1f}; a busy machine makes all of them slower, and the loop most.

{table}

- *the loop*: one task `ansible.builtin.uri` with `loop`, over {sample} of the endpoints with the same share that hangs; its time without that of an empty play
  ({empty:.1f} s), for each endpoint, times {count}. An endpoint that hangs costs it the whole timeout, one that answers {per_answer:.2f} s.
- *as a task*: `ansible-playbook` from its start to its end; *the module*: its own process alone, as Ansible starts it.
- Latency as the module measures it, of those that answer, while it asks all: median {p50:.0f} ms, 99th percentile {p99:.0f} ms.
- With `deadline: {deadline}` and a timeout of a minute, those that answer are told from those that hang after {held:.2f} s;
  with its start and its end, the module's process takes {held_process:.1f} s.

{targets}
"""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of one set of endpoints."""

    tasks: list[float]
    modules: list[Run]
    loop: float


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


def play(folder: pathlib.Path, *tasks: dict[str, t.Any]) -> float:
    """Run a play of these tasks on this host, and return how long it took."""
    content = [{"name": "Measure", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": list(tasks)}]
    content[0]["vars"] = {"ansible_python_interpreter": sys.executable}
    path = folder / "play.yml"
    path.write_text(json.dumps(content), encoding="utf-8")
    argv = [str(pathlib.Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(path)]
    begun = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return seconds


def probe_options(urls: list[str], timeout: float = TIMEOUT) -> dict[str, t.Any]:
    """Return the module's options."""
    return {"checks": checks(urls, timeout), "deadline": DEADLINE}


def loop_task(urls: list[str]) -> dict[str, t.Any]:
    """Return the task that asks one URL after the other, and goes on after a failure."""
    return {"name": "Ask", "ansible.builtin.uri": {"url": "{{ item }}", "timeout": TIMEOUT}, "loop": urls, "register": "asked", "failed_when": False}


def measure(folder: pathlib.Path, found: Endpoints, rounds: int, sample: int, empty: float) -> Measured:
    """Measure both on the same endpoints, and check that the module tells right from wrong."""
    options = probe_options(found.urls())
    tasks, modules = [], []
    for number in range(rounds):
        modules.append(run_module(options))
        tasks.append(play(folder, {"name": "Probe", "mainstay.ops.health_probe": options}))
        say(f"round {number + 1}: {modules[-1].seconds:.1f} s the module, {tasks[-1]:.1f} s as a task")
        assert_right(modules[-1], found)
    loop = (play(folder, loop_task(found.urls(sample))) - empty) / sample * (len(found.answering) + len(found.hanging))
    say(f"loop: {loop:.0f} s")
    return Measured(tasks, modules, loop)


def assert_right(run: Run, found: Endpoints) -> None:
    """End the benchmark if the module did not find all that answer and all that hang."""
    counts = run.result["counts"]
    if (counts["healthy"], counts["unhealthy"]) != (len(found.answering), len(found.hanging)):
        raise SystemExit(f"the module found {counts}")


def row(name: str, measured: Measured) -> list[str]:
    """Return a row of the table."""
    ratio = measured.loop / statistics.median(measured.tasks)
    memory = max(run.peak_bytes for run in measured.modules)
    seconds = [spread(figures) for figures in (measured.tasks, [run.seconds for run in measured.modules])]
    return [name, *seconds, f"{memory / (1 << 20):.0f}", f"{measured.loop:.0f}", f"{ratio:.0f}"]


def targets(worst: Measured, held: Run) -> str:
    """Hold the figures against what was aimed at."""
    ratio = worst.loop / statistics.median(worst.tasks)
    memory = max(run.peak_bytes for run in worst.modules)
    lines = [
        (f"at least {FASTER} times faster than the loop, with endpoints that hang", f"{ratio:.0f} times", ratio >= FASTER),
        (f"less than {MEMORY_LIMIT >> 20} MiB of memory", f"{memory >> 20} MiB", memory < MEMORY_LIMIT),
        (f"done by the deadline of {DEADLINE} s", f"{held.result['seconds']:.2f} s", held.result["seconds"] <= DEADLINE),
    ]
    return table(["target", "found", ""], [[what, found, "met" if met else "**not met**"] for what, found, met in lines])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="probe", description=__doc__)
    parser.add_argument("--endpoints", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", type=int, default=40, help="how many endpoints the loop of uri asks")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    count, hanging = arguments.endpoints, round(arguments.endpoints * HANGING_SHARE)
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as name:
        folder = pathlib.Path(name)
        empty = play(folder)
        with endpoints(count, 0) as found:
            quick = measure(folder, found, arguments.rounds, arguments.loop, empty)
        with endpoints(count, hanging) as found:
            mixed = measure(folder, found, arguments.rounds, arguments.loop, empty)
            held = run_module(probe_options(found.urls(), 60))
            assert_right(held, found)
    samples = mixed.modules[-1].result["samples"]
    head = ["endpoints", "as a task, s", "the module, s", "memory MiB", "the loop, s", "times faster"]
    section = TEMPLATE.format(
        machine=machine(), load=load, count=count, timeout=TIMEOUT, rounds=arguments.rounds, sample=arguments.loop, empty=empty, deadline=DEADLINE,
        table=table(head, [row("all answer", quick), row(f"{HANGING_SHARE:.0%} hang", mixed)]), per_answer=quick.loop / count,
        p50=samples["p50"] * 1000, p99=samples["p99"] * 1000, held=held.result["seconds"], held_process=held.seconds, targets=targets(mixed, held),
    )
    write_section("health probes", section)
    print(section)


if __name__ == "__main__":
    main()
