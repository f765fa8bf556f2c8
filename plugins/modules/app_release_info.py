#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say which releases of an application a host has, and which one is live."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release_info
version_added: "0.1.0"
short_description: Say which releases of an application a host has
description:
  - Reads the folder that the role C(app_host) keeps for an application. A folder that does not exist holds nothing.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
options:
  root:
    description: Folder of the application.
    type: path
    required: true
  environment_file:
    description: File of the application's environment, as systemd reads it, of which RV(environment) names the variables. Unset, none is read.
    type: path
seealso:
  - module: mainstay.ops.app_release
"""

EXAMPLES = r"""
- name: Discover | Read the releases
  mainstay.ops.app_release_info:
    root: /srv/shop
  register: releases
"""

RETURN = r"""
live:
  description: The newest record, empty before the first deployment.
  returned: success
  type: dict
  contains: &record
    release:
      description: Name of the release.
      type: str
    slot:
      description: The slot that it went live in.
      type: str
    previous:
      description: The release that a rollback leads to, empty if there is none.
      type: str
    kind:
      description: How it became live, as O(mainstay.ops.app_release#module:kind) says.
      type: str
    time:
      description: When, in UTC.
      type: str
    by:
      description: Who did it.
      type: str
  sample: {release: "2", slot: green, previous: "1", kind: deploy, time: "2026-11-22T18:00:00+00:00", by: ops@controller}
history:
  description: All records, oldest first.
  returned: success
  type: list
  elements: dict
  contains: *record
releases:
  description: The unpacked releases, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    release:
      description: Name.
      type: str
    sha256:
      description: Hash of the archive.
      type: str
    unpacked:
      description: When it was unpacked, in UTC.
      type: str
  sample: [{release: "2", sha256: 5c1c..., unpacked: "2026-11-22T18:00:00+00:00"}]
outdated:
  description:
    - The known releases that the database has no room for since it was contracted, in the order in which they were unpacked; those removed since come last.
    - Neither a rollback nor a deployment must lead there, unless the database was restored.
  returned: success
  type: list
  elements: str
  sample: []
slots:
  description: The release that each slot points at.
  returned: success
  type: dict
  sample: {blue: "1", green: "2"}
lock:
  description: Who deploys at the moment, empty if nobody does.
  returned: success
  type: dict
  sample: {owner: 20261122T180000-4711, by: ops@controller, since: 1795370400.0, renewed: 1795370400.0, controller: {host: controller, pid: 4711}}
environment:
  description: Names of the variables in O(environment_file) that are not empty; never what they are.
  returned: success
  type: list
  elements: str
  sample: [SHOP_DATABASE_URL]
platform:
  description: The distribution with its version, and the version of its Python.
  returned: success
  type: dict
  sample: {distribution: debian 13, python: 3.13.5}
free_bytes:
  description: Bytes that can be written below the folder.
  returned: success
  type: int
  sample: 53687091200
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Home
from ansible_collections.mainstay.ops.plugins.module_utils._release.host import environment_names, platform
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import plan_outdated


def describe(home: Home, environment_file: str | None) -> dict[str, t.Any]:
    """Everything that is known about the application's releases, and about the host as far as they depend on it."""
    state = home.read()
    return {
        "live": dataclasses.asdict(state.live) if state.live else {},
        "history": [dataclasses.asdict(record) for record in state.history],
        "releases": [dataclasses.asdict(release) for release in state.releases],
        "outdated": plan_outdated(state),
        "slots": dict(state.slots),
        "lock": dataclasses.asdict(state.lock) if state.lock else {},
        "free_bytes": home.free_bytes(),
        "environment": environment_names(environment_file) if environment_file else [],
        "platform": platform(),
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec={"root": {"type": "path", "required": True}, "environment_file": {"type": "path"}}, supports_check_mode=True)
    try:
        result = describe(Home(module.params["root"]), module.params["environment_file"])
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
