# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failovers on loopback, ten of each unless FAILOVER_RUNS says otherwise: acknowledged writes that are lost, and how long clients wait, against the targets."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from drill import SEED

TESTS = pathlib.Path(__file__).resolve().parents[1]
RUNS = os.environ.get("FAILOVER_RUNS", "10")
RUN_SECONDS = 1200
"""One run of each scenario takes five to seven minutes on two cores."""


@pytest.mark.parametrize("subject", ["redis", "postgres"])
def test_failovers(tmp_path: pathlib.Path, subject: str) -> None:
    argv = [sys.executable, "-m", f"drills.{subject}", "--loopback", "--gate", "--runs", RUNS, "--seed", str(SEED), "--artifacts", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=int(RUNS) * RUN_SECONDS, check=False)
    assert done.returncode == 0, done.stdout
