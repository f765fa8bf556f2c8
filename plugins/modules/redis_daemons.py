#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_daemons
short_description: Run Redis, Valkey and Sentinel with the settings of their files, without a restart where that is possible
version_added: "1.0.0"
description:
  - Starts and enables the daemons of a host, and compares their settings as they are in memory with those of their files.
  - What can be changed at run time is changed there (C(CONFIG SET), C(SENTINEL SET), C(ACL LOAD), certificates). What a daemon reads at its start only
    is reported in RV(daemons[].restart_needed), for a play that knows which of the hosts may restart when.
  - Notices as well what a run that was cut off has left undone, what somebody changed in memory alone, and a program that was upgraded under a running daemon.
  - A daemon without the file of its own (O(daemons[].state)) is left alone, since it would start as an empty master.
options:
  daemons:
    description: The daemons of this host, in the order in which they are started.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: What it is.
        type: str
        required: true
        choices: [server, sentinel]
      unit:
        description: Its systemd unit.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
      config:
        description: The files with its settings, which the daemon gets by C(--include) on its command line, in this order.
        type: list
        elements: path
        required: true
      acl:
        description: The file with its users (C(aclfile)).
        type: path
        required: true
      state:
        description: The file of its own, which it rewrites.
        type: path
        required: true
      start_files:
        description: Further files that it needs to be restarted for, such as drop-ins of its unit.
        type: list
        elements: path
        default: []
  login_host:
    description: Address at which all of them are reached. It must be this host.
    type: str
    default: localhost
  login_user:
    description: User to log in as, with all permissions.
    type: str
  login_password:
    description: Password to log in with.
    type: str
  previous_password:
    description: Password that is tried if a daemon does not take O(login_password), for a run that changes it.
    type: str
  tls:
    description: Whether the connections use TLS.
    type: bool
    default: true
  validate_certs:
    description: Whether the daemons' TLS certificates and their names are checked.
    type: bool
    default: true
  ca_certs:
    description: Path of the CA certificates that the daemons' certificates are checked against. Without it the host's own ones are used.
    type: path
  client_cert_file:
    description: Path of the client's certificate, together with O(client_key_file).
    type: path
  client_key_file:
    description: Path of the private key of O(client_cert_file).
    type: path
  master_name:
    description: Name of the master that the Sentinels watch. Without it their settings for a master are left alone.
    type: str
  quorum:
    description: How many Sentinels must agree that the master is down. Required with O(master_name).
    type: int
  record_dir:
    description: Folder on the host, for root alone, where it is noted what the daemons have read.
    type: path
    default: /var/lib/mainstay/redis
  wait_timeout:
    description: Seconds that a daemon has to answer after its start.
    type: int
    default: 60
notes:
  - A Sentinel is told at run time what it also tells of its master, such as C(down-after-milliseconds). Any other change of its files is one for its next
    start, passwords above all, since all servers and Sentinels must know a new password before one of them uses it.
  - A file counts as read if it is older than the process, or if this module had the process read it.
  - Redis 7.0 drops the connections of all users but C(default) when it reads its users again; later versions those whose users changed. Clients connect again.
seealso:
  - module: mainstay.ops.redis_switchover
  - module: mainstay.ops.systemd_units
requirements:
  - redis (Python library, 4.3 or later)
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Run Redis and Sentinel with the settings of their files
  mainstay.ops.redis_daemons:
    login_host: 192.0.2.31
    login_user: admin
    login_password: "{{ redis_sentinel_admin_password }}"
    ca_certs: /etc/redis/mainstay/tls/ca.crt
    master_name: main
    quorum: 2
    daemons:
      - kind: server
        unit: redis-server.service
        port: 6379
        config: [/etc/redis/mainstay/server.conf, /etc/redis/mainstay/server.secret.conf]
        acl: /etc/redis/mainstay/server.acl
        state: /var/lib/redis/state/server.conf
      - kind: sentinel
        unit: redis-sentinel.service
        port: 26379
        config: [/etc/redis/mainstay/sentinel.conf, /etc/redis/mainstay/sentinel.secret.conf]
        acl: /etc/redis/mainstay/sentinel.acl
        state: /var/lib/redis/state/sentinel.conf
  register: daemons

