#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the configuration of nginx that is on disk into service, or go back to the former one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_reload
version_added: "1.0.0"
short_description: Put the configuration of nginx that is on disk into service, or go back to the former one
description:
  - Reloads nginx if M(mainstay.ops.config_tree) changed its configuration since it was last seen in service, whatever became of the run that changed it.
  - The reload counts only once all workers are new ones and every site answers with its certificate. nginx itself says nothing when it gives a
    configuration up at a reload, for example because a port is taken, and goes on with the old one.
  - If that fails, the files that were replaced come back, nginx is reloaded with them, and the task fails with the reason.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  tree:
    description: Name under which M(mainstay.ops.config_tree) wrote the configuration.
    type: str
    default: nginx_tls
  state_dir:
    description: Folder of that module's generations.
    type: path
    default: /var/lib/mainstay/config_tree
  config:
    description: The configuration file.
    type: path
    default: /etc/nginx/nginx.conf
  pid_file:
    description: File that nginx writes its process id to.
    type: path
    default: /run/nginx.pid
  error_log:
    description: Log in which nginx says why it gives a configuration up.
    type: path
    default: /var/log/nginx/error.log
  sites:
    description: What must answer on this host after the reload.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What it is called in messages.
        type: str
        required: true
      server_name:
        description: The name that it is asked by.
        type: str
        required: true
      address:
        description: Where it listens.
        type: str
        default: 127.0.0.1
      port:
        description: Its port for HTTPS.
        type: int
        default: 443
      certificate:
        description: File whose first certificate it must show. Unset, any certificate will do.
        type: path
        default: ""
      proxy_protocol:
        description: Whether it wants the PROXY protocol.
        type: bool
        default: false
  force:
    description: Reload in any case, for example because a certificate that is not in the tree was renewed.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the new workers, and for the sites to answer.
    type: int
    default: 15
seealso:
  - module: mainstay.ops.config_tree
  - module: mainstay.ops.nginx_info
"""

EXAMPLES = r"""
- name: Service | Put the configuration into service
  mainstay.ops.nginx_reload:
    sites:
      - name: shop
        server_name: shop.example.com
        certificate: /etc/nginx/tls/shop.crt

- name: Certificates | Use the renewed certificate
  mainstay.ops.nginx_reload:
    force: true
    sites:
      - {name: shop, server_name: shop.example.com, certificate: /etc/nginx/tls/shop.crt}
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [reload nginx, see the site shop answer]
generation:
  description: The newest generation of the tree, which is now in service.
  returned: success
  type: int
  sample: 3
"""

import posixpath
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.apply import Store
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import check_name
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.process import Master
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.proof import Site
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.reload import Service, ensure_in_service


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    site: dict[str, t.Any] = {
        "name": {"type": "str", "required": True},
        "server_name": {"type": "str", "required": True},
        "address": {"type": "str", "default": "127.0.0.1"},
        "port": {"type": "int", "default": 443},
        "certificate": {"type": "path", "default": ""},
        "proxy_protocol": {"type": "bool", "default": False},
    }
    return {
        "tree": {"type": "str", "default": "nginx_tls"},
        "state_dir": {"type": "path", "default": "/var/lib/mainstay/config_tree"},
        "config": {"type": "path", "default": "/etc/nginx/nginx.conf"},
        "pid_file": {"type": "path", "default": "/run/nginx.pid"},
        "error_log": {"type": "path", "default": "/var/log/nginx/error.log"},
        "sites": {"type": "list", "elements": "dict", "default": [], "options": site},
        "force": {"type": "bool", "default": False},
        "timeout": {"type": "int", "default": 15},
    }


def put_in_service(module: AnsibleModule) -> dict[str, t.Any]:
    """Do what the module's parameters ask for, and say what that took."""
    params = module.params
    store = Store(posixpath.join(params["state_dir"], check_name(params["tree"])))
    sites = tuple(Site(**site) for site in params["sites"])
    service = Service(Master(params["pid_file"], params["error_log"]), sites, params["config"], params["timeout"], module.run_command)
    actions = ensure_in_service(service, store, params["force"], module.check_mode)
    after = "".join(f"{action}\n" for action in actions)
    return {"changed": bool(actions), "actions": actions, "generation": store.latest(), "diff": {"before": "", "after": after}}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = put_in_service(module)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
