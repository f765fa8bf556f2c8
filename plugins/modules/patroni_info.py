#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_info
short_description: Say what a Patroni cluster looks like, and wait until it is in order
version_added: "1.0.0"
description:
  - Looks at a cluster through all endpoints and at each member, and says in sentences what is wrong.
  - A member or an endpoint that does not answer is a problem and no failure. The module fails if no endpoint answers, or if none takes the password.
  - With O(api_user) it is found out whether each endpoint takes the password, by a change of the settings that is empty, which Patroni refuses after
    the login.
options:
  wait_for:
    description:
      - What to wait for.
      - V(none) looks once.
      - V(leader) waits for a leader whose PostgreSQL runs.
      - V(healthy) waits until RV(problems) is empty.
    type: str
    default: none
    choices: [none, leader, healthy]
  wait_timeout:
    description: Seconds that O(wait_for) may take. After that the module fails with what is still wrong.
    type: int
    default: 60
  expected_members:
    description:
      - Names of the members that the cluster should have; that one is missing is a problem. The cluster forgets a member that is off for longer than C(ttl).
    type: list
    elements: str
    default: []
  max_lag_bytes:
    description: A standby that is more bytes of the write-ahead log behind is a problem.
    type: int
    default: 1048576
  source:
    description: The cluster that this one follows if it is a standby cluster, so that it can be said how far it is behind.
    type: dict
    suboptions:
      endpoints:
        description: REST APIs of its members, as O(endpoints).
        type: list
        elements: str
        required: true
      ca_cert:
        description: Path of the CA certificates that its certificates are checked against. The default is O(ca_cert).
        type: path
seealso:
  - module: mainstay.ops.patroni_config
  - module: mainstay.ops.patroni_switchover
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.patroni
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Look at the cluster
  mainstay.ops.patroni_info:
    endpoints: [data1, data2, data3]
    ca_cert: /etc/ssl/private-ca.crt
  register: cluster

- name: Say how far the other site is behind
  mainstay.ops.patroni_info:
    endpoints: [dr1, dr2]
    source:
      endpoints: [data1, data2, data3]

- name: Say who leads
  ansible.builtin.debug:
    var: cluster.leader

- name: Wait until all members are in order
  mainstay.ops.patroni_info:
    endpoints: ["https://10.0.0.11:8008", "https://10.0.0.12:8008", "https://10.0.0.13:8008"]
    expected_members: [data1, data2, data3]
    wait_for: healthy
    wait_timeout: 300
"""

RETURN = r"""
cluster:
  description: Name of the cluster, Patroni's C(scope).
  type: str
  returned: success
healthy:
  description: Whether RV(problems) is empty.
  type: bool
  returned: success
problems:
  description: What is wrong, in sentences.
  type: list
  elements: str
  returned: success
  sample: [data3 does not stream]
leader:
  description: Name of the member that leads; empty if there is none.
  type: str
  returned: success
  sample: data1
timeline:
  description: Timeline of the leader; none if there is none.
  type: int
  returned: success
members:
  description: The members by name. Empty if the configuration store cannot be read.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    host:
      description: Host of its PostgreSQL.
      type: str
      returned: always
    port:
      description: Port of its PostgreSQL.
      type: int
      returned: always
    api_url:
      description: Its REST API.
      type: str
      returned: always
    role:
      description: V(leader), V(standby_leader), V(sync_standby), V(quorum_standby) or V(replica).
      type: str
      returned: always
    state:
      description: State of its PostgreSQL, such as V(running).
      type: str
      returned: always
    timeline:
      description: Its timeline; none if it is not known.
      type: int
      returned: always
    lag_bytes:
      description: How much of the leader's write-ahead log it has not replayed; none for the leader, or if it is not known.
      type: int
      returned: always
    streams:
      description: Whether it streams from another member; none for the leader.
      type: bool
      returned: always
    pending_restart:
      description: Whether it waits for a restart.
      type: bool
      returned: always
    pending_restart_reason:
      description: The parameters that it waits for, each with C(old_value) and C(new_value); empty with Patroni before 4.0.
      type: dict
      returned: always
    scheduled_restart:
      description: The restart that is scheduled for it; empty if there is none.
      type: dict
      returned: always
    tags:
      description: Its tags, such as C(nofailover).
      type: dict
      returned: always
    reachable:
      description: Whether its REST API answered.
      type: bool
      returned: always
    patroni_version:
      description: Version of its Patroni; empty if it did not answer.
      type: str
      returned: always
    postgres_version:
      description: Version of its PostgreSQL; empty if it is not known.
      type: str
      returned: always
synchronous_mode:
  description: V(off), V(on) or V(quorum).
  type: str
  returned: success
synchronous_standbys:
  description: Names of the synchronous standbys.
  type: list
  elements: str
  returned: success
standby_cluster:
  description: Whether the whole cluster follows another one.
  type: bool
  returned: success
standby_leader:
  description: Name of the member that follows the other cluster; empty if it is no standby cluster.
  type: str
  returned: success
source:
  description: The cluster that is followed.
  type: dict
  returned: success
  contains:
    reachable:
      description: Whether it answered.
      type: bool
      returned: always
    problem:
      description: Why it cannot be seen, or that this cluster has parted from it; empty if neither.
      type: str
      returned: always
    leader:
      description: Name of its leader.
      type: str
      returned: always
    takes_writes:
      description: Whether its leader takes writes.
      type: bool
      returned: always
    streams:
      description: Whether its leader streams to RV(standby_leader).
      type: bool
      returned: always
    timeline:
      description: Timeline of its leader; none if it is not known.
      type: int
      returned: always
    lag_bytes:
      description: How many bytes of its log have not arrived; none if it does not answer.
      type: int
      returned: always
    lag_seconds:
      description:
        - V(0) if everything has arrived, otherwise the age of the last commit that was replayed, by the clock of the host where the module runs.
          None if there was none since the standby's start.
      type: float
      returned: always
paused:
  description: Whether Patroni is paused.
  type: bool
  returned: success
pending_restart:
  description: Names of the members that wait for a restart.
  type: list
  elements: str
  returned: success
scheduled_switchover:
  description: The switchover that is scheduled, with C(at), C(from) and C(to); empty if there is none.
  type: dict
  returned: success
scheduled_restarts:
  description: The restarts that are scheduled, each with C(name) and what Patroni says of it.
  type: list
  elements: dict
  returned: success
config:
  description: The dynamic configuration, with secrets masked.
  type: dict
  returned: success
endpoints:
  description: The endpoints as they were given.
  type: list
  elements: dict
  returned: success
  contains:
    url:
      description: Its address.
      type: str
      returned: always
    reachable:
      description: Whether it answered.
      type: bool
      returned: always
    problem:
      description: Why it cannot be used; empty if it can.
      type: str
      returned: always
    patroni_version:
      description: Version of its Patroni.
      type: str
      returned: always
    leader:
      description: Who leads as it sees it.
      type: str
      returned: always
seconds:
  description: How long the module worked.
  type: float
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.client import client_from, patroni_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._patroni.overview import run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **patroni_argument_spec(),
        "wait_for": {"type": "str", "default": "none", "choices": ["none", "leader", "healthy"]},
        "wait_timeout": {"type": "int", "default": 60},
        "expected_members": {"type": "list", "elements": "str", "default": []},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "source": {"type": "dict", "options": {"endpoints": {"type": "list", "elements": "str", "required": True}, "ca_cert": {"type": "path"}}},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(client_from(module.params), module.params)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
