#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_auth
short_description: Have etcd ask for a login, with users that may touch the keys below their prefixes
version_added: "1.0.0"
description:
  - Makes C(root), which may do everything, and further users with a role of the same name, sets their passwords, and then has etcd ask everybody for a login.
  - Users and roles that are not named stay. A prefix of a role that is not named goes.
  - Clients that run and know their password already are not interrupted. They log in when etcd asks them for the first time.
  - A changed password of a user takes effect at once, and ends its logins. Hand it to the clients first, which use it when they log in the next time.
options:
  root_password:
    description: Password of C(root). To change it where etcd asks for a login already, set it by C(etcdctl user passwd root) first.
    type: str
    required: true
  users:
    description: The other users.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the user and of its role.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
      prefixes:
        description: It may read and write the keys that begin so.
        type: list
        elements: str
        default: []
seealso:
  - module: mainstay.ops.etcd_keys
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.etcd
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Let Patroni alone touch the state of its cluster
  mainstay.ops.etcd_auth:
    endpoints: ["https://data1:2379", "https://data2:2379", "https://data3:2379"]
    ca_cert: /etc/etcd/tls/ca.crt
    client_cert: /etc/etcd/tls/node.crt
    client_key: /etc/etcd/tls/node.key
    root_password: "{{ etcd_root_password }}"
    users:
      - name: patroni-main
        password: "{{ etcd_patroni_password }}"
        prefixes: [/service/main/]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: [make the role root, make the user root, give root its role, ask everybody for a login]
enabled:
  description: Whether etcd asks for a login now, or would.
  type: bool
  returned: success
users:
  description: Names of the users that there are now, or would be.
  type: list
  elements: str
  returned: success
diff:
  description: Users and roles before and after, without passwords.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.client import client_from, etcd_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.users import run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    user = {
        "name": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "prefixes": {"type": "list", "elements": "str", "default": []},
    }
    return {
        **etcd_argument_spec(),
        "root_password": {"type": "str", "required": True, "no_log": True},
        "users": {"type": "list", "elements": "dict", "default": [], "options": user},
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
