# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of ops_runtime: ask the host whether it needs something, and transfer the collection and ansible-core only then."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import bundle

MODULE = "mainstay.ops.ops_runtime"
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


class ActionModule(ActionBase):
    """One call on a host that has the runtime, two on any other."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task.

        Raises:
            AnsibleActionFail: the collection or the wheel cannot be read.
        """
        super().run(tmp, task_vars)
        args = {name: value for name, value in self._task.args.items() if not name.startswith("_")}
        try:
            args["collection_sha256"] = bundle.digest(ROOT)
            planned = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
            if planned.get("failed") or not planned.get("missing") or self._task.check_mode:
                return planned
            return self._install(args, task_vars)
        except MainstayError as exc:
            raise AnsibleActionFail(str(exc)) from None

    def _install(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """Transfer both files and let the module install them."""
        name = f"ansible_core-{args['ansible_core']}-py3-none-any.whl"
        wheel = os.path.abspath(os.path.expanduser(str(args.get("wheel") or "")))
        if not os.path.isfile(wheel):
            raise AnsibleActionFail(f"the host needs ansible-core, but there is no wheel {wheel} on the controller; fetch {name} and name it as wheel")
        folder = self._make_tmp_path()
        try:
            with tempfile.NamedTemporaryFile(dir=constants.DEFAULT_LOCAL_TMP) as stream:
                stream.write(bundle.build(ROOT))
                stream.flush()
                sent = [self._transfer_file(stream.name, self._connection._shell.join_path(folder, "collection.zip"))]
            sent.append(self._transfer_file(wheel, self._connection._shell.join_path(folder, name)))
            self._fixup_perms2((folder, *sent))
            return self._execute_module(module_name=MODULE, module_args={**args, "uploaded": folder}, task_vars=task_vars)
        finally:
            self._remove_tmp_path(folder)
