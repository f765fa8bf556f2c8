#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say where a balancer sends the requests of its upstreams, and whether nginx runs with the configuration that it has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_info
version_added: "1.0.0"
short_description: Say where a balancer sends the requests, and whether nginx runs with the configuration that it has
description:
  - Reads what the role C(nginx_tls) keeps on a balancer. Where nothing was set up yet, there is nothing to say, and that is no error.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
options:
  live_dir:
    description: Folder with the state of the upstreams.
    type: path
    default: /etc/nginx/live
  pid_file:
    description: File that nginx writes its process id to.
    type: path
    default: /run/nginx.pid
  tree:
    description: Name under which M(mainstay.ops.config_tree) wrote the configuration.
    type: str
    default: nginx_tls
  state_dir:
    description: Folder of that module's generations.
    type: path
    default: /var/lib/mainstay/config_tree
  folders:
    description: Folders whose files are listed.
    type: list
    elements: path
    default: []
seealso:
  - module: mainstay.ops.nginx_reload
  - module: mainstay.ops.nginx_drain
"""

EXAMPLES = r"""
- name: Look | Read where the requests go
  mainstay.ops.nginx_info:
    live_dir: /etc/nginx/live
  register: balancer

- name: Look | Say which servers get no requests
  ansible.builtin.debug:
    msg: "{{ balancer.upstreams | map(attribute='drained') | flatten }}"
"""

RETURN = r"""
version:
  description: Version of the program, empty if it is not installed.
  returned: success
  type: str
  sample: 1.26.3
running:
  description: Whether it runs.
  returned: success
  type: bool
pending:
  description: Whether the configuration on disk was not proven in service yet, for example because a run was killed before its reload.
  returned: success
  type: bool
upstreams:
  description: The upstreams, by name.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
    live:
      description: The slots that get the requests, empty before the first release, more than one for the moment of a switch.
      type: list
      elements: str
    canary_slot:
      description: The slot that gets a share of the requests whatever is live, empty if there is none.
      type: str
    canary_percent:
      description: That share.
      type: int
    maintenance:
      description: Whether requests are answered with the page of maintenance.
      type: bool
    maintenance_allow:
      description: The addresses that get through then.
      type: list
      elements: str
    drained:
      description: The servers that get no new requests, by their names in the inventory.
      type: list
      elements: str
  sample: [{name: ledger, live: [blue], canary_slot: green, canary_percent: 10, maintenance: false, maintenance_allow: [], drained: [app2]}]
files:
  description: The files in O(folders), as paths.
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/sites/ledger.conf]
"""

import dataclasses
import os
import posixpath
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.apply import Store
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import check_name
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.live import LIVE_DIR, read_upstreams
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.process import Master, read_version
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.reload import proved_generation


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    return {
        "live_dir": {"type": "path", "default": LIVE_DIR},
        "pid_file": {"type": "path", "default": "/run/nginx.pid"},
        "tree": {"type": "str", "default": "nginx_tls"},
        "state_dir": {"type": "path", "default": "/var/lib/mainstay/config_tree"},
        "folders": {"type": "list", "elements": "path", "default": []},
    }


def files_in(folders: t.Iterable[str]) -> list[str]:
    """The files in folders, those that begin with a dot left out; a folder that does not exist has none."""
    found = []
    for folder in folders:
        if os.path.isdir(folder):
            found += sorted(entry.path for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."))
    return found


def describe(module: AnsibleModule) -> dict[str, t.Any]:
    """Everything that is known about the balancer."""
    params = module.params
    store = Store(posixpath.join(params["state_dir"], check_name(params["tree"])))
    return {
        "version": read_version(module.run_command),
        "running": Master(params["pid_file"]).pid > 0,
        "pending": store.latest() != proved_generation(store),
        "upstreams": [dataclasses.asdict(upstream) for upstream in read_upstreams(params["live_dir"])],
        "files": files_in(params["folders"]),
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = describe(module)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
