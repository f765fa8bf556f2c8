#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write many configuration files as one unit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_tree
version_added: "0.1.0"
short_description: Write many configuration files in one round trip, validated and rolled back as one
description:
  - Renders all templates of a role on the controller, sends them in one execution, and compares them with the host in one call.
  - What differs is staged and judged by O(validators) first, so that a bad configuration never replaces a good one.
  - Then every file is prepared beside its destination, complete with owner, group and mode, and all are renamed into place.
    If one step fails, for example because a disk is full, all files are put back.
  - The versions that were replaced are kept as a generation in a folder that only root can read.
  - Handlers are notified per file, only for files that changed, or that their O(files[].readers) have not read yet.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  name:
    description:
      - Name of the tree, a folder's name in O(state_dir). Use one name for one list of files.
    type: str
    required: true
  files:
    description:
      - The files, folders and links, in the order in which their changes are reported.
      - Folders are made outermost first, whatever the order.
    type: list
    elements: dict
    required: true
    suboptions:
      dest:
        description:
          - Absolute path on the host, without C(..) or a trailing slash. Each path may appear once.
          - Symbolic links are never followed. A link where a file is asked for is replaced by the file; a link where a folder is asked for is an error.
        type: str
        required: true
      state:
        description:
          - V(file) needs O(files[].src) or O(files[].content).
          - V(directory) is a folder.
          - V(link) is a symbolic link to O(files[].target); it replaces a file or another link.
          - V(absent) removes a file, a link, or a folder that is empty or whose whole content is listed as absent too.
        type: str
        choices: [file, directory, link, absent]
        default: file
      src:
        description:
          - Jinja template, searched for in the role's C(templates) folder as M(ansible.builtin.template) does, with the same variables.
        type: str
      content:
        description:
          - Text of the file, instead of a template.
        type: str
      vars:
        description:
          - Further variables for the template of this entry, so that one template can make several files.
        type: dict
      owner:
        description:
          - User name or number of a file or folder. The default is V(root).
        type: str
      group:
        description:
          - Group name or number of a file or folder. The default is V(root).
        type: str
      mode:
        description:
          - Quoted octal mode. The default is V("0644"), for folders V("0755").
        type: str
      target:
        description:
          - What a link points to.
        type: str
      sensitive:
        description:
          - Whether the content is a secret, which keeps it out of the diff and of the messages of validators.
        type: bool
        default: false
      notify:
        description:
          - Names or C(listen) topics of handlers to notify if this entry changed.
        type: list
        elements: str
        default: []
      readers:
        description:
          - Units that read this file only when they start or are reloaded. If one of them runs since before the file was written, O(files[].notify) is notified
            although the file is as it shall be. So a run that was ended between writing and its handlers is made up for by the next one.
          - Files only.
        type: list
        elements: str
        default: []
  validators:
    description:
      - Programs that must succeed before anything is swapped in, run in order on a staged copy of the whole tree.
      - In check mode they run too, unless a program is not installed yet.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description:
          - The program and its arguments. C({stage}) stands for the folder that holds all files of the tree under their full paths.
        type: list
        elements: str
        required: true
      name:
        description:
          - What it is called in messages and in RV(actions), instead of its command.
        type: str
      when_changed:
        description:
          - Run only if a path that matches one of these patterns changes. C(*) matches slashes too. The default is any change.
        type: list
        elements: str
  parents:
    description:
      - Create folders above the files that are neither there nor listed, owned by the user who runs the module, with mode V("0755").
      - Otherwise a missing folder is an error; in check mode it is taken for something that an earlier task will have made.
    type: bool
    default: false
  keep_generations:
    description:
      - How many sets of replaced files are kept.
    type: int
    default: 5
  state_dir:
    description:
      - Folder on the host that holds the generations of all trees.
    type: path
    default: /var/lib/mainstay/config_tree
  payload:
    description:
      - The rendered contents. The action plugin fills this in; a task that sets it is refused.
    type: str
"""

EXAMPLES = r"""
- name: Configure | Write the configuration of nginx
  mainstay.ops.config_tree:
    name: nginx
    files:
      - {src: nginx.conf.j2, dest: /etc/nginx/nginx.conf, notify: [nginx_tls_reload]}
      - {content: "{{ nginx_tls_key }}", dest: /etc/nginx/tls/site.key, mode: "0600", sensitive: true, notify: [nginx_tls_reload]}
      - {dest: /etc/nginx/tls, state: directory, mode: "0750"}
      - {dest: /etc/nginx/sites-enabled/default, state: absent, notify: [nginx_tls_reload]}
    validators:
      - argv: [nginx, -t, -c, "{stage}/etc/nginx/nginx.conf"]
        when_changed: ["/etc/nginx/*"]

