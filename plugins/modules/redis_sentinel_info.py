#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel_info
short_description: See what Sentinels and the servers that they watch say, and whether it fits together
version_added: "1.0.0"
description:
  - Asks every Sentinel, and every server that one of them names, all at the same time. One that is dead is a problem that is returned, not an error.
options:
  wait_for:
    description:
      - V(none) looks once.
      - V(agreed) waits until RV(agreed) is true.
      - V(healthy) waits until RV(agreed) is true and there are no RV(problems).
    type: str
    default: none
    choices: [none, agreed, healthy]
  wait_timeout:
    description: Seconds to wait. The task fails after that, and says what was seen last.
    type: int
    default: 60
  expect_replicas:
    description: How many replicas must be linked to the master; any other number is a problem.
    type: int
  expect_sentinels:
    description: How many Sentinels must answer; any other number is a problem.
    type: int
notes:
  - "The user of the servers (O(login_user)) needs C(+info). That of the Sentinels (O(sentinel_user)) needs C(+info +sentinel|master +sentinel|replicas
    +sentinel|ckquorum +sentinel|get-master-addr-by-name). Neither needs a key or a channel."
seealso:
  - module: mainstay.ops.redis_switchover
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.redis_sentinel
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Ask who the master is
  mainstay.ops.redis_sentinel_info:
    sentinels:
      - host: data1.example.com
      - host: data2.example.com
      - host: data3.example.com
    sentinel_password: "{{ sentinel_password }}"
    login_password: "{{ redis_password }}"
    tls: false
  register: redis

- name: Wait until all is well after the restart of a host
  mainstay.ops.redis_sentinel_info:
    sentinels:
      - host: data1.example.com
      - host: data2.example.com
      - host: data3.example.com
    sentinel_password: "{{ sentinel_password }}"
    login_password: "{{ redis_password }}"
    tls: false
    wait_for: healthy
    expect_replicas: 2
    expect_sentinels: 3
"""

RETURN = r"""
master:
  description: The server that all Sentinels that answer name as the master; empty if there is no such server.
  type: dict
  returned: always
  contains:
    name:
      description: The name that the Sentinels know it by, O(master_name).
      type: str
      returned: always
    host:
      description: Host, as the Sentinels name it.
      type: str
      returned: always
    port:
      description: Port.
      type: int
      returned: always
    address:
      description: Host and port in one, as O(mainstay.ops.redis_switchover#module:target) takes it.
      type: str
      returned: always
    answers:
      description: Whether the server answers.
      type: bool
      returned: always
    role:
      description: What the server says that it is, V(master) or V(replica); empty if it does not answer.
      type: str
      returned: always
    version:
      description: Product and version; empty if it does not answer.
      type: str
      returned: always
    offset:
      description: Replication offset; V(-1) if it does not answer.
      type: int
      returned: always
replicas:
  description: The replicas that any Sentinel knows.
  type: list
  elements: dict
  returned: always
  contains:
    host:
      description: Host, as the Sentinels name it.
      type: str
      returned: always
    port:
      description: Port.
      type: int
      returned: always
    address:
      description: Host and port in one.
      type: str
      returned: always
    answers:
      description: Whether the server answers.
      type: bool
      returned: always
    link_up:
      description: Whether it is a replica whose link to its master is up.
      type: bool
      returned: always
    offset:
      description: Replication offset; V(-1) if it does not answer.
      type: int
      returned: always
    lag_bytes:
      description: Bytes that the master has written and it has not got; V(-1) if that cannot be said.
      type: int
      returned: always
    lag_seconds:
      description: Seconds since it last heard of its master; V(-1) if that cannot be said.
      type: int
      returned: always
    priority:
      description: Its C(replica-priority); the lowest is promoted first, 0 never. If it does not answer, the one that the Sentinels saw last.
      type: int
      returned: always
    flags:
      description: What the Sentinels call it, such as V(slave), V(s_down), V(disconnected).
      type: list
      elements: str
      returned: always
sentinels:
  description: The Sentinels of O(sentinels), in that order. What one that does not answer would say is empty, 0 or false.
  type: list
  elements: dict
  returned: always
  contains:
    host:
      description: Host.
      type: str
      returned: always
    port:
      description: Port.
      type: int
      returned: always
    answers:
      description: Whether it said all that it was asked.
      type: bool
      returned: always
    error:
      description: Why not; empty if it did.
      type: str
      returned: always
    master:
      description: The master that it names to clients, as V(host:port).
      type: str
      returned: always
    known_sentinels:
      description: How many Sentinels it knows, itself among them.
      type: int
      returned: always
    known_replicas:
      description: How many replicas it knows, those that are gone among them.
      type: int
      returned: always
    quorum:
      description: How many Sentinels must hold the master for down.
      type: int
      returned: always
    quorum_ok:
      description: Whether enough Sentinels can be reached to hold the master for down, and to fail over (C(SENTINEL CKQUORUM)).
      type: bool
      returned: always
    tilt:
      description: Whether it does not act since its clock has moved strangely.
      type: bool
      returned: always
    failover_in_progress:
      description: Whether it is failing over.
      type: bool
      returned: always
agreed:
  description: Whether all Sentinels that answer name the same master, and that server says that it is one.
  type: bool
  returned: always
problems:
  description: What is not as it should be, a sentence each.
  type: list
  elements: str
  returned: always
  sample: ["the replica 10.0.0.12:6379 does not answer: Error 111 connecting to 10.0.0.12:6379. Connection refused."]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import inspect, sentinel_argument_spec


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **sentinel_argument_spec(),
        "wait_for": {"type": "str", "default": "none", "choices": ["none", "agreed", "healthy"]},
        "wait_timeout": {"type": "int", "default": 60},
        "expect_replicas": {"type": "int"},
        "expect_sentinels": {"type": "int"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        seen = inspect(module.params)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **seen)


if __name__ == "__main__":
    main()
