# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``health_probe`` against hundreds of endpoints, of which every tenth hangs: it tells them apart in time, and in little memory."""

from __future__ import annotations

import pathlib
import random
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))

from probe.measured import Endpoints, checks, endpoints, run_module  # noqa: E402  pylint: disable=wrong-import-position

COUNT, HANGING = 300, 30
#: Seconds for the start and the end of the module's process on a busy machine.
BUSY = 15.0
MEMORY = 150 << 20

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def many() -> t.Iterator[Endpoints]:
    """Endpoints on loopback."""
    with endpoints(COUNT, HANGING) as found:
        yield found


def urls(many: Endpoints) -> list[str]:
    """All URLs in a random order that is the same each time."""
    return random.Random(7).sample(many.urls(), COUNT)


def test_all_that_answer_are_told_from_all_that_hang(many: Endpoints) -> None:
    run = run_module({"checks": checks(urls(many), timeout=1.0), "deadline": 6})
    assert run.result["counts"] == {"healthy": COUNT - HANGING, "degraded": 0, "inconclusive": 0, "unhealthy": HANGING, "total": COUNT}
    silent = {f"http http://127.0.0.1:{port}/" for port in many.hanging}
    assert {found["name"] for found in run.result["checks"] if found["status"] == "unhealthy"} == silent
    assert all("no answer from" in found["detail"] for found in run.result["checks"] if found["name"] in silent)
    # One after the other, those that hang alone would take half a minute, and the others were not asked by the deadline.
    assert run.result["seconds"] <= 6.5 and run.seconds < 6 + BUSY and run.peak_bytes < MEMORY


def test_the_deadline_holds_although_none_of_the_hanging_times_out(many: Endpoints) -> None:
    run = run_module({"checks": checks(urls(many), timeout=600.0), "deadline": 5, "min_healthy": COUNT - HANGING, "fail_on": "unhealthy"})
    assert not run.result.get("failed") and run.result["status"] == "degraded"
    assert run.result["counts"]["healthy"] == COUNT - HANGING
    assert 4.5 < run.result["seconds"] < 5.5 and run.seconds < 5 + BUSY and run.peak_bytes < MEMORY
