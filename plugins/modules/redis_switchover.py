#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_switchover
short_description: Move a Redis or Valkey master that Sentinel watches to a replica, without losing a write
version_added: "1.0.0"
description:
  - Holds the writes for a second or two, waits until the replica has all of them, makes the old master a replica, compares both once more,
    and only then has the Sentinels promote the replica. At no moment do two servers take writes.
  - The command C(SENTINEL FAILOVER) alone leaves the old master writable for some ten seconds, and what it acknowledges in that time is lost.
  - Every error says who the master is. Whatever fails before the Sentinels are told is taken back.
options:
  target:
    description:
      - The replica that is to be the master, as C(host) or C(host:port), by the name that the Sentinels have for it.
        If it is the master already, nothing is done.
      - Empty takes the replica with the best C(replica-priority), and among those the one that is furthest ahead. A priority of 0 is never taken.
    type: str
    default: ""
  max_pause:
    description:
      - Seconds that writes may be held until the replica has caught up. If it has not by then, writes go on at the old master and the task fails.
      - Half of C(down-after-milliseconds) is the limit even if this is more, since a server that holds writes does not answer the Sentinels for long.
    type: int
    default: 10
  max_lag_bytes:
    description: How many bytes of the master's the replica may lack before anything is done.
    type: int
    default: 1048576
  wait_timeout:
    description:
      - Seconds that each of these may take, the Sentinels' reading of priorities, which they do every 10 seconds, and everybody's following of the new master.
    type: int
    default: 60
notes:
  - Needs Redis 6.2 or later, or Valkey, and the same C(masteruser) and C(masterauth) on all servers, as Sentinel does.
  - "The user of the servers (O(login_user)) needs C(+info +replicaof +client|pause +client|unpause +client|kill +config|set +config|rewrite).
    That of the Sentinels (O(sentinel_user)) needs C(+info +sentinel|master +sentinel|replicas +sentinel|ckquorum
    +sentinel|get-master-addr-by-name +sentinel|failover). Neither needs a key or a channel."
  - Unless the target has the best C(replica-priority) of all, it is given the priority V(1) for the time, and others with V(1) are given V(2).
    The Sentinels take up to ten seconds to see that, before writes are held. Priorities are put back also after an error.
  - Clients must look for the master through Sentinel. Those that are connected to the old master are dropped when the new one takes writes.
    Writes that had come in before the old master became a replica wait until then; later ones are refused with C(READONLY), to be tried again.
  - A Sentinel names the new master to clients a second or so after it was told, which is most of the time without writes.
  - A run that is killed leaves a pause that ends by itself, and a C(replica-priority) that has to be put back, which the role C(redis_sentinel) does.
    If it is killed in the moment between the old master's becoming a replica and the message to the Sentinels, no server takes writes until
    these promote a replica by themselves. That takes C(down-after-milliseconds) and up to 20 seconds, or twice C(failover-timeout) after the failover
    before it. No acknowledged write is lost.
seealso:
  - module: mainstay.ops.redis_sentinel_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.redis_sentinel
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Move the master away from this host before its restart
  mainstay.ops.redis_switchover:
    sentinels:
      - host: data1.example.com
      - host: data2.example.com
      - host: data3.example.com
    sentinel_password: "{{ sentinel_password }}"
    login_password: "{{ redis_password }}"
    tls: false
  run_once: true

- name: Have the master on a particular host
  mainstay.ops.redis_switchover:
    sentinels: "{{ redis_sentinels }}"
    sentinel_user: operator
    sentinel_password: "{{ sentinel_password }}"
    login_user: operator
    login_password: "{{ redis_password }}"
    ca_certs: /etc/ssl/certs/site-ca.pem
    target: 10.0.0.11:6379
  run_once: true
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["hold the writes to 10.0.0.11:6379 until 10.0.0.12:6379 has all of them", "make 10.0.0.11:6379 a replica of 10.0.0.12:6379"]
from:
  description: The master before, as V(host:port).
  type: str
  returned: success
  sample: 10.0.0.11:6379
to:
  description: The master afterwards, or the one that there would be, as V(host:port).
  type: str
  returned: success
  sample: 10.0.0.12:6379
offset:
  description: The replication offset at which both were level when the old master had become a replica; V(-1) if nothing was moved.
  type: int
  returned: success
paused_seconds:
  description: Seconds from the moment that writes were held until the new master took them and a Sentinel named it; 0 if nothing was moved.
  type: float
  returned: success
phases:
  description: Seconds of each phase, plan, prefer (setting priorities), catch_up, promote, release, settle; of those that there were.
  type: dict
  returned: success
diff:
  description: The master before and after.
  type: dict
  returned: success
  sample: {before: {master: "10.0.0.11:6379"}, after: {master: "10.0.0.12:6379"}}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._redis import switchover
from ansible_collections.mainstay.ops.plugins.module_utils._redis.topology import sentinel_argument_spec


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **sentinel_argument_spec(),
        "target": {"type": "str", "default": ""},
        "max_pause": {"type": "int", "default": 10},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "wait_timeout": {"type": "int", "default": 60},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        with interruptible(f"move the master {module.params['master_name']}"):
            result, warnings = switchover.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
