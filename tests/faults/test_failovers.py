# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failovers of Redis on loopback, each once: acknowledged writes that are lost, and how long clients wait, against the targets."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from drill import SEED

TESTS = pathlib.Path(__file__).resolve().parents[1]
DRILLS_SECONDS = 1800
"""The drills take about seven minutes on two cores."""


def test_failovers_of_redis(tmp_path: pathlib.Path) -> None:
    argv = [sys.executable, "-m", "drills.redis", "--loopback", "--gate", "--runs", "1", "--seed", str(SEED), "--artifacts", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DRILLS_SECONDS, check=False)
    assert done.returncode == 0, done.stdout
