# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two failovers of PostgreSQL of each kind under two writers: no acknowledged row is lost, and never two servers take rows."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
DRILLS_SECONDS = 1800
"""Two runs of each scenario take about ten minutes, nearly all of it waiting."""

pytestmark = pytest.mark.long


def test_failovers(tmp_path: pathlib.Path) -> None:
    # Gaps may be three times as long as in the targets: other tests run beside this one. They are measured by `make bench-postgres-failover`.
    argv = [sys.executable, "-m", "drills.postgres", "--loopback", "--gate", "--slack", "3", "--runs", "2", "--artifacts", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=DRILLS_SECONDS, check=False)
    assert done.returncode == 0, done.stdout
