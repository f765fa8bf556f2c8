#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_release_info
short_description: Tell which releases of an application went live on Amazon ECS
version_added: "1.0.0"
description:
  - Reads what M(mainstay.ops.ecs_release) has recorded. Changes nothing.
options:
  cluster:
    description: Name or ARN of the cluster.
    type: str
    required: true
  name:
    description: Name of what is deployed, as M(mainstay.ops.ecs_bluegreen) has it.
    type: str
    required: true
  task_definition:
    description: ARN of a task definition, usually of the one that serves, whose release is asked for.
    type: str
    default: ""
  parameter_name:
    description: Name of the parameter of Systems Manager. By default C(/mainstay/releases/CLUSTER/NAME).
    type: str
notes:
  - 'Permissions: see the collection''s page about AWS, which lists them as a policy.'
seealso:
  - module: mainstay.ops.ecs_release
  - module: mainstay.ops.ecs_bluegreen_info
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: See what went live
  mainstay.ops.ecs_release_info:
    cluster: shop
    name: web
  register: web
"""

RETURN = r"""
release:
  description: The release that O(task_definition) is; empty if that is not known.
  type: str
  returned: success
  sample: "2"
previous:
  description: The release that a rollback from it leads to; empty if there is none.
  type: str
  returned: success
  sample: "1"
releases:
  description: The ARN of the task definition of each release.
  type: dict
  returned: success
history:
  description: What went live, newest last, each with C(release), C(slot) (the colour), C(previous), C(kind), C(time) (UTC) and C(by).
  type: list
  elements: dict
  returned: success
"""

import dataclasses
import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.releases import Releases, default_name, serving
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "cluster": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        "task_definition": {"type": "str", "default": ""},
        "parameter_name": {"type": "str"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        found = Releases(client(module, "ssm"), params["parameter_name"] or default_name(params["cluster"], params["name"])).read()
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    release, previous = serving(found, params["task_definition"])
    history = [dataclasses.asdict(record) for record in found.history]
    module.exit_json(changed=False, release=release, previous=previous, releases=dict(found.definitions), history=history)


if __name__ == "__main__":
    main()
