# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Converge sites of several sizes from bare hosts, again, and with a release, measure the controller, and write the table of docs/scale.md."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

from document import replace_section
from measure import JobFailed, adopt_orphans

from scale import peers
from scale.converge import Controller, Converged
from scale.fleet import ROOT, groups, write_inventory
from scale.report import BARE, DEPLOY, PEERS_BARE, PEERS_SAME, SAME, Findings, load, page, save

LAB = "benchscale"
PAGE = ROOT / "docs/scale.md"
FOUND = ROOT / "artifacts/bench-scale-found.json"
"""What was found, for a run that goes on with it."""
SITE, DEPLOYMENT, LAB_UP, LAB_DOWN = "playbooks/site.yml", "playbooks/deploy.yml", "playbooks/lab_up.yml", "playbooks/lab_down.yml"

# Each is a change of what ansible.cfg sets; some are the defaults of ansible-core.
VARIANTS: dict[str, dict[str, str]] = {
    "as `ansible.cfg` has them": {},
    "`forks = 5`": {"ANSIBLE_FORKS": "5"},
    "`forks = 50`": {"ANSIBLE_FORKS": "50"},
    "`gathering = implicit`": {"ANSIBLE_GATHERING": "implicit"},
    "`pipelining = false`": {"ANSIBLE_PIPELINING": "false", "ANSIBLE_SSH_PIPELINING": "false"},
    "without `ControlPersist`": {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o PreferredAuthentications=publickey"},
}


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, flush=True)


def told(size: int, name: str, run: Converged) -> Converged:
    """Say what a run cost, and return it."""
    say(f"{size:3} hosts: {name}: {run.seconds:.1f} s, {run.executions} SSH executions, {run.peak_bytes >> 20} MiB, {run.changed} changes")
    return run


def archive(folder: pathlib.Path, release: int) -> str:
    """Build a release of the sample application and return its file."""
    argv = [sys.executable, str(ROOT / "tests/fixtures/app/build.py"), "--release", str(release), "--output", str(folder)]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)["path"]


def ours(controller: Controller, size: int, rounds: int, folder: pathlib.Path) -> dict[str, list[Converged]]:
    """Measure our own runs on new hosts.

    Raises:
        SystemExit: a run that had nothing to change changed something.
    """
    runs: dict[str, list[Converged]] = {BARE: [told(size, BARE, controller.run(SITE))], SAME: [], DEPLOY: []}
    for number in range(1, rounds + 1):
        given = f"app_release_archive={archive(folder, number)}"
        runs[DEPLOY].append(told(size, DEPLOY, controller.run(DEPLOYMENT, "-e", given)))
    for dummy in range(rounds):
        runs[SAME].append(unchanged(size, SAME, controller.run(SITE)))
    return runs


def unchanged(size: int, name: str, run: Converged) -> Converged:
    """Say what a run cost that had nothing to change.

    Raises:
        SystemExit: it changed something, so it is not what is to be measured.
    """
    if told(size, name, run).changed:
        raise SystemExit(f"{name} on {size} hosts changed {run.changed} things; it would have had nothing to change")
    return run


def theirs(controller: Controller, size: int, rounds: int, roles: pathlib.Path) -> dict[str, list[Converged]]:
    """Measure the peers on new hosts."""
    playbook = str(peers.write_playbook(roles))
    runs = {PEERS_BARE: [told(size, PEERS_BARE, controller.run(playbook, **peers.SETTINGS))], PEERS_SAME: []}
    for dummy in range(rounds):
        runs[PEERS_SAME].append(told(size, PEERS_SAME, controller.run(playbook, **peers.SETTINGS)))
    return runs


def measure_size(size: int, found: Findings, variants: bool, roles: pathlib.Path | None, folder: pathlib.Path) -> None:
    """Measure all runs on one number of hosts, and remove these."""
    controller = Controller(write_inventory(size), LAB)
    try:
        controller.prepare(LAB_UP)
        found.runs[size] = ours(controller, size, found.rounds, folder)
        for name, settings in VARIANTS.items() if variants else ():
            found.variants[name] = [unchanged(size, name, controller.run(SITE, **settings)) for dummy in range(found.rounds)]
        if roles is not None:
            controller.prepare(LAB_DOWN)
            controller.prepare(LAB_UP)
            found.runs[size].update(theirs(controller, size, found.rounds, roles))
    finally:
        controller.prepare(LAB_DOWN)


def main() -> None:
    """Measure, print, and write unless told not to."""
    parser = argparse.ArgumentParser(prog="scale", description=__doc__)
    parser.add_argument("--size", type=int, action="append", help="number of hosts; may be given several times (default: 5, 10, 20 and 40)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--peers", default=peers.SOURCE, help="where the peers' repositories are, with {name} for the role's name; nothing leaves them out")
    parser.add_argument("--no-settings", action="store_true", help="leave out the runs with other settings than those of ansible.cfg")
    parser.add_argument("--continue", dest="again", action="store_true", help="keep what the run before has found, and measure the sizes that it has not")
    parser.add_argument("--print-only", action="store_true", help="leave docs/scale.md as it is")
    arguments = parser.parse_args()
    sizes = sorted(set(arguments.size or (5, 10, 20, 40)))
    for size in sizes:
        groups(size)
    # Whoever ends it has the hosts removed.
    signal.signal(signal.SIGTERM, lambda *_unused: sys.exit(143))
    adopt_orphans()
    found = load(FOUND) if arguments.again else Findings(arguments.rounds, os.getloadavg()[0])
    if found.rounds != arguments.rounds:
        raise ValueError(f"the run before had {found.rounds} rounds, so one with {arguments.rounds} cannot go on with it")
    with tempfile.TemporaryDirectory(prefix="mainstay-bench-") as name:
        folder, roles = pathlib.Path(name), None
        try:
            roles = peers.fetch(folder, arguments.peers) if arguments.peers else None
            found.missing = "" if arguments.peers else "They were left out."
        except peers.Unavailable as error:
            found.missing = f"{error}."
            say(f"without the peers: {error}")
        for size in sizes:
            if size not in found.runs:
                measure_size(size, found, not found.variants and not arguments.no_settings, roles, folder / "releases")
                save(found, FOUND)
    section = page(found)
    print(section)
    if not arguments.print_only:
        PAGE.write_text(replace_section(PAGE.read_text(encoding="utf-8"), "scale", section), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (JobFailed, ValueError) as error:
        sys.exit(f"the benchmark stopped: {error}")
