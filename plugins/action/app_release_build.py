# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of app_release_build: hash the files, ask the host whether it needs them, transfer them only then."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.source import image_digest, pack_wheels, read_file, read_wheels

MODULE = "mainstay.ops.app_release_build"


class ActionModule(ActionBase):
    """Two calls on a host that lacks the release, one on any other."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task.

        Raises:
            AnsibleActionFail: the files cannot be read.
        """
        super().run(tmp, task_vars)
        args = {name: value for name, value in self._task.args.items() if not name.startswith("_")}
        try:
            path = self._local(args)
            if path:
                args["content"] = (read_wheels if args["type"] == "wheel" else read_file)(path).content
        except MainstayError as exc:
            raise AnsibleActionFail(str(exc)) from None
        planned = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars)
        if not path or planned.get("failed") or not planned.get("changed") or self._task.check_mode:
            return planned
        return self._with_files(args, path, task_vars)

    def _local(self, args: dict[str, t.Any]) -> str:
        """The path of what lies on the controller, empty if the host gets the release from elsewhere."""
        source = str(args.get("source") or "")
        if not source or args.get("type") not in ("wheel", "image") or (args["type"] == "image" and image_digest(source)):
            return ""
        return os.path.abspath(os.path.expanduser(source))

    def _with_files(self, args: dict[str, t.Any], path: str, task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        """Transfer the files and run the module with them."""
        folder = self._make_tmp_path()
        try:
            with tempfile.TemporaryDirectory(prefix="mainstay-wheels-") as packed:
                if args["type"] == "wheel":
                    archive = os.path.join(packed, "wheels.tar")
                    pack_wheels(path, archive)
                    path = archive
                uploaded = self._transfer_file(path, self._connection._shell.join_path(folder, "files"))
            self._fixup_perms2((folder, uploaded))
            return self._execute_module(module_name=MODULE, module_args={**args, "uploaded": uploaded}, task_vars=task_vars)
        finally:
            self._remove_tmp_path(folder)
