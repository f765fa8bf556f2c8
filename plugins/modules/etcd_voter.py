#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_voter
short_description: Let a member join etcd, give it a vote, or take it out
version_added: "1.0.0"
description:
  - A member that joins follows without a vote at first (a learner). Only when it has everything it gets its vote, so that at no moment a member counts
    for the majority that may never come up.
  - etcd itself refuses to remove a member without which there would be no majority.
options:
  name:
    description: Name of the member.
    type: str
    required: true
  peer_url:
    description: Where the other members reach it, such as V(https://data4:2380). Required for V(learner).
    type: str
  state:
    description:
      - V(learner) means that it may join, and RV(initial_cluster) is what it has to know at its first start, with C(initial-cluster-state) of C(existing).
      - V(voter) means that it has a vote. It has been started before, and is waited for until it has everything.
      - V(absent) means that it is no member. It ends by itself, and its data stays.
    type: str
    choices: [learner, voter, absent]
    default: voter
  root_password:
    description: Password of C(root), where etcd asks for a login.
    type: str
  wait_timeout:
    description: Seconds that a learner may take to catch up, and that members which were just started may take to find each other.
    type: int
    default: 120
seealso:
  - module: mainstay.ops.etcd_auth
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.etcd
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Let data4 join
  mainstay.ops.etcd_voter:
    endpoints: ["https://data1:2379", "https://data2:2379", "https://data3:2379"]
    ca_cert: /etc/etcd/tls/ca.crt
    client_cert: /etc/etcd/tls/node.crt
    client_key: /etc/etcd/tls/node.key
    name: data4
    peer_url: https://data4:2380
    state: learner
  register: joined

- name: Give it a vote once it runs
  mainstay.ops.etcd_voter:
    endpoints: ["https://data1:2379", "https://data2:2379", "https://data3:2379"]
    ca_cert: /etc/etcd/tls/ca.crt
    client_cert: /etc/etcd/tls/node.crt
    client_key: /etc/etcd/tls/node.key
    name: data4

- name: Take data3 out
  mainstay.ops.etcd_voter:
    endpoints: ["https://data1:2379", "https://data2:2379"]
    ca_cert: /etc/etcd/tls/ca.crt
    client_cert: /etc/etcd/tls/node.crt
    client_key: /etc/etcd/tls/node.key
    name: data3
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: [let data4 join etcd without a vote]
members:
  description: The members that there are now, or would be.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Its identification as C(etcdctl) has it; V(0) for one that would join.
      type: str
      returned: always
    name:
      description: Its name; empty until it has been started once.
      type: str
      returned: always
    peer_urls:
      description: Where the others reach it.
      type: list
      elements: str
      returned: always
    learner:
      description: Whether it follows without a vote.
      type: bool
      returned: always
    started:
      description: Whether it has ever been started.
      type: bool
      returned: always
initial_cluster:
  description: The members as C(initial-cluster) of etcd takes them, for the first start of one that joins.
  type: str
  returned: success
  sample: data1=https://data1:2380,data2=https://data2:2380,data3=https://data3:2380,data4=https://data4:2380
diff:
  description: The members before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.client import client_from, etcd_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._etcd.voters import run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **etcd_argument_spec(),
        "name": {"type": "str", "required": True},
        "peer_url": {"type": "str"},
        "state": {"type": "str", "choices": ["learner", "voter", "absent"], "default": "voter"},
        "root_password": {"type": "str", "no_log": True},
        "wait_timeout": {"type": "int", "default": 120},
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
