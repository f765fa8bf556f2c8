#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_major_upgrade
short_description: Move databases to a server of a newer major version by logical replication, with a way back
version_added: "1.0.0"
description:
  - Brings databases from an old server to a new one of the same or a newer major version while the old one is in use, and lets the new one take over within
    seconds. The old server is kept as it is.
  - How far the move is stands on the two servers, so a run that was cut off is finished by the same task, and a step that has been taken changes nothing.
  - It moves roles with their passwords, definitions, rows, sequences, and the settings and privileges of databases. Large objects block it, and so do
    tables whose rows cannot be told apart. Publications, subscriptions and rows of unlogged tables are not moved.
  - Definitions must not change between V(prepared) and V(switched). If they have, the cutover is refused.
options:
  state:
    description:
      - What holds afterwards.
      - V(rehearsed) says what stands in the way, makes the roles on the new server, and copies each database there under another name, compares it and
        drops it. The old server only reads.
      - V(prepared) has the databases on the new server, which nobody but superusers can connect to, and replicates to them.
      - V(switched) holds the writes of the old server, lets the rest arrive, brings sequences along, compares rows, and opens the new server. Clients of the
        old one are disconnected, and only superusers can connect to it from then on. If something fails before that, the old server takes writes as before.
      - V(abandoned) removes everything from the new server, and the old one takes writes. After the cutover, what was written to the new server is brought back
        first, or given up by O(accept_loss).
      - V(finished) ends the replication back to the old server, which stays closed.
    type: str
    required: true
    choices: [rehearsed, prepared, switched, abandoned, finished]
  source:
    description: The old server.
    type: dict
    required: true
    suboptions: &side
      login_host:
        description: Host of the server. Empty means the local socket.
        type: str
        default: ''
      login_port:
        description: Port of the server.
        type: int
        default: 5432
      login_user:
        description: Role to log in as, a superuser.
        type: str
        default: postgres
      login_password:
        description: The role's password. It is handed to PostgreSQL's programs in a password file that exists in memory only.
        type: str
      login_unix_socket:
        description: Folder of the server's socket, which is used instead of C(login_host).
        type: path
      ssl_mode:
        description: Whether TLS is used and the server's certificate is checked, as libpq's C(sslmode).
        type: str
        default: prefer
        choices: [allow, disable, prefer, require, verify-ca, verify-full]
      ca_cert:
        description: Path of the CA certificates that the server's certificate is checked against.
        type: path
      replication_conninfo:
        description:
          - How the other server reaches this one, as a connection string of libpq without C(dbname), for example with a C(passfile) there.
          - Without it the other server does as this module does. The password is kept in C(pg_subscription) then, which only superusers read, for as long as
            the subscription is there.
        type: str
  target:
    description: The new server.
    type: dict
    required: true
    suboptions: *side
  databases:
    description: Names of the databases. None means all, without an empty C(postgres).
    type: list
    elements: str
    default: []
  name:
    description: What publications, subscriptions and replication slots are called, or begin with.
    type: str
    default: mainstay_upgrade
  way_back:
    description: Whether changes are replicated from the new server to the old one after the cutover. It needs C(wal_level=logical) on the new one.
    type: bool
    default: true
  accept_loss:
    description: Whether to go back to the old server although what was written to the new one is lost by it.
    type: bool
    default: false
  sample_rows:
    description:
      - So many of the newest rows of each table, by primary key, are compared by a checksum, beside the number of all rows. This is done while writes are held,
        for the smallest tables up to 1 GiB altogether.
    type: int
    default: 1000
  max_lag_bytes:
    description: So many bytes of the write-ahead log the new server may be behind for it to count as prepared, and for the cutover to begin.
    type: int
    default: 1048576
  wait_timeout:
    description: Seconds that each wait of the cutover may take. Writes are held meanwhile.
    type: int
    default: 60
  copy_timeout:
    description: Seconds that the copy of the rows of each database may take. What has been copied when they are over stays.
    type: int
    default: 86400
  pg_bin_dir:
    description: Folder of C(pg_dump), C(pg_restore) and C(pg_dumpall), of the newer version. Without it they are looked for.
    type: path
requirements:
  - psycopg2, and PostgreSQL's client programs of the newer version, on the host where the module runs
notes:
  - Programs that log in as a superuser are not held by the cutover. They are disconnected once, and their later writes to the old server would be lost.
  - C(wal_level) of the old server has to be V(logical), which needs a restart of it.
seealso:
  - module: mainstay.ops.pg_backup
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Find out what stands in the way, and how long a copy takes
  mainstay.ops.pg_major_upgrade:
    state: rehearsed
    source: &old
      login_host: 10.0.0.11
      login_password: "{{ postgres_password }}"
      ssl_mode: verify-full
      ca_cert: /etc/ssl/private-ca.crt
    target: &new
      login_unix_socket: /var/run/postgresql

- name: Replicate two databases
  mainstay.ops.pg_major_upgrade:
    state: prepared
    source: *old
    target: *new
    databases: [ledger, audit]
    way_back: false
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: [hold the writes of ledger on the old server, "compare ledger, and bring its sequences along", let everybody use ledger on the new server]
state:
  description: The state that was asked for.
  type: str
  returned: success
databases:
  description: Names of the databases.
  type: list
  elements: str
  returned: success
ready:
  description: Whether nothing blocks the move.
  type: bool
  returned: success
findings:
  description: What stands in the way, and what has to be known. It is returned as well if something blocks the step.
  type: list
  elements: dict
  returned: success
  contains:
    weight:
      description: V(blocks) or V(warns).
      type: str
      returned: always
    database:
      description: The database that it concerns; empty if it concerns the servers.
      type: str
      returned: always
    text:
      description: What it is.
      type: str
      returned: always
    next_step:
      description: What can be done about it.
      type: str
      returned: always
unwritable_seconds:
  description: Seconds for which neither server took writes. None if this run did not cut over.
  type: float
  returned: success
phases:
  description: Seconds of each phase.
  type: dict
  returned: success
  sample: {"look": 0.3, "hold the writes": 0.2, "let the rest arrive": 0.3, "compare ledger": 0.4, "open the new server": 0.5}
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: How far each database is, before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import upgrade
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import postgres_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible


def side() -> dict[str, t.Any]:
    """Return the options of a server."""
    left_out = ("login_db", "ssl_cert", "ssl_key")
    options = {name: option for name, option in postgres_argument_spec().items() if name not in left_out}
    return {"type": "dict", "required": True, "options": {**options, "replication_conninfo": {"type": "str", "no_log": True}}}


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "state": {"type": "str", "required": True, "choices": ["rehearsed", "prepared", "switched", "abandoned", "finished"]},
        "source": side(),
        "target": side(),
        "databases": {"type": "list", "elements": "str", "default": []},
        "name": {"type": "str", "default": "mainstay_upgrade"},
        "way_back": {"type": "bool", "default": True},
        "accept_loss": {"type": "bool", "default": False},
        "sample_rows": {"type": "int", "default": 1000},
        "max_lag_bytes": {"type": "int", "default": 1048576},
        "wait_timeout": {"type": "int", "default": 60},
        "copy_timeout": {"type": "int", "default": 86400},
        "pg_bin_dir": {"type": "path"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        with interruptible(upgrade.DOING):
            result, warnings = upgrade.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
