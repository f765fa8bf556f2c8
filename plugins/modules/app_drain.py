#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a service has finished what it has begun."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_drain
version_added: "1.0.0"
short_description: Wait until a service that gets no new requests has finished what it has begun
description:
  - Looks at the established connections to the service's port. It changes nothing, and does not fail when the time is over.
  - A connection matters while a request waits for its answer, also one that takes long, while bytes wait to be read or sent, and while there was traffic
    a moment ago, as in a WebSocket that is in use. An idle keep-alive connection does not.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
options:
  port:
    description: TCP port of the service.
    type: int
    required: true
  peers:
    description: Addresses from which connections count. Without any, all do.
    type: list
    elements: str
    default: []
  idle:
    description: Seconds without traffic after which a connection counts as idle.
    type: float
    default: 10
  timeout:
    description: Seconds after which the module is done in any case. In check mode it does not wait.
    type: float
    default: 30
seealso:
  - module: mainstay.ops.systemd_units
"""

EXAMPLES = r"""
- name: Retire | Wait for the last requests
  mainstay.ops.app_drain:
    port: 8001
    peers: [192.0.2.10, 192.0.2.11]
"""

RETURN = r"""
actions:
  description: Always empty, since nothing is changed.
  returned: success
  type: list
  elements: str
  sample: []
drained:
  description: Whether no connection mattered any more at the end.
  returned: success
  type: bool
  sample: true
connections:
  description: How many connections still mattered at the end.
  returned: success
  type: int
  sample: 0
peers:
  description: Where they come from.
  returned: success
  type: list
  elements: str
  sample: []
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 1.8
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.drain import command, drain


def main() -> None:
    """Entry point of the module."""
    spec: dict[str, t.Any] = {
        "port": {"type": "int", "required": True},
        "peers": {"type": "list", "elements": "str", "default": []},
        "idle": {"type": "float", "default": 10},
        "timeout": {"type": "float", "default": 30},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params, began = module.params, time.monotonic()
    try:
        left = drain(module.run_command, command(params["port"], params["peers"]), params["idle"], 0 if module.check_mode else params["timeout"])
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, actions=[], drained=not left, connections=len(left), peers=sorted({connection.peer for connection in left}),
                     seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
