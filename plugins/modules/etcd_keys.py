#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_keys
short_description: Remove keys of etcd below a prefix
version_added: "1.0.0"
description:
  - Removes the keys that begin with a prefix, apart from those that are kept, such as the state of a cluster that is gone.
options:
  prefix:
    description: The keys that begin so, such as V(/service/main/).
    type: str
    required: true
  keep:
    description: Keys that stay, without the prefix.
    type: list
    elements: str
    default: []
  login_user:
    description: Whom to log in as. Where etcd asks for no login, it is not needed and does no harm.
    type: str
  login_password:
    description: Password of O(login_user).
    type: str
  state:
    description: V(absent) removes the keys.
    type: str
    default: absent
    choices: [absent]
seealso:
  - module: mainstay.ops.etcd_auth
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.etcd
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Remove what a lost cluster has left, apart from its settings
  mainstay.ops.etcd_keys:
    endpoints: ["https://data1:2379", "https://data2:2379", "https://data3:2379"]
    ca_cert: /etc/etcd/tls/ca.crt
    client_cert: /etc/etcd/tls/node.crt
    client_key: /etc/etcd/tls/node.key
    login_user: patroni-main
    login_password: "{{ etcd_patroni_password }}"
    prefix: /service/main/
    keep: [config]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [remove /service/main/leader]
removed:
  description: The keys that were removed, or would be.
  type: list
  elements: str
  returned: success
diff:
  description: The keys before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.client import client_from, etcd_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.keys import run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **etcd_argument_spec(),
        "prefix": {"type": "str", "required": True},
        "keep": {"type": "list", "elements": "str", "default": []},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "state": {"type": "str", "default": "absent", "choices": ["absent"]},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(client_from(module.params), module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
