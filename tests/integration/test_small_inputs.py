# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people write in other forms than the specification says: several names in one text, dictionaries with further keys."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t

import playbooks
import pytest
from conftest import Runner

INVENTORY = """
all:
  children:
    app: {hosts: {app1: {}, app2: {}, app3: {}}}
    lb: {hosts: {lb1: {}}}
"""


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ([], {"app1", "app2", "app3"}),
        (["-e", '{"app_release_without": ["app3"]}'], {"app1", "app2"}),
        (["-e", "app_release_without=app3,lb1"], {"app1", "app2"}),
        (["-e", "app_release_without=app3:lb1"], {"app1", "app2"}),
        (["-e", '{"app_release_without": ["app3, app2", "lb1"]}'], {"app1"}),
    ],
)
def test_names_to_leave_out_never_add_a_host(tmp_path: pathlib.Path, given: list[str], left: set[str]) -> None:
    """Of a rollback."""
    (tmp_path / "hosts.yml").write_text(INVENTORY)
    done = playbooks.run("rollback", "--list-hosts", *given, inventory=tmp_path / "hosts.yml")
    assert done.returncode == 0, done.stderr
    first = done.stdout.partition("PREFLIGHT")[2].partition("play #2")[0]
    assert {line.strip() for line in first.splitlines() if line.strip().startswith(("app", "lb"))} == left, done.stdout


def test_members_of_redis_may_have_further_keys(run_module: Runner) -> None:
    """Those of the role redis_sentinel reach the role backup without what it does not know."""
    members: list[dict[str, t.Any]] = [{"name": "data1", "address": "10.0.0.1", "priority": 50}, {"name": "data2", "address": "10.0.0.2"}]
    done = run_module.tasks([{
        "name": "Check", "ansible.builtin.include_role": {"name": "mainstay.ops.backup", "tasks_from": "arguments"},
        "vars": {"redis_sentinel_members": members, "backup_store": {"type": "local", "path": "/srv"}, "backup_encryption": {"type": "none"}},
    }])
    assert done.status == 0, done.output


def test_a_module_that_takes_too_long_is_ended(run_module: Runner) -> None:
    """By whoever waits for it."""
    process = subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        run_module.finish(process, timeout=0.2)
    assert process.poll() is not None
