# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module of backups and its companion that tells of them, with options that stay the same through a test."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pathlib
import secrets
import subprocess
import sys
import types
import typing as t
from unittest import mock

import pytest
from ansible.module_utils.common import warnings as module_warnings
from ansible.module_utils.testing import patch_module_args

ROOT = pathlib.Path(__file__).resolve().parents[2]
Options = dict[str, t.Any]
Result = dict[str, t.Any]


def run_inside(module: types.ModuleType, arguments: Options) -> str:
    """Run a module within this process, which spares the start of one, and return what it wrote."""
    output = io.StringIO()
    # AnsibleModule keeps warnings for the life of the process, and prints them where a test has loaded a part of the controller.
    kept = mock.patch.dict(module_warnings._global_warnings, clear=True)
    on_host = mock.patch.object(module_warnings._internal, "is_controller", False)
    with patch_module_args(arguments), kept, on_host, contextlib.redirect_stdout(output), pytest.raises(SystemExit):
        module.main()
    return output.getvalue()


@dataclasses.dataclass
class ModuleJob:
    """The modules' options for one catalogue in a local store, and ways to run them.

    Attributes:
        module: what makes backups; named by the class.
        info_module: what tells of them; named by the class.
        secret: a word that no result may hold; named by the class.
        patience: seconds that a process may take; named by the class.
    """

    folder: pathlib.Path
    options: Options

    module: t.ClassVar[types.ModuleType]
    info_module: t.ClassVar[types.ModuleType]
    secret: t.ClassVar[str]
    patience: t.ClassVar[int]

    def __call__(self, check: bool = False, **options: t.Any) -> Result:
        """Run the module and return its result."""
        return self._run(self.module, {**self.options, **options, "_ansible_check_mode": check})

    def info(self, **options: t.Any) -> Result:
        """Run its companion."""
        return self._run(self.info_module, {**{name: self.options[name] for name in ("name", "store")}, **options})

    def _run(self, module: types.ModuleType, arguments: Options) -> Result:
        return self._result(run_inside(module, arguments))

    def start(self, *prefix: str, **options: t.Any) -> subprocess.Popen[str]:
        """Start the module as a process of its own; its arguments are in a private file."""
        path = self.folder / f"arguments-{secrets.token_hex(4)}.json"
        path.touch(0o600)
        path.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**self.options, **options}}))
        name = self.module.__name__.rpartition(".")[2]
        argv = [*prefix, sys.executable, str(ROOT / f"plugins/modules/{name}.py"), str(path)]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self, process: subprocess.Popen[str]) -> Result:
        """Wait for a module; return its result. Nothing else may have been written."""
        output, errors = process.communicate(timeout=self.patience)
        assert errors == ""
        return self._result(output)

    def _result(self, output: str) -> Result:
        assert self.secret not in output
        result = json.loads(output)
        result["warnings"] = [warning["event"]["msg"] for warning in result.get("warnings", [])]
        return {"failed": False, **result}

    @property
    def store(self) -> pathlib.Path:
        """The local store's folder."""
        return pathlib.Path(self.options["store"]["path"])

    @property
    def files(self) -> list[pathlib.Path]:
        """Everything in the store."""
        return [path for path in self.store.rglob("*") if path.is_file()] if self.store.exists() else []


def failed(result: Result, *words: str) -> None:
    """The result is a failure whose sentence has the words."""
    assert result["failed"], result
    assert result["msg"].startswith("could not "), result["msg"]
    for word in words:
        assert word in result["msg"], result["msg"]
