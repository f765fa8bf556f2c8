#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make and remove the hosts of a lab."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lab_hosts
short_description: Make and remove the hosts of a lab
version_added: "0.1.0"
description:
  - Makes real Debian hosts on one machine, each a container that boots systemd and is reached over SSH, with a network of their own and a cache for packages.
  - Works with podman or Docker, without an image registry. The image is built from Debian packages once and kept.
  - Must run as root, since the hosts have addresses that this machine reaches.
  - Where the hosts need more than the kernel's C(fs.inotify.max_user_instances), which 13 do by its default, it is raised until this machine boots again.
author:
  - Mainstay Operations (@mainstay)
extends_documentation_fragment:
  - mainstay.ops.attributes
attributes:
  check_mode: {}
  diff_mode: {}
options:
  name:
    description:
      - Name of the lab. The prefix of its containers and the name of its network.
    type: str
    required: true
  state:
    description:
      - V(present) has all hosts running. A second run changes nothing.
      - V(absent) leaves no container and no network of the lab behind. The image and the downloaded packages are kept.
    type: str
    choices: [present, absent]
    default: present
  hosts:
    description:
      - The hosts. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the host, as in the inventory.
        type: str
        required: true
      address:
        description: Its fixed address, within O(subnet).
        type: str
        required: true
      image:
        description: The Debian release that it runs. The default is O(image).
        type: str
        choices: [debian12, debian13]
  subnet:
    description:
      - The network of the lab as CIDR. The engine takes its first address, the package cache its second.
    type: str
  image:
    description:
      - The Debian release that the hosts run.
    type: str
    choices: [debian12, debian13]
    default: debian13
  runtime:
    description:
      - The container engine. V(auto) takes podman, or else Docker.
    type: str
    choices: [auto, podman, docker]
    default: auto
  keys_dir:
    description:
      - Folder with a file of authorised SSH keys named C(ops), the user that Ansible logs in as.
    type: path
  cache_dir:
    description:
      - Folder that keeps downloaded packages.
    type: path
"""

EXAMPLES = r"""
- name: Make two hosts
  mainstay.ops.lab_hosts:
    name: lab
    subnet: 10.89.77.0/24
    hosts:
      - {name: app1, address: 10.89.77.21}
      - {name: app2, address: 10.89.77.22}
    keys_dir: ~/.local/state/mainstay/lab/keys
    cache_dir: ~/.cache/mainstay/lab

- name: Remove them
  mainstay.ops.lab_hosts:
    name: lab
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["create container lab-app1"]
created:
  description: Names of the hosts that are new, whose facts and SSH host keys are therefore new as well.
  returned: success
  type: list
  elements: str
  sample: ["app1"]
runtime:
  description: The container engine in use.
  returned: success
  type: str
  sample: podman
known_hosts:
  description: For each running host a line for a known_hosts file, read through the engine.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._lab.hosts import Host, Lab, bring_up, host_key, take_down
from ansible_collections.mainstay.ops.plugins.module_utils._lab.image import Image
from ansible_collections.mainstay.ops.plugins.module_utils._lab.runtime import Runtime, find_runtime


def ensure_present(module: AnsibleModule, runtime: Runtime) -> dict[str, t.Any]:
    """Have all hosts running and return the module's result."""
    params = module.params
    lab = Lab(
        name=params["name"],
        subnet=params["subnet"],
        image=Image(params["image"]),
        hosts=tuple(Host(host["name"], host["address"], Image(host["image"] or params["image"])) for host in params["hosts"]),
        keys_dir=params["keys_dir"],
        cache_dir=params["cache_dir"],
    )
    plan = bring_up(runtime, lab, module.check_mode)
    made = {action.name for action in plan if action.kind == "container" and action.verb in ("create", "replace")}
    keys = {} if module.check_mode and plan else {host.address: host_key(runtime, lab.container(host.name)) for host in lab.hosts}
    return {
        "actions": [str(action) for action in plan],
        "created": [host.name for host in lab.hosts if lab.container(host.name) in made],
        "known_hosts": [f"{address} {key}" for address, key in keys.items() if key],
    }


def ensure_absent(module: AnsibleModule, runtime: Runtime) -> dict[str, t.Any]:
    """Remove the lab and return the module's result."""
    plan = take_down(runtime, module.params["name"], module.check_mode)
    return {"actions": [str(action) for action in plan], "created": [], "known_hosts": []}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "hosts": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "image": {"type": "str", "choices": ["debian12", "debian13"]},
                },
            },
            "subnet": {"type": "str"},
            "image": {"type": "str", "choices": ["debian12", "debian13"], "default": "debian13"},
            "runtime": {"type": "str", "choices": ["auto", "podman", "docker"], "default": "auto"},
            "keys_dir": {"type": "path", "no_log": False},
            "cache_dir": {"type": "path"},
        },
        required_if=[("state", "present", ("hosts", "subnet", "keys_dir", "cache_dir"))],
        supports_check_mode=True,
    )
    ensure = {"present": ensure_present, "absent": ensure_absent}[module.params["state"]]
    try:
        runtime = find_runtime(module.params["runtime"])
        result = ensure(module, runtime)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    changes = "".join(f"{action}\n" for action in result["actions"])
    module.exit_json(changed=bool(changes), runtime=runtime.name, diff={"before": "", "after": changes}, **result)


if __name__ == "__main__":
    main()
