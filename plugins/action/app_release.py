# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of app_release: hash the archive, ask the host whether it needs it, transfer it only then; say whether a run that holds the lock is gone."""

from __future__ import annotations

import multiprocessing
import os
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.archive import file_sha256
from ansible_collections.mainstay.ops.plugins.module_utils._release.controller import ALIVE, GONE, fate, identity, see_off

MODULE = "mainstay.ops.app_release"


class ActionModule(ActionBase):
    """Two calls on a host that lacks the release, one on any other."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task.

        Raises:
            AnsibleActionFail: the archive cannot be read, or is not the one that ``sha256`` names.
        """
        super().run(tmp, task_vars)
        args = {name: value for name, value in self._task.args.items() if not name.startswith("_")}
        if args.get("state") == "locked":
            return self._lock(args, task_vars)
        if args.get("state", "present") != "present" or not args.get("archive"):
            return self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
        archive = os.path.abspath(os.path.expanduser(str(args["archive"])))
        args["sha256"] = self._hash(archive, str(args.get("sha256") or ""))
        planned = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
        if planned.get("failed") or not planned.get("changed") or self._task.check_mode:
            return planned
        folder = self._make_tmp_path()
        try:
            uploaded = self._transfer_file(archive, self._connection._shell.join_path(folder, "archive"))
            self._fixup_perms2((folder, uploaded))
            return self._execute_module(module_name=MODULE, module_args={**args, "uploaded": uploaded}, task_vars=task_vars)
        finally:
            self._remove_tmp_path(folder)

    def _lock(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """Take the lock; where a run of this machine that is gone has it, see its workers off and take it over.

        The module gives up before any other run. Whether that one lives is asked here, and then the module again, with the owner that was judged: if another
        run was faster, it gives up before that one too.
        """
        parent = multiprocessing.parent_process()
        args["controller"] = here = identity(parent.pid if parent is not None and parent.pid is not None else os.getpid())
        result = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
        holder = (result.get("lock") or {}) if result.get("failed") and not args.get("renew") else {}
        if not holder:
            return result
        found = fate(holder.get("controller") or {}, here)
        if found == ALIVE:
            result["msg"] += f"; its process {holder['controller']['pid']} runs on this machine"
            return result
        try:
            if found == GONE and not self._task.check_mode:
                see_off(holder["controller"], here)
        except MainstayError as exc:
            raise AnsibleActionFail(str(exc)) from None
        return self._execute_module(module_name=MODULE, module_args={**args, found: holder["owner"]}, task_vars=task_vars)

    def _hash(self, archive: str, wanted: str) -> str:
        """The archive's hash."""
        try:
            found = file_sha256(archive)
        except MainstayError as exc:
            raise AnsibleActionFail(str(exc)) from None
        if wanted and wanted.lower() != found:
            raise AnsibleActionFail(f"the release archive {archive} has the SHA-256 {found}, not {wanted}; build it anew, or correct the hash")
        return found
