# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module that could shut us out: it loads, and then proves over a new connection that we can still come in."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

# A packet that is dropped gives no answer; a connection attempt of SSH may take this long, and a few fit into the time of the timer.
_PAUSE = 2.0


class ProvenAction(ActionBase):
    """One call where nothing is to be done, two otherwise."""

    _requires_connection = True
    MODULE: t.ClassVar[str]
    SHUT_OUT: t.ClassVar[str]
    """What could not be done, and the next step, of which ``{seconds}`` is the time of the timer."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task.

        Raises:
            AnsibleActionFail: what was loaded lets nobody in, and the former is back.
        """
        super().run(tmp, task_vars)
        args = {name: value for name, value in self._task.args.items() if name != "phase"}
        if self._task.check_mode or args.get("state", "present") != "present":
            return self._execute_module(module_name=self.MODULE, module_args=args, task_vars=task_vars)
        loaded = self._execute_module(module_name=self.MODULE, module_args={**args, "phase": "load"}, task_vars=task_vars)
        if loaded.get("failed") or not loaded.get("changed"):
            return loaded
        confirmed = self._confirm(args, int(args.get("rollback_after", 30)), task_vars)
        if confirmed.get("failed"):
            return confirmed
        return {**loaded, "actions": loaded["actions"] + confirmed["actions"]}

    def _confirm(self, args: dict[str, t.Any], seconds: int, task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """Come in anew until the timer has brought the former back."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._connection.reset()
                return self._execute_module(module_name=self.MODULE, module_args={**args, "phase": "confirm"}, task_vars=task_vars)
            except AnsibleConnectionFailure as error:
                if time.monotonic() > deadline:
                    raise AnsibleActionFail(f"{self.SHUT_OUT.format(seconds=seconds)} ({error})") from None
                time.sleep(_PAUSE)
