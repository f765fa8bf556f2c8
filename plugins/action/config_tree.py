# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller side of config_tree: check, render, send everything in one module execution, notify the handlers of what changed."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible import template as ansible_template
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes, to_text
from ansible.plugins.action import ActionBase

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry, Request, pack, parse_files, parse_validators
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

MODULE = "mainstay.ops.config_tree"
OPTIONS = frozenset({"name", "files", "validators", "parents", "keep_generations", "state_dir"})
_OVERRIDES = {"trim_blocks": True, "lstrip_blocks": False, "newline_sequence": "\n"}


def _trusted(text: str) -> str:
    """Mark a template from the role's own files as one (from ansible-core 2.19 on only marked strings are rendered)."""
    trust = getattr(ansible_template, "trust_as_template", None)
    return text if trust is None else trust(text)


class ActionModule(ActionBase):
    """Render on the controller, act on the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the task.

        Raises:
            AnsibleActionFail: an argument is wrong or a template cannot be rendered; nothing was sent to the host then.
        """
        super().run(tmp, task_vars)
        variables = task_vars or {}
        result = self._execute_module(module_name=MODULE, module_args=self._module_args(variables), task_vars=variables)
        if result.get("changed") and not result.get("failed"):
            self._notify(result.get("notify") or [])
        return result

    def _module_args(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """The module's arguments with every content rendered."""
        args = dict(self._task.args)
        unknown = sorted(set(args) - OPTIONS)
        if unknown:
            raise AnsibleActionFail(f"unknown option {', '.join(unknown)} of {MODULE}; the options are {', '.join(sorted(OPTIONS))}")
        missing = sorted({"name", "files"} - set(args))
        if missing:
            raise AnsibleActionFail(f"{MODULE} needs the option {' and '.join(missing)}")
        try:
            requests = parse_files(args["files"])
            parse_validators(args.get("validators"))
        except InvalidInput as exc:
            raise AnsibleActionFail(str(exc)) from None
        files, payload = pack([self._rendered(request, task_vars) for request in requests])
        return {**args, "files": files, "payload": payload}

    def _rendered(self, request: Request, task_vars: dict[str, t.Any]) -> Entry:
        """The entry with its content."""
        if request.src is None:
            return dataclasses.replace(request.entry, content=to_bytes(request.text or "", errors="surrogate_or_strict"))
        try:
            text = self._render(request.src, request.entry.dest, {**task_vars, **request.variables})
        except (AnsibleError, OSError, UnicodeError) as exc:
            raise AnsibleActionFail(f"could not render the template {request.src} for {request.entry.dest}") from exc
        return dataclasses.replace(request.entry, content=to_bytes(text, errors="surrogate_or_strict"))

    def _render(self, src: str, dest: str, variables: dict[str, t.Any]) -> str:
        """Render one template as ansible.builtin.template does: same search path, same variables, same Jinja settings."""
        source = self._find_needle("templates", src)
        folders = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
        search = [path for folder in folders for path in (os.path.join(folder, "templates"), folder)]
        named = ansible_template.generate_ansible_template_vars(src, source, dest)
        if "ansible_managed" in variables:
            named.pop("ansible_managed", None)
        text = _trusted(self._read(source))
        templar = self._templar.copy_with_new_env(searchpath=search, available_variables={**variables, **named})
        if hasattr(templar, "evaluate_expression"):
            rendered = templar.template(text, escape_backslashes=False, overrides=_OVERRIDES)
        else:  # ansible-core 2.18 would turn text that looks like data into data
            rendered = templar.template(text, escape_backslashes=False, overrides=_OVERRIDES, convert_data=False)
        return "" if rendered is None else to_text(rendered, nonstring="simplerepr")

    def _read(self, source: str) -> str:
        """A template's text, decrypted if it is vaulted, with its origin for error messages where ansible-core keeps that."""
        if hasattr(self._loader, "get_text_file_contents"):
            return self._loader.get_text_file_contents(source)
        with open(self._loader.get_real_file(source), encoding="utf-8") as stream:
            return stream.read()

    def _notify(self, topics: list[str]) -> None:
        """Add topics to the task's own: the executor reads them after the action has run, and reports them if the task changed."""
        known = list(self._task.notify or [])
        self._task.notify = known + [str(topic) for topic in topics if topic not in known]
