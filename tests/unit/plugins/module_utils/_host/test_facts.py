# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has not read its files since they were written."""

from __future__ import annotations

import os
import pathlib

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._host.facts import outdated

NOW, FUTURE = 1_700_000_000, 4_000_000_000


@pytest.mark.parametrize(
    "state, began, written, expected",
    [
        ("active", f"@{NOW}", NOW + 1, True),
        ("active", f"@{NOW}", NOW + 0.9, False),
        ("active", f"@{NOW}", NOW - 60, False),
        ("active", f"@{NOW}", FUTURE, False),
        ("active", f"@{NOW}", None, False),
        ("inactive", "", NOW, False),
        ("failed", f"@{NOW}", NOW + 1, False),
    ],
)
def test_a_unit(tmp_path: pathlib.Path, state: str, began: str, written: float | None, expected: bool) -> None:
    """Only one that runs, and that started before its file was written; seconds are not cut, and the future is no time. A reload of a service counts, too."""
    path = tmp_path / "x.conf"
    if written is not None:
        path.touch()
        os.utime(path, (written, written))
    for unit, counts, other in (("x.service", "StateChangeTimestamp", "ActiveEnterTimestamp"), ("x.timer", "ActiveEnterTimestamp", "StateChangeTimestamp")):
        shown = f"Id=y.service\nActiveState=active\n{counts}=@{NOW - 99}\n\nId={unit}\nActiveState={state}\n{other}=@{NOW - 99}\n{counts}={began}\n"
        found = outdated(lambda argv, shown=shown: (0, shown, ""), {"y.service": [], unit: [f"{tmp_path}/other", str(path)]})
        assert found == ([unit] if expected else [])


def test_a_file_that_is_made_of_others(tmp_path: pathlib.Path) -> None:
    """One that is not there is older than any."""
    made, part = tmp_path / "made", tmp_path / "part"
    part.touch()
    os.utime(part, (NOW, NOW))
    assert outdated(lambda argv: (1, "", "no systemd"), {str(made): [str(part)], "x.service": [str(part)]}) == [str(made)]
    made.touch()
    assert outdated(lambda argv: (1, "", ""), {str(made): [str(part)]}) == []