- name: Say what waits for a restart
  ansible.builtin.debug:
    var: daemons.daemons | items2dict(key_name='unit', value_name='restart_needed')
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["start redis-server.service", "redis-server.service: set maxmemory"]
daemons:
  description: The daemons, in the order of O(daemons).
  type: list
  elements: dict
  returned: success
  contains:
    unit:
      description: Its unit.
      type: str
      returned: always
    kind:
      description: What it is.
      type: str
      returned: always
    seeded:
      description: Whether it has the file of its own. If not, it was left alone.
      type: bool
      returned: always
    started:
      description: Whether it was started, or would be.
      type: bool
      returned: always
    role:
      description: V(master), V(replica) or V(sentinel); empty if it does not run.
      type: str
      returned: always
    version:
      description: Its version; empty if it does not run.
      type: str
      returned: always
    restart_needed:
      description: Why it has to be restarted; empty if it has not.
      type: list
      elements: str
      returned: always
      sample: ["io-threads has changed"]
    changed:
      description: Whether a setting was changed, or would be.
      type: bool
      returned: always
seeded:
  description: Units of the daemons that have the file of their own.
  type: list
  elements: str
  returned: success
diff:
  description: Units and settings before and after, without secrets.
  type: list
  elements: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import login_from, redis_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._redis.daemons import Access, Daemon, Host, Monitor, Records, diff, ensure
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import Systemctl, full_name

PER_DAEMON = ("login_port", "login_unix_socket")


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    daemon: dict[str, t.Any] = {
        "kind": {"type": "str", "required": True, "choices": ["server", "sentinel"]},
        "unit": {"type": "str", "required": True},
        "port": {"type": "int", "required": True},
        "config": {"type": "list", "elements": "path", "required": True},
        "acl": {"type": "path", "required": True},
        "state": {"type": "path", "required": True},
        "start_files": {"type": "list", "elements": "path", "default": []},
    }
    return {
        **{name: option for name, option in redis_argument_spec().items() if name not in PER_DAEMON},
        "daemons": {"type": "list", "elements": "dict", "required": True, "options": daemon},
        "previous_password": {"type": "str", "no_log": True},
        "master_name": {"type": "str"},
        "quorum": {"type": "int"},
        "record_dir": {"type": "path", "default": "/var/lib/mainstay/redis"},
        "wait_timeout": {"type": "int", "default": 60},
    }


def access_from(params: t.Mapping[str, t.Any]) -> Access:
    """Return how the daemons are reached; called only once there is one to be reached, since a host without any has no library for it.

    Raises:
        InvalidInput: options that exclude each other, or a missing library.
    """
    login = login_from({**params, "login_port": 0, "login_unix_socket": None})
    return Access(login, params["previous_password"], float(params["wait_timeout"]))


def monitor_from(params: t.Mapping[str, t.Any]) -> Monitor | None:
    """Return what the Sentinels watch, None if that is not asked for.

    Raises:
        InvalidInput: the quorum is none.
    """
    if not params["master_name"]:
        return None
    if params["quorum"] < 1:
        raise InvalidInput("read the option quorum", f"it is {params['quorum']}, it must be at least 1")
    return Monitor(params["master_name"], params["quorum"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True, required_by={"master_name": "quorum"})
    try:
        daemons = [Daemon(**{**given, "unit": full_name(given["unit"])}) for given in module.params["daemons"]]
        records, systemctl = Records(module.params["record_dir"]), Systemctl(module.run_command)
        plan, outcomes = ensure(daemons, lambda: access_from(module.params), monitor_from(module.params), Host(records, systemctl), module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    actions = [str(step) for step in plan.steps] + [action for outcome in outcomes for action in outcome.actions]
    result = [outcome.plain() for outcome in outcomes]
    seeded = [entry["unit"] for entry in result if entry["seeded"]]
    module.exit_json(changed=bool(actions), actions=actions, daemons=result, seeded=seeded, diff=diff(plan, outcomes))


if __name__ == "__main__":
    main()
