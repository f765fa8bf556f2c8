#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_site
short_description: Have the Redis or Valkey of one site follow another site's, or take over from it
version_added: "1.0.0"
description:
  - With O(state=following) one server of this site is a replica of the other site's master, and the others are replicas of that one.
  - With O(state=promoted) the server that is furthest ahead becomes a master, and the others follow it. What the other site has acknowledged and this one
    lacks is lost, so the module refuses unless O(fenced) says that the other site takes no writes any more.
  - With O(planned) the other site takes part and nothing is lost. Its writes are held, everything arrives here, its master becomes a replica of this site, both
    are compared once more, and only then is this site promoted. At no moment do both take writes.
  - A run that was cut off is finished by the same task.
options:
  state:
    description: What holds afterwards.
    type: str
    choices: [following, promoted]
    required: true
  servers:
    description: All servers of this site, the ones that should rather follow the other site first.
    type: list
    elements: dict
    required: true
    suboptions: &server
      host:
        description: Host of the server, as its replicas name it.
        type: str
        required: true
      port:
        description: Port of the server.
        type: int
        default: 6379
  source:
    description: The other site.
    type: dict
    required: true
    suboptions:
      servers:
        description: All servers of the other site. The master among them is found.
        type: list
        elements: dict
        required: true
        suboptions: *server
      login_user:
        description: User to log in to them as. The default is O(login_user).
        type: str
      login_password:
        description: Password to log in to them with. The default is O(login_password).
        type: str
  sentinels:
    description:
      - Sentinels that could get in the way, those of this site, and with O(planned) those of the other one. The module refuses while one of them watches
        O(master_name), except to promote a site without the other one.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Host of the Sentinel.
        type: str
        required: true
      port:
        description: Port of the Sentinel.
        type: int
        default: 26379
  sentinel_user:
    description: User to log in to the Sentinels as.
    type: str
  sentinel_password:
    description: Password to log in to the Sentinels with.
    type: str
  master_name:
    description: Name by which Sentinels know the master.
    type: str
    default: main
  planned:
    description: Whether the other site takes part in the promotion.
    type: bool
    default: false
  fenced:
    description: The operator declares that the other site cannot take writes from any client, and will not when its hosts come back.
    type: bool
    default: false
  discard:
    description: With O(state=following), whether keys of a master of this site may be given up.
    type: bool
    default: false
  max_lag_bytes:
    description: With O(planned), refuse to begin if this site is more bytes behind, since writes are held until it has caught up.
    type: int
    default: 1048576
  max_lost_bytes:
    description: With O(fenced), refuse if more bytes would be lost, or if nobody knows how many.
    type: int
  max_lost_seconds:
    description: With O(fenced), refuse if the other site was heard of longer ago, or never.
    type: float
  max_pause:
    description: Seconds that writes may be held. If this site has not caught up by then, they go on at the other site and the task fails.
    type: int
    default: 10
  wait_timeout:
    description: Seconds that the servers have to follow.
    type: int
    default: 60
  login_user:
    description: User to log in to the servers as. Without it the password is that of the default user.
    type: str
  login_password:
    description: Password to log in to the servers with.
    type: str
  tls:
    description: Whether the connections use TLS.
    type: bool
    default: true
  validate_certs:
    description: Whether the TLS certificates and the names in them are checked.
    type: bool
    default: true
  ca_certs:
    description: Path of the CA certificates that certificates are checked against. Without it the host's own ones are used.
    type: path
  client_cert_file:
    description: Path of the client's certificate, together with O(client_key_file).
    type: path
  client_key_file:
    description: Path of the private key of O(client_cert_file).
    type: path
notes:
  - The servers of both sites log in to each other with the same C(masteruser) and C(masterauth).
  - The Sentinels of a site must not be able to log in to the other site's servers, that is, the sites have different passwords for them. Otherwise Sentinels
    that come back after the loss of their site would make the new master a replica of the old one, and its data would be gone.
  - The user needs C(+info +replicaof +client|pause +client|unpause +client|kill +config|rewrite).
seealso:
  - module: mainstay.ops.redis_switchover
  - module: mainstay.ops.patroni_promote
extends_documentation_fragment:
  - mainstay.ops.attributes
requirements:
  - redis (Python library, 4.3 or later)
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Have the second site follow
  mainstay.ops.redis_site:
    state: following
    servers: [{host: 10.1.0.31}, {host: 10.1.0.32}]
    source: {servers: [{host: 10.0.0.31}, {host: 10.0.0.32}, {host: 10.0.0.33}]}
    login_user: admin
    login_password: "{{ redis_password }}"

- name: Take over from a site that is lost
  mainstay.ops.redis_site:
    state: promoted
    fenced: true
    max_lost_seconds: 60
    servers: [{host: 10.1.0.31}, {host: 10.1.0.32}]
    source: {servers: [{host: 10.0.0.31}, {host: 10.0.0.32}, {host: 10.0.0.33}]}
    login_user: admin
    login_password: "{{ redis_password }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["make 10.1.0.31:6379 a master", "make 10.1.0.32:6379 a replica of 10.1.0.31:6379"]
master:
  description: The server that takes writes afterwards, as V(host:port). Empty if this site follows and the other one does not answer.
  type: str
  returned: success
  sample: 10.1.0.31:6379
servers:
  description: The servers of this site, as they are afterwards; in check mode as they are.
  type: list
  elements: dict
  returned: success
  contains:
    address:
      description: The server as V(host:port).
      type: str
    role:
      description: V(master) or V(replica), empty if it does not answer.
      type: str
    master:
      description: Whom it follows, as V(host:port).
      type: str
    link_up:
      description: Whether it is a replica whose link is up.
      type: bool
    offset:
      description: Its replication offset in bytes, or V(-1).
      type: int
    lag_bytes:
      description: Bytes that it lacks of the only master that answers, or V(-1) if that cannot be said.
      type: int
    error:
      description: Why it does not answer.
      type: str
source_reachable:
  description: Whether a server of the other site answered.
  type: bool
  returned: success
lost_bytes:
  description: Bytes that the other site had and this one lacked when it was promoted. None if nobody knows.
  type: int
  returned: success
lost_seconds:
  description: How long ago the promoted server had heard of the other site, at most so many seconds of writes are lost. None if it never had.
  type: float
  returned: success
paused_seconds:
  description: With O(planned), seconds from the hold of the writes to the promotion; 0 otherwise.
  type: float
  returned: success
seconds:
  description: Seconds that all of it took.
  type: float
  returned: success
diff:
  description: The roles of this site's servers before and after.
  type: dict
  returned: success
  sample: {before: "10.1.0.31:6379: replica of 10.0.0.31:6379\n", after: "10.1.0.31:6379: master\n"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible
from ansible_collections.mainstay.ops.plugins.module_utils._redis import site
from ansible_collections.mainstay.ops.plugins.module_utils._redis.site_plan import DOING


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=site.site_argument_spec(), supports_check_mode=True)
    try:
        with interruptible(DOING[module.params["state"]]):
            result, warnings = site.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
