# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases under load on hosts of the lab, once of each kind unless DEPLOY_RUNS says otherwise: what users saw of them, against the targets."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from drill import SEED

TESTS = pathlib.Path(__file__).resolve().parents[1]
RUNS = os.environ.get("DEPLOY_RUNS", "1")
RISE_SECONDS, RUN_SECONDS = 1200, 3600
"""Making the hosts, with an image of the system the first time, and one run of each scenario on two busy cores."""


def test_releases(tmp_path: pathlib.Path) -> None:
    # Times may be three times as long as in the targets: they are measured by `make bench-deploy`, with nothing else on the machine.
    argv = [sys.executable, "-m", "drills.deploy", "--gate", "--slack", "3", "--runs", RUNS, "--seed", str(SEED), "--artifacts", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    seconds = RISE_SECONDS + int(RUNS) * RUN_SECONDS
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout
