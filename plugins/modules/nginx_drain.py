#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take one server out of an upstream of nginx, or put it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_drain
version_added: "1.0.0"
short_description: Take one server out of an upstream of nginx, or put it back
description:
  - Marks the server as down in the configuration that the role C(nginx_tls) wrote, and reloads nginx.
  - Then it waits until the requests that the server has are done, so that the server can be stopped. Requests are finished by the workers of before.
    It waits also where the server is out already, because a run that took it out may have been cut off before its requests were done.
  - A mark beside the state of the upstream keeps it so, whatever the role writes afterwards, until it is put back.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  upstream:
    description: The upstream.
    type: str
    required: true
  server:
    description: The server, by its name in the inventory.
    type: str
    required: true
  state:
    description:
      - V(drained) gets no new requests.
      - V(active) gets its part of them.
    type: str
    choices: [drained, active]
    default: drained
  last:
    description: Whether the last server that gets requests may be drained. Requests are answered with an error then.
    type: bool
    default: false
  owner:
    description:
      - Who takes the server out, a word that is kept with the mark. A server that is out already keeps the one that it has.
      - With O(state=active), only a server that this owner has taken out is put back. Without an owner, one is put back whoever has taken it out.
    type: str
    default: ""
  wait:
    description: Seconds to wait for the requests that the server has. What is left then is warned of.
    type: int
    default: 65
  timeout:
    description: Seconds to wait for the new workers.
    type: int
    default: 15
  config:
    description: The configuration file.
    type: path
    default: /etc/nginx/nginx.conf
  upstreams_dir:
    description: Folder with a file for each upstream.
    type: path
    default: /etc/nginx/upstreams
  live_dir:
    description: Folder with the state of the upstreams.
    type: path
    default: /etc/nginx/live
  pid_file:
    description: File that nginx writes its process id to.
    type: path
    default: /run/nginx.pid
  error_log:
    description: Log in which nginx says why it gives a configuration up.
    type: path
    default: /var/log/nginx/error.log
seealso:
  - module: mainstay.ops.nginx_info
"""

EXAMPLES = r"""
- name: Drain | Take a server out
  mainstay.ops.nginx_drain:
    upstream: shop
    server: app1

- name: Drain | Put it back
  mainstay.ops.nginx_drain:
    upstream: shop
    server: app1
    state: active

- name: Drain | Take a server out so that the next run of the same procedure knows that it was its own
  mainstay.ops.nginx_drain:
    upstream: shop
    server: app1
    owner: patch
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [drain app1 in the upstream shop, reload nginx]
owner:
  description: Who has taken the server out, empty if it gets requests or nobody said so.
  returned: success
  type: str
  sample: patch
requests_left:
  description: Requests, WebSockets among them, that the server still had when O(wait) was over.
  returned: success
  type: int
  sample: 0
diff:
  description: The upstream's configuration before and after.
  returned: success
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.drain import Files, Wish, ensure
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.live import LIVE_DIR
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.process import Master
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.reload import Service


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    return {
        "upstream": {"type": "str", "required": True},
        "server": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["drained", "active"], "default": "drained"},
        "last": {"type": "bool", "default": False},
        "owner": {"type": "str", "default": ""},
        "wait": {"type": "int", "default": 65},
        "timeout": {"type": "int", "default": 15},
        "config": {"type": "path", "default": "/etc/nginx/nginx.conf"},
        "upstreams_dir": {"type": "path", "default": "/etc/nginx/upstreams"},
        "live_dir": {"type": "path", "default": LIVE_DIR},
        "pid_file": {"type": "path", "default": "/run/nginx.pid"},
        "error_log": {"type": "path", "default": "/var/log/nginx/error.log"},
    }


def bring_to_state(module: AnsibleModule) -> dict[str, t.Any]:
    """Do what the module's parameters ask for, and say what that took."""
    params = module.params
    wish = Wish(params["upstream"], params["server"], params["state"] == "drained", params["last"], params["owner"])
    files = Files(wish, params["upstreams_dir"], params["live_dir"])
    service = Service(Master(params["pid_file"], params["error_log"]), (), params["config"], params["timeout"], module.run_command)
    outcome = ensure(wish, files, service, params["wait"], module.check_mode)
    if outcome.left:
        module.warn(
            f"{wish.server} still had {outcome.left} requests of the upstream {wish.upstream} when {params['wait']} s were over; they are cut if it stops now"
        )
    return {
        "changed": bool(outcome.actions),
        "actions": list(outcome.actions),
        "owner": outcome.owner,
        "requests_left": outcome.left,
        "diff": {"before": outcome.before, "after": outcome.after},
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = bring_to_state(module)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
