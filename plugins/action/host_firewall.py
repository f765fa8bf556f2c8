# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of host_firewall: load the rules, then prove over a new connection that they let us in."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

MODULE = "mainstay.ops.host_firewall"
# A packet that is dropped gives no answer; a connection attempt of SSH may take this long, and a few fit into the time of the timer.
_PAUSE = 2.0


class ActionModule(ActionBase):
    """One call where nothing is to be done, two otherwise."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task.

        Raises:
            AnsibleActionFail: the new rules let nobody in, and the former ones are back.
        """
        super().run(tmp, task_vars)
        args = {name: value for name, value in self._task.args.items() if name != "phase"}
        if self._task.check_mode or args.get("state", "present") != "present":
            return self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
        loaded = self._execute_module(module_name=MODULE, module_args={**args, "phase": "load"}, task_vars=task_vars)
        if loaded.get("failed") or not loaded.get("changed"):
            return loaded
        confirmed = self._confirm(args, int(args.get("rollback_after", 30)), task_vars)
        if confirmed.get("failed"):
            return confirmed
        return {**loaded, "actions": loaded["actions"] + confirmed["actions"]}

    def _confirm(self, args: dict[str, t.Any], seconds: int, task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """Come in anew until the timer has brought the former rules back."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._connection.reset()
                return self._execute_module(module_name=MODULE, module_args={**args, "phase": "confirm"}, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                if time.monotonic() > deadline:
                    raise AnsibleActionFail(
                        f"could not load the rules of the firewall: no new connection got through in time, and the host has brought the former rules back "
                        f"after {seconds} s; let the controller in by base_firewall_ssh_from ({error})"
                    ) from None
                time.sleep(_PAUSE)
