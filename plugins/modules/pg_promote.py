#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_promote
short_description: Promote a standby of PostgreSQL where no consensus decides, and say what is lost by it
version_added: "1.0.0"
description:
  - Promotes one standby when the primary is gone, waits until it takes writes on a new timeline, writes a checkpoint, and has the other standbys follow it.
  - It is for streaming replication between hosts that cannot decide by themselves. A cluster under Patroni fails over without it.
  - Two hosts cannot tell a dead peer from a cut cable, and neither can this module. So a person says by O(fenced_member) that the old primary is cut off,
    and whatever speaks against that makes the module refuse.
  - Refused are a primary that answers and takes writes, or that a standby still hears from, members of different clusters, a target on an older timeline
    or with paused replaying, and the loss of more than is allowed. Nothing is changed then.
  - If a member takes writes already, nobody is promoted. Standbys that do not follow it yet are told to, so a run that was cut off is finished by the same
    task.
options:
  target:
    description:
      - Name of the standby that is to be the primary. If it takes writes already, nothing is promoted.
      - Empty means the one that has received most of the log on the newest timeline.
    type: str
    default: ''
  fenced_member:
    description:
      - Name of the old primary, which the operator declares to be fenced. It cannot take writes, and will not be able to when its host comes back.
      - Needed when a member does not answer. The member that is named must not answer.
    type: str
    default: ''
  primary_lsn:
    description:
      - The last position of the old primary's log that is known from elsewhere, such as C(Latest checkpoint location) of C(pg_controldata) after a clean stop,
        or what M(mainstay.ops.pg_replication_info) returned as C(written_lsn) before.
      - Without O(accept_unknown_loss) it counts as the end of that log, with it as a position up to which it reached at least.
    type: str
    default: ''
  allow_loss:
    description:
      - Bytes of the old log that may be lost, of those that are known. What counts is the position of O(primary_lsn) and those of the other standbys.
      - With a O(target) that another standby is ahead of, this has to be given.
    type: int
    default: 0
  accept_unknown_loss:
    description:
      - Whether to promote although nobody knows how much the old primary wrote that no standby received. With asynchronous replication that is so whenever
        its host is lost. No transaction that a client was told is committed is lost if the target was its synchronous standby.
      - Without it, a member that does not answer needs O(primary_lsn).
    type: bool
    default: false
  repoint:
    description:
      - Whether the other standbys are told to follow the new primary, by C(ALTER SYSTEM SET primary_conninfo) and a reload.
        The replication slots that they use are made there before the promotion.
      - Those that receive from another standby are left alone and go with it.
    type: bool
    default: true
  primary_conninfo:
    description:
      - What the other standbys are told, with V({host}) and V({port}) of the new primary and V({name}) of the standby.
      - Without it each keeps what it has, but for the address.
    type: str
  wait_timeout:
    description: Seconds that each of these may take, the end of recovery, and the others' way to the new primary.
    type: int
    default: 60
notes:
  - "The login needs the role C(pg_monitor) and EXECUTE on C(pg_promote). For the rest it needs the role C(pg_checkpoint), REPLICATION to make slots, and
    to repoint standbys C(ALTER SYSTEM) on C(primary_conninfo) and EXECUTE on C(pg_reload_conf). What it may not do of the rest is a warning.
    A superuser may do all."
  - A standby that does not follow within O(wait_timeout) is a warning too, since the new primary takes writes by then.
  - PostgreSQL writes C(primary_conninfo) into its own log when it changes. So have its password in a C(passfile).
  - When a host without power took the primary along, standbys may take themselves for connected up to C(wal_receiver_timeout). That is no obstacle unless a
    message came within the last 5 seconds.
seealso:
  - module: mainstay.ops.pg_replication_info
  - module: mainstay.ops.patroni_switchover
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.postgres_members
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Say what would be lost, before anything is decided
  mainstay.ops.pg_promote:
    members: "{{ postgres_members }}"
    login_password: "{{ postgres_password }}"
    fenced_member: data1
    accept_unknown_loss: true
  check_mode: true
  register: plan

