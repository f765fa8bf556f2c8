# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt_packages on this machine, which is of Debian, with a Python that cannot be started: only what needs apt needs Python. Molecule installs packages."""

from __future__ import annotations

import typing as t

import pytest
from conftest import Runner
from servers import Run


def ask(run_module: Runner, **args: t.Any) -> Run:
    """Run the module in check mode."""
    task = {"name": "Install", "mainstay.ops.apt_packages": args, "check_mode": True, "vars": {"ansible_python_interpreter": "/nonexistent/python3"}}
    return run_module.tasks([task])


def test_what_is_there_needs_no_apt(run_module: Runner) -> None:
    """And changes nothing."""
    done = ask(run_module, name=["bash", "dpkg"])
    assert done.status == 0, done.output
    assert not done.result["changed"]
    assert done.result["actions"] == []


@pytest.mark.parametrize(
    "args",
    [
        {"name": ["bash", "no-such-package"]},
        {"name": ["bash=5.*"]},
        {"name": ["bas*"]},
        {"name": ["bash"], "state": "latest"},
        {"name": ["bash"], "cache_valid_time": 0},
    ],
)
def test_what_dpkg_cannot_tell_is_left_to_apt(run_module: Runner, args: dict[str, t.Any]) -> None:
    """One that is missing, has a version or a pattern, may have a newer version, or whose lists are to be fetched."""
    done = ask(run_module, **args)
    assert done.status != 0
    assert "/nonexistent/python3" in done.output


def test_an_argument_that_is_wrong_is_refused(run_module: Runner) -> None:
    """Before anything is asked of the host."""
    done = ask(run_module, name=["bash"], state="newest")
    assert done.status != 0
    assert "state must be one of: present, latest" in done.output
