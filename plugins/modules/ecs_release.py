#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ecs_release
short_description: Record which release of an application went live on Amazon ECS
version_added: "1.0.0"
description:
  - Keeps which task definition each release is, what went live when and by whom, and what a rollback leads to, as M(mainstay.ops.app_release) does on a host.
  - The place is a parameter of Systems Manager. It has room for some fifteen records; the oldest are forgotten.
  - Which release serves is never read from here, but from the listener rule and the services. See M(mainstay.ops.ecs_bluegreen_info).
options:
  cluster:
    description: Name or ARN of the cluster.
    type: str
    required: true
  name:
    description: Name of what is deployed, as M(mainstay.ops.ecs_bluegreen) has it.
    type: str
    required: true
  release:
    description: Name of the release.
    type: str
    required: true
  slot:
    description: The colour in which it is live.
    type: str
    choices: [blue, green]
    required: true
  task_definition:
    description: ARN of its task definition.
    type: str
    required: true
  kind:
    description:
      - How the release became live.
      - After V(rollback), a further rollback leads further back, never to the release that was left.
    type: str
    choices: [deploy, canary, rollback]
    default: deploy
  by:
    description: Who did it.
    type: str
    default: ""
  before:
    description: The release that served before. It is recorded first if that was not done, so that a rollback leads to it.
    type: dict
    suboptions:
      release:
        description: Name of the release.
        type: str
        required: true
      slot:
        description: The colour in which it was live.
        type: str
        choices: [blue, green]
        required: true
      task_definition:
        description: ARN of its task definition.
        type: str
        required: true
  parameter_name:
    description: Name of the parameter of Systems Manager. By default C(/mainstay/releases/CLUSTER/NAME).
    type: str
notes:
  - 'Permissions: see the collection''s page about AWS, which lists them as a policy.'
seealso:
  - module: mainstay.ops.ecs_release_info
  - module: mainstay.ops.ecs_bluegreen
extends_documentation_fragment:
  - mainstay.ops.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Record what was deployed
  mainstay.ops.ecs_release:
    cluster: shop
    name: web
    release: "2"
    slot: "{{ deployed.live_color }}"
    task_definition: "{{ deployed.task_definition }}"
    by: ops@controller
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  type: list
  elements: str
  returned: success
  sample: ["record release 2 as live in green"]
live:
  description: The newest record, with C(release), C(slot), C(previous), C(kind), C(time) (UTC) and C(by).
  type: dict
  returned: success
diff:
  description: The newest record before and after, in words.
  type: dict
  returned: success
"""

import dataclasses
import time
import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.bluegreen_plan import COLOURS
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.releases import Ledger, Releases, default_name, plan_live, serving
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import Record, check_name, describe


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    what: dict[str, t.Any] = {
        "release": {"type": "str", "required": True},
        "slot": {"type": "str", "choices": list(COLOURS), "required": True},
        "task_definition": {"type": "str", "required": True},
    }
    return {
        "cluster": {"type": "str", "required": True},
        "name": {"type": "str", "required": True},
        **what,
        "kind": {"type": "str", "choices": ["deploy", "canary", "rollback"], "default": "deploy"},
        "by": {"type": "str", "default": ""},
        "before": {"type": "dict", "options": what},
        "parameter_name": {"type": "str"},
    }


def planned(found: Ledger, params: t.Mapping[str, t.Any]) -> Ledger:
    """Return what shall be recorded."""
    before, wanted = params["before"], found

    def is_live(definition: str) -> bool:
        return found.live is not None and serving(found, definition)[0] == found.live.release

    if before and not is_live(before["task_definition"]) and not is_live(params["task_definition"]):
        check_name("release", before["release"])
        wanted = plan_live(wanted, before["release"], before["slot"], before["task_definition"], "deploy", "", "")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return plan_live(wanted, check_name("release", params["release"]), params["slot"], params["task_definition"], params["kind"], now, params["by"])


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    params = module.params
    try:
        releases = Releases(client(module, "ssm"), params["parameter_name"] or default_name(params["cluster"], params["name"]))
        found = releases.read()
        wanted = planned(found, params)
        changed = wanted != found
        if changed and not module.check_mode:
            releases.write(wanted)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    actions = [f"record release {params['release']} as live in {params['slot']}"] if changed else []
    diff = {"before": f"{describe(found.live)}\n", "after": f"{describe(wanted.live)}\n"}
    module.exit_json(changed=changed, actions=actions, live=dataclasses.asdict(wanted.live or Record("", "")), diff=diff)


if __name__ == "__main__":
    main()
