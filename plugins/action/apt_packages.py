# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of apt_packages: ask dpkg what is missing, and apt only where something is."""

from __future__ import annotations

import shlex
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.mainstay.ops.plugins.module_utils._host.facts import missing_packages

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "list", "elements": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "latest"], "default": "present"},
    "cache_valid_time": {"type": "int", "default": 86400},
    "install_recommends": {"type": "bool", "default": False},
    "lock_timeout": {"type": "int", "default": 120},
    "policy_rc_d": {"type": "int"},
}


class ActionModule(ActionBase):
    """One short command on a host that has the packages, and the module of apt besides on any other."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task."""
        super().run(tmp, task_vars)
        args = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        names = args["name"]
        # dpkg knows no name with a version or a pattern, so that such a one is left to apt.
        ask_dpkg = args["state"] == "present" and args["cache_valid_time"] > 0
        wanted = missing_packages(self._on_host, names) if ask_dpkg else names
        if not wanted:
            return {"changed": False, "actions": []}
        apt_args = {**{key: value for key, value in args.items() if value is not None}, "update_cache": True}
        result = self._execute_module(module_name="ansible.builtin.apt", module_args=apt_args, task_vars=task_vars)
        verb = "install" if args["state"] == "present" else "have the newest version of"
        return {**result, "actions": [f"{verb} {name}" for name in wanted] if result.get("changed") else []}

    def _on_host(self, argv: t.Sequence[str]) -> tuple[int, str, str]:
        """Run a program on the host, without starting Python there."""
        done = self._low_level_execute_command(shlex.join(argv))
        return done["rc"], done["stdout"], done["stderr"]
