# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run modules of a collection as Ansible does."""

from __future__ import annotations

import json
import pathlib
import sys
import time
import typing as t

from measure import Job, JobFailed, run, said


def module_job(module: str, options: dict[str, t.Any], collection: str = "mainstay.ops", **environment: str) -> Job:
    """Return the process of a module as Ansible starts it on a host: arguments on standard input."""
    arguments = {**options, "_ansible_check_mode": False, "_ansible_diff": False, "_ansible_socket": None}
    argv = (sys.executable, "-m", f"ansible_collections.{collection}.plugins.modules.{module}")
    return Job(argv, environment, json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))


def module_result(output: str) -> dict[str, t.Any]:
    """Return what a module returned.

    Raises:
        JobFailed: it failed, or changed nothing.
    """
    result = json.loads(output[output.index("{") :]) if "{" in output else {}
    if result.get("failed") or not result.get("changed"):
        raise JobFailed(f"the module changed nothing: {said(output)}")
    return result


def seconds_of(job: Job) -> float:
    """Run a job and return how long it took."""
    begun = time.monotonic()
    run(job)
    return time.monotonic() - begun


def playbook_job(path: pathlib.Path, task: dict[str, t.Any]) -> Job:
    """Return a run of ansible-playbook with one task on this host; the options lie in the private file ``path``."""
    play = {
        "name": "Measure",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [{"name": "Do nothing", **task}],
    }
    path.touch(0o600)
    path.write_text(json.dumps([play]), encoding="utf-8")
    return Job((str(pathlib.Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(path)))
