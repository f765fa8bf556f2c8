#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_platform_info
short_description: What there is of a platform on AWS, and what stands in the way of making it
version_added: "1.0.0"
description:
  - Reads what there is of a platform that the role P(mainstay.ops.aws_platform#role) makes, and finds what would stop the role half way. Permissions by
    IAM's simulator, zones, quotas, certificates, stacks that cannot be changed, buckets that are left from before.
  - All that stands in the way is returned at once, in RV(problems); the module fails only if it cannot look.
options:
  name:
    description: Name of the platform.
    type: str
    required: true
  standby_region:
    description: The second region, if there is one.
    type: str
  distribution:
    description: Whether there is a distribution of CloudFront.
    type: bool
    default: false
  addresses:
    description: How many Elastic IP addresses a new platform needs.
    type: int
    default: 1
  certificate:
    description: ARN of the certificate of the load balancer.
    type: str
  distribution_certificate:
    description: ARN of the certificate of the distribution, in us-east-1.
    type: str
  state:
    description: What the platform shall be. With V(absent), what only stands in the way of making it is no problem.
    type: str
    choices: [present, absent]
    default: present
notes:
  - The simulator of IAM knows neither conditions nor the policies of an organisation. What it does not find fails later, and CloudFormation rolls that back.
seealso:
  - module: mainstay.ops.ecs_bluegreen_pair
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: See what stands in the way
  mainstay.ops.aws_platform_info:
    name: shop
    standby_region: eu-west-1
    certificate: "{{ certificate_arn }}"
  register: platform

- name: Stop before anything is changed
  ansible.builtin.assert:
    that: platform.problems | length == 0
    fail_msg: "{{ platform.problems | join('. ') }}"
"""

RETURN = r"""
account:
  description: Number of the account.
  type: str
  returned: success
caller:
  description: ARN of who calls.
  type: str
  returned: success
stacks:
  description: For each stack that belongs to the platform C(status), C(parameters) and C(outputs); empty for one that is not made yet.
  type: dict
  returned: success
outputs:
  description: The outputs alone, by stack.
  type: dict
  returned: success
zones:
  description: Three zones of C(main) and of C(standby).
  type: dict
  returned: success
buckets:
  description: For each bucket V(free) (there is none), V(taken) by another account, V(empty), or V(full).
  type: dict
  returned: success
database:
  description: C(status) and C(protected) of the database, empty if there is none.
  type: dict
  returned: success
problems:
  description: What stands in the way, each with the next step.
  type: list
  elements: str
  returned: success
  sample: ["eu-central-1 lacks room for 3 more addresses, there is room for 2; ask Service Quotas for more"]
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.platform import GLOBAL_REGION, Account, Wishes, inspect
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "name": {"type": "str", "required": True},
        "standby_region": {"type": "str"},
        "distribution": {"type": "bool", "default": False},
        "addresses": {"type": "int", "default": 1},
        "certificate": {"type": "str"},
        "distribution_certificate": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    }


def wishes_of(module: AnsibleAWSModule) -> Wishes:
    """Return what is asked about."""
    params = module.params
    regions = {"main": module.region}
    if params["distribution"]:
        regions["edge"] = GLOBAL_REGION
    if params["standby_region"]:
        regions["standby"] = params["standby_region"]
    return Wishes(
        params["name"], regions, params["addresses"], params["certificate"] or "", params["distribution_certificate"] or "", params["state"] == "absent"
    )


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(argument_spec=argument_spec(), supports_check_mode=True)
    if not module.region:
        module.fail_json(msg="could not look at the platform: there is no region; give region, or set AWS_REGION")
    try:
        result = inspect(Account(lambda service, region: client(module, service, region=region)), wishes_of(module))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