- name: Promote the best standby, since the host of data1 has no power
  mainstay.ops.pg_promote:
    members:
      - name: data1
        host: 10.0.0.11
      - name: data2
        host: 10.0.0.12
      - name: data3
        host: 10.0.0.13
    login_password: "{{ postgres_password }}"
    ssl_mode: verify-full
    ca_cert: /etc/ssl/private-ca.crt
    fenced_member: data1
    accept_unknown_loss: true

- name: Promote data2 after data1 was stopped, and only if it has everything
  mainstay.ops.pg_promote:
    members: "{{ postgres_members }}"
    login_password: "{{ postgres_password }}"
    target: data2
    fenced_member: data1
    primary_lsn: 0/5000148
    primary_conninfo: "host={host} port={port} user=replicator application_name={name} passfile=/var/lib/postgresql/.pgpass sslmode=verify-full"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: [promote data2, write a checkpoint on data2, have data3 follow data2]
promoted:
  description: Name of the member that was promoted, or would be in check mode. Empty if a member took writes already.
  type: str
  returned: success
  sample: data2
primary:
  description: Name of the member that takes writes now, or would in check mode.
  type: str
  returned: success
  sample: data2
old_primary:
  description: Name of the primary before. Empty if it is not known.
  type: str
  returned: success
  sample: data1
timeline_before:
  description: Timeline of the target before.
  type: int
  returned: success
timeline_after:
  description: Timeline of the primary now, or as it would be in check mode.
  type: int
  returned: success
lsn:
  description:
    - Position at which the new timeline begins. In check mode it is what the target has received. What the old primary wrote after it is lost.
    - Empty if nobody was promoted and the primary was restarted since its own promotion.
  type: str
  returned: success
  sample: 0/5000148
lost_bytes:
  description: Bytes of the old log that are known to be lost.
  type: int
  returned: success
lost_seconds:
  description:
    - The most seconds of commits that can be lost, from the last one that the new primary has of the old log to the moment that the module looked.
    - None if no commit was seen since the standby's start.
  type: float
  returned: success
loss_known:
  description: Whether RV(lost_bytes) is all that can be lost. Otherwise the old primary may have written more that nobody received.
  type: bool
  returned: success
candidates:
  description: The standbys that answered, as they were found, the best first. It is returned as well when an unknown loss was not accepted.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Its name.
      type: str
      returned: always
    timeline:
      description: The newest timeline that it has received.
      type: int
      returned: always
    received_lsn:
      description: Position up to which it has the log.
      type: str
      returned: always
    replayed_lsn:
      description: Position up to which it has applied it.
      type: str
      returned: always
    last_commit:
      description: Time of the last commit that it has applied, in UTC.
      type: str
      returned: always
    behind_bytes:
      description: How much it lacks of what is known.
      type: int
      returned: always
    problem:
      description: Why it cannot be promoted. Empty if it can.
      type: str
      returned: always
following:
  description: Names of the standbys that stream from the primary or through another standby on its timeline, or would in check mode.
  type: list
  elements: str
  returned: success
to_rejoin:
  description: Names of members that cannot follow as they are, and need C(pg_rewind) or a new base backup. The old primary is one of them.
  type: list
  elements: str
  returned: success
phases:
  description: Seconds of each phase, V(plan), V(promote), V(checkpoint), V(follow), of those that there were.
  type: dict
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: Primary, timeline, and whom the other standbys follow, before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import promote
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.replication import members_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **members_argument_spec(),
        "target": {"type": "str", "default": ""},
        "fenced_member": {"type": "str", "default": ""},
        "primary_lsn": {"type": "str", "default": ""},
        "allow_loss": {"type": "int", "default": 0},
        "accept_unknown_loss": {"type": "bool", "default": False},
        "repoint": {"type": "bool", "default": True},
        "primary_conninfo": {"type": "str", "no_log": True},
        "wait_timeout": {"type": "int", "default": 60},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        with interruptible(promote.DOING):
            result, warnings = promote.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