- name: Configure | Write one unit per slot from one template
  mainstay.ops.config_tree:
    name: app_host
    files:
      - {src: app.env.j2, dest: /etc/app/blue.env, mode: "0640", group: app, sensitive: true, vars: {slot: blue}}
      - {src: app.env.j2, dest: /etc/app/green.env, mode: "0640", group: app, sensitive: true, vars: {slot: green}}
    parents: true
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["validate with nginx -t -c '{stage}/etc/nginx/nginx.conf'", update file /etc/nginx/nginx.conf]
changed_files:
  description: The paths that changed, in the order of O(files).
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/nginx.conf]
files:
  description: What became of each entry.
  returned: success
  type: list
  elements: dict
  contains:
    dest:
      description: The path.
      type: str
    change:
      description: V(mode) stands for another owner, group or mode with the same content.
      type: str
      choices: [created, modified, mode, removed, unchanged]
  sample: [{dest: /etc/nginx/nginx.conf, change: modified}]
notify:
  description: The topics of the entries that changed or are not in force yet, each once.
  returned: success
  type: list
  elements: str
  sample: [nginx_tls_reload]
validators:
  description: The validators that a change concerned.
  returned: success
  type: list
  elements: dict
  contains:
    argv:
      description: The program and its arguments, as given.
      type: list
      elements: str
    result:
      description: V(not_installed) happens in check mode only.
      type: str
      choices: [passed, not_installed]
generation:
  description: Number of the generation that holds what was replaced; without a change the newest one, 0 if there is none.
  returned: success
  type: int
  sample: 3
diff:
  description: Before and after for each path that differs; contents of sensitive files are left out.
  returned: success
  type: list
  elements: dict
  sample: [{before_header: /etc/app.conf, after_header: /etc/app.conf, before: "a\n", after: "b\n"}]
"""

import dataclasses
import posixpath
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.apply import Store, carry_out
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.plan import plan_tree
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import check_name, parse_validators, unpack
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.state import read_host
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host.facts import outdated


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    entry: dict[str, t.Any] = {
        "dest": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["file", "directory", "link", "absent"], "default": "file"},
        "src": {"type": "str"},
        "content": {"type": "str", "no_log": True},
        "vars": {"type": "dict"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "target": {"type": "str"},
        "sensitive": {"type": "bool", "default": False},
        "notify": {"type": "list", "elements": "str", "default": []},
        "readers": {"type": "list", "elements": "str", "default": []},
    }
    validator: dict[str, t.Any] = {
        "argv": {"type": "list", "elements": "str", "required": True},
        "name": {"type": "str"},
        "when_changed": {"type": "list", "elements": "str"},
    }
    return {
        "name": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "dict", "required": True, "options": entry},
        "validators": {"type": "list", "elements": "dict", "default": [], "options": validator},
        "parents": {"type": "bool", "default": False},
        "keep_generations": {"type": "int", "default": 5},
        "state_dir": {"type": "path", "default": "/var/lib/mainstay/config_tree"},
        "payload": {"type": "str", "no_log": True},
    }


def ensure_tree(module: AnsibleModule) -> dict[str, t.Any]:
    """Bring the host's files to what the module's parameters ask for, and say what that took."""
    params = module.params
    store = Store(posixpath.join(params["state_dir"], check_name(params["name"])))
    entries = unpack(params["files"], params["payload"])
    plan = plan_tree(entries, parse_validators(params["validators"]), read_host(entries), params["parents"])
    plan = dataclasses.replace(plan, late=frozenset(outdated(module.run_command, plan.readers)))
    verdicts, generation = carry_out(plan, store, module.run_command, module.check_mode, params["keep_generations"])
    return {
        "changed": plan.changed,
        "actions": plan.actions,
        "changed_files": plan.changed_files,
        "files": [{"dest": change.entry.dest, "change": change.change} for change in plan.changes],
        "notify": plan.notify,
        "validators": [{"argv": list(verdict.validator.argv), "result": verdict.result} for verdict in verdicts],
        "generation": generation,
        "diff": plan.diff,
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = ensure_tree(module)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
