#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_replication_info
short_description: Say who is the primary of a PostgreSQL replication and how far the standbys are, and wait until it is in order
version_added: "1.0.0"
description:
  - Asks every member by itself, at the same time, and says in sentences what is wrong between them.
  - It is for streaming replication where no consensus decides. For a cluster under Patroni there is M(mainstay.ops.patroni_info).
  - A member that does not answer is a problem and no failure.
options:
  wait_for:
    description:
      - What to wait for.
      - V(none) looks once.
      - V(primary) waits until one member takes writes, and no other.
      - V(healthy) waits until RV(problems) is empty.
    type: str
    default: none
    choices: [none, primary, healthy]
  wait_timeout:
    description: Seconds that O(wait_for) may take. After that the module fails with what is still wrong.
    type: int
    default: 60
  max_lag_bytes:
    description: A standby that is more bytes of the write-ahead log behind is a problem.
    type: int
    default: 1048576
notes:
  - Any login will do. What it may not see is not judged. The role C(pg_monitor) is enough for everything.
seealso:
  - module: mainstay.ops.pg_promote
  - module: mainstay.ops.patroni_info
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.postgres_members
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Look at the replication
  mainstay.ops.pg_replication_info:
    members:
      - name: data1
        host: 10.0.0.11
      - name: data2
        host: 10.0.0.12
    login_user: monitoring
    login_password: "{{ monitoring_password }}"
    ssl_mode: verify-full
    ca_cert: /etc/ssl/private-ca.crt
  register: replication

- name: Say who takes writes
  ansible.builtin.debug:
    var: replication.primary

- name: Wait until all members are in order
  mainstay.ops.pg_replication_info:
    members: "{{ postgres_members }}"
    login_password: "{{ postgres_password }}"
    wait_for: healthy
    wait_timeout: 300
"""

RETURN = r"""
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
primary:
  description: Name of the member that takes writes. Empty if there is none, or if there are several.
  type: str
  returned: success
  sample: data1
primaries:
  description: Names of all members that take writes.
  type: list
  elements: str
  returned: success
standbys:
  description: Names of the members that answer as standbys.
  type: list
  elements: str
  returned: success
timeline:
  description: Timeline of the primary. None if there is none.
  type: int
  returned: success
system_identifier:
  description: What all members that answer have in common as parts of one cluster. Empty if they are not.
  type: str
  returned: success
members:
  description: The members, in the order of O(members).
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    host:
      description: Its host.
      type: str
      returned: always
    port:
      description: Its port.
      type: int
      returned: always
    reachable:
      description: Whether it answered.
      type: bool
      returned: always
    error:
      description: Why it did not answer. Empty if it did.
      type: str
      returned: always
    role:
      description: V(primary) or V(standby). Empty if it did not answer.
      type: str
      returned: always
    version:
      description: Version of its PostgreSQL.
      type: str
      returned: always
    system_identifier:
      description: Identifier of the cluster that it is a part of.
      type: str
      returned: always
    timeline:
      description: The timeline that it writes, or the newest one that a standby has received. None if it did not answer.
      type: int
      returned: always
    written_lsn:
      description: Position up to which a primary has written the log.
      type: str
      returned: always
      sample: 0/5000148
    received_lsn:
      description: Position up to which a standby has the log.
      type: str
      returned: always
    replayed_lsn:
      description: Position up to which a standby has applied it.
      type: str
      returned: always
    last_commit:
      description: Time of the last commit that a standby has applied since its start, in UTC. Empty if there was none.
      type: str
      returned: always
      sample: "2026-11-22T17:42:00.123456Z"
    lag_bytes:
      description: How much of the primary's log a standby has not applied. None without a primary.
      type: int
      returned: always
    lag_seconds:
      description: Seconds since the last commit that a standby has applied, 0 if it lacks nothing. None if that is not known.
      type: float
      returned: always
    streams:
      description: Whether a standby receives the log now. None on a primary, or if the login may not see it.
      type: bool
      returned: always
    upstream:
      description: Names of the members that a standby is told to receive from, or addresses of those that are no members.
      type: list
      elements: str
      returned: always
    replay_paused:
      description: Whether a standby has paused replaying.
      type: bool
      returned: always
    sync_state:
      description: V(async), V(potential), V(sync) or V(quorum), as the primary says. Empty if it is not known.
      type: str
      returned: always
    slots:
      description: Its replication slots, each with C(name), C(type), C(active), C(wal_status), and C(retained_bytes), the bytes of the log that it keeps.
      type: list
      elements: dict
      returned: always
seconds:
  description: How long the module worked.
  type: float
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.replication import members_argument_spec, run


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **members_argument_spec(),
        "wait_for": {"type": "str", "default": "none", "choices": ["none", "primary", "healthy"]},
        "wait_timeout": {"type": "int", "default": 60},
        "max_lag_bytes": {"type": "int", "default": 1048576},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = run(module.params)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
