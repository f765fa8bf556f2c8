#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is, has and lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
version_added: "1.0.0"
short_description: What a host is, has and lacks, in one call
description:
  - Compares packages, accounts, settings of the kernel and the rules of the firewall with what they should be, and tells what the other modules would do.
    So a run on a host that is as it should be needs no other call.
  - Tells what decides how a host is set up, such as whether it is a container, which algorithms its OpenSSH has, and from where the run came in.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.host_users
author:
  - Mainstay Operations (@mainstay)
options:
  packages:
    description: Debian packages that should be installed.
    type: list
    elements: str
    default: []
  sysctl:
    description: Settings of the kernel, by name.
    type: dict
    default: {}
  paths:
    description: Paths to look for.
    type: list
    elements: path
    default: []
  readers:
    description: Units, or files that are made of others, by name or path, each with the paths of what they read only when they start, or are made.
    type: dict
    default: {}
  ruleset:
    description: The rules that the kernel should have, as M(mainstay.ops.host_firewall) takes them.
    type: str
    default: ""
seealso:
  - module: mainstay.ops.host_users
  - module: mainstay.ops.host_firewall
  - module: mainstay.ops.host_sshd
"""

EXAMPLES = r"""
- name: Look | See what the host lacks
  mainstay.ops.host_info:
    packages: [nftables, sudo]
    sysctl: {net.ipv4.tcp_syncookies: 1}
    users:
      - {name: charles, state: absent}
"""

RETURN = r"""
missing_packages:
  description: Those of O(packages) that are not installed.
  returned: success
  type: list
  elements: str
  sample: [nftables]
user_actions:
  description: What M(mainstay.ops.host_users) would do.
  returned: success
  type: list
  elements: str
  sample: [make the user ada]
sysctl:
  description: The settings of O(sysctl).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      type: str
    wanted:
      description: What it should be.
      type: str
    current:
      description: What it is, nothing where the kernel does not have it.
      type: str
    writable:
      description: Whether it can be changed here. In a container it often cannot.
      type: bool
  sample: [{name: net.ipv4.tcp_syncookies, wanted: "1", current: "1", writable: true}]
paths:
  description: Those of O(paths) that are there.
  returned: success
  type: list
  elements: str
  sample: []
outdated:
  description: Those of O(readers) that were started, or made, before one of the files was written that they read.
  returned: success
  type: list
  elements: str
  sample: [fail2ban.service]
firewall:
  description:
    - The rules of the firewall. C(installed) tells whether nftables is there, C(refused) why the kernel does not show its rules, C(loaded) whether it has
      the table, and C(current) whether that is the one of O(ruleset), now and at the next boot.
  returned: success
  type: dict
  sample: {installed: true, refused: "", loaded: true, current: true}
container:
  description: What kind of container the host is, empty for none.
  returned: success
  type: str
  sample: podman
ssh:
  description:
    - The C(version) of OpenSSH and what it can do (C(kex), C(ciphers), C(macs), C(key_types)).
    - The drop-in of M(mainstay.ops.host_sshd), with C(drop_in) (whether it is there) and C(proved) (its SHA-256, empty if it was not confirmed, or if
      sshd would read other settings than then).
  returned: success
  type: dict
  sample:
    version: "10.0"
    kex: [mlkem768x25519-sha256]
    ciphers: [aes256-gcm@openssh.com]
    macs: [hmac-sha2-512-etm@openssh.com]
    key_types: [ssh-ed25519]
    drop_in: true
    proved: 4f2a
login:
  description: Who the run came in as (C(user), C(groups)), and from where (C(address), empty if that is not known).
  returned: success
  type: dict
  sample: {user: ops, groups: [sudo], address: 192.0.2.10}
clock:
  description: Seconds since 1970 by the host's clock.
  returned: success
  type: float
  sample: 1790000000.5
reboot_required:
  description: Whether an update waits for a reboot.
  returned: success
  type: bool
"""

import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import facts, firewall, sshd
from ansible_collections.mainstay.ops.plugins.module_utils._host.users import groups_of, login_user, parse, survey, users_spec


def argument_spec() -> dict[str, t.Any]:
    """The module's options."""
    return {
        "packages": {"type": "list", "elements": "str", "default": []},
        "sysctl": {"type": "dict", "default": {}},
        "paths": {"type": "list", "elements": "path", "default": []},
        "readers": {"type": "dict", "default": {}},
        "ruleset": {"type": "str", "default": ""},
        **users_spec(),
    }


def look(module: AnsibleModule) -> dict[str, t.Any]:
    """Read everything."""
    params, run = module.params, module.run_command
    kernel = firewall.read(run)
    server = sshd.read(run)
    user = login_user()
    return {
        "missing_packages": facts.missing_packages(run, params["packages"]),
        "user_actions": [step.text for step in survey(parse(params["users"]), params["sudo"])],
        "sysctl": facts.sysctl(params["sysctl"]),
        "paths": [path for path in params["paths"] if os.path.exists(path)],
        "outdated": facts.outdated(run, params["readers"]),
        "firewall": {
            "installed": kernel.installed,
            "refused": kernel.refused,
            "loaded": kernel.table != "",
            "current": firewall.is_current(kernel, params["ruleset"]),
        },
        "container": facts.container(run),
        "ssh": {"version": facts.ssh_version(run), **facts.ssh_algorithms(run), "drop_in": server.text is not None, "proved": server.proved},
        "login": {"user": user, "groups": list(groups_of(user)), "address": facts.ssh_client_address()},
        "clock": time.time(),
        "reboot_required": os.path.exists("/run/reboot-required"),
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = look(module)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
