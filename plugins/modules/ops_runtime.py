#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have this collection ready to run on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ops_runtime
version_added: "1.0.0"
short_description: Have a pinned ansible-core with this collection on a host, so that it runs the modules by itself
description:
  - Makes a virtual environment with one version of ansible-core and the collection of the controller, for jobs that the host starts itself,
    such as the backups that the role C(backup) schedules.
  - Both come from the controller, and are transferred only if the host lacks them. The host needs no package index.
  - What ansible-core needs in turn comes from the host's packages, which are C(python3-venv), C(python3-jinja2), C(python3-yaml),
    C(python3-cryptography), C(python3-packaging) and C(python3-resolvelib) on Debian.
  - Runtimes lie side by side. A new one is complete and was tried before the link C(venv) leads to it, and a job that is running keeps the old one.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  path:
    description: Folder for the runtimes and the link C(venv).
    type: path
    default: /opt/mainstay
  ansible_core:
    description: Version of ansible-core. The host's Python must be one that it supports.
    type: str
    required: true
  sha256:
    description: SHA-256 of its wheel.
    type: str
    required: true
  wheel:
    description: Path of the wheel on the controller. It is needed only where something has to be installed.
    type: path
  keep:
    description: How many older runtimes stay when a new one comes.
    type: int
    default: 1
  collection_sha256:
    description: The collection's content. Set by the module's controller side, never by a task.
    type: str
  uploaded:
    description: Folder on the host to which wheel and collection were transferred. Set by the module's controller side, never by a task.
    type: path
"""

EXAMPLES = r"""
- name: Install | Have the runtime of the scheduled backups
  mainstay.ops.ops_runtime:
    ansible_core: 2.19.14
    sha256: d518d0e96fa75bedfe9b0a96d5b158aa712d092961824c115140c8677b88ff06
    wheel: /srv/wheels/ansible_core-2.19.14-py3-none-any.whl
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: ["install ansible-core 2.19.14 and mainstay.ops 1f6f0a0c9d35 on Python 3.13", use runtime-2c1743a391bf]
path:
  description: Folder of the runtime.
  returned: success
  type: str
  sample: /opt/mainstay/runtime-2c1743a391bf
link:
  description: The link to it that services use.
  returned: success
  type: str
  sample: /opt/mainstay/venv
runtime:
  description: What it is made of (C(ansible_core), C(wheel_sha256), C(collection_sha256), C(python)).
  returned: success
  type: dict
missing:
  description: Whether it was not there yet, so that wheel and collection are transferred.
  returned: success
  type: bool
  sample: true
removed:
  description: Names of the older runtimes that were removed.
  returned: success
  type: list
  elements: str
  sample: []
diff:
  description: The runtime in use, before and after.
  returned: success
  type: dict
  sample: {before: "none\n", after: "runtime-2c1743a391bf\n"}
"""

import dataclasses
import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._schedule.runtime import PREFIX, Home, Runtime, apply, plan


def ensure_present(module: AnsibleModule) -> dict[str, object]:
    """Install what is missing; without the files that are transferred, say whether they are needed."""
    params = module.params
    if not params["collection_sha256"]:
        raise InvalidInput("install the runtime", "the collection is not named", "run the module through its action plugin")
    home, runtime = Home(params["path"]), Runtime(params["ansible_core"], params["sha256"].lower(), params["collection_sha256"])
    planned, before = plan(home, runtime, params["keep"]), home.current() or "none"
    folder = params["uploaded"] or ""
    if not module.check_mode and (folder or not planned.install):
        wheel, bundle = (os.path.join(folder, name) for name in (f"ansible_core-{runtime.ansible_core}-py3-none-any.whl", "collection.zip"))
        apply(home, runtime, planned, wheel, bundle, lambda argv, more: module.run_command(argv, environ_update=more))
    actions = planned.actions(runtime)
    return {
        "changed": bool(actions),
        "actions": actions,
        "path": home.path(runtime),
        "link": home.link,
        "runtime": dataclasses.asdict(runtime),
        "missing": planned.install,
        "removed": list(planned.remove),
        "diff": {"before": f"{before}\n", "after": f"{PREFIX}{runtime.id}\n"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/opt/mainstay"},
            "ansible_core": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "wheel": {"type": "path"},
            "keep": {"type": "int", "default": 1},
            "collection_sha256": {"type": "str"},
            "uploaded": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**ensure_present(module))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
