# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the units, and start the module only where something is to be done, or to be refused."""

from __future__ import annotations

import typing as t

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import Plan, Wanted, describe, diff_of, parse_wanted, plan_units
from ansible_collections.mainstay.ops.plugins.module_utils._systemd_shell import look_script, parse_look

_LASTING = ("started", "stopped", None)
"""The states that a unit can be in already; the others always act."""
_OPTIONS = frozenset({"name", "state", "enabled", "masked"})


class ActionModule(ActionBase):
    """One short command on a host whose units are as they shall be, and the module besides on any other."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task."""
        super().run(tmp, task_vars)
        plan = self._plan()
        if plan is None or plan.steps:
            return self._execute_module(task_vars=task_vars)
        return {"changed": False, "actions": [], "units": [describe(outcome) for outcome in plan.outcomes], "diff": diff_of(plan)}

    def _plan(self) -> Plan | None:
        """What is to be done; None if only the module can tell, or say what is wrong."""
        try:
            wanted = _wanted(self._task.args)
            if wanted is None:
                return None
            names = [unit.name for unit in wanted]
            done = self._low_level_execute_command(look_script(names))
            return plan_units(wanted, parse_look(names, done["stdout"])) if done["rc"] == 0 else None
        except MainstayError:
            return None


def _wanted(args: t.Mapping[str, t.Any]) -> tuple[Wanted, ...] | None:
    """The option ``units``; None if something in it always acts, or is nothing that the module takes.

    Raises:
        MainstayError: a name is wrong or listed twice, or the wishes for a unit contradict each other.
    """
    entries = args.get("units")
    if set(args) != {"units"} or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    if not all({"name"} <= set(entry) <= _OPTIONS and entry.get("state") in _LASTING for entry in entries):
        return None
    try:
        answers = [{key: boolean(entry[key]) for key in ("enabled", "masked") if entry.get(key) is not None} for entry in entries]
    except TypeError:
        return None
    return parse_wanted([{**entry, **answer} for entry, answer in zip(entries, answers)])
