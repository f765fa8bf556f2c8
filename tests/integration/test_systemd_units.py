# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd_units with a Python that cannot be started: only what has something to do, or to refuse, needs it. Molecule has hosts with systemd."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from conftest import Runner
from servers import Run

SHOWN = """Id=there.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/usr/lib/systemd/system/there.service
UnitFileState=enabled
NeedDaemonReload={reload}
Type=simple
"""


@pytest.fixture
def ask(run_module: Runner, tmp_path: pathlib.Path) -> t.Callable[..., Run]:
    """Run the task on a host whose systemctl knows one unit."""

    def run(units: t.Any, check: bool = False, reload: str = "no") -> Run:
        (tmp_path / "systemctl").write_text(f"#!/bin/sh\ncat <<'END'\n{SHOWN.format(reload=reload)}END\n")
        (tmp_path / "systemctl").chmod(0o755)
        variables = {"ansible_python_interpreter": "/nonexistent/python3"}
        task = {"name": "Run", "mainstay.ops.systemd_units": {"units": units}, "check_mode": check, "vars": variables}
        return run_module.tasks([task], PATH=f"{tmp_path}:{os.environ['PATH']}")

    return run


@pytest.mark.parametrize("check", [False, True])
def test_what_is_as_it_shall_be_needs_no_module(ask: t.Callable[..., Run], check: bool) -> None:
    """And the result is the module's."""
    done = ask([{"name": "there", "state": "started", "enabled": True, "masked": False}], check)
    assert done.status == 0, done.output
    found = {key: done.result[key] for key in ("changed", "actions", "units", "diff")}
    unit = {"name": "there.service", "active": True, "enabled": True, "masked": False, "changed": False}
    assert found == {"changed": False, "actions": [], "units": [unit], "diff": []}


@pytest.mark.parametrize(
    ("units", "reload"),
    [
        ([{"name": "there", "state": "stopped"}], "no"),
        ([{"name": "there", "enabled": False}], "no"),
        ([{"name": "there", "masked": True}], "no"),
        ([{"name": "there", "state": "restarted"}], "no"),
        ([{"name": "there", "state": "started"}], "yes"),
        ([{"name": "there", "state": "begun"}], "no"),
        ([{"name": "there", "enabled": "perhaps"}], "no"),
        ([{"name": "the re"}], "no"),
        ([{"name": "there"}, {"name": "other"}], "no"),
        ([{"name": "there", "start": True}], "no"),
        ("there", "no"),
    ],
)
def test_everything_else_is_the_modules(ask: t.Callable[..., Run], units: t.Any, reload: str) -> None:
    """What is to be done, what always acts, and what it refuses."""
    done = ask(units, reload=reload)
    assert done.status != 0
    assert "/nonexistent/python3" in done.output
