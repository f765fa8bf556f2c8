#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: route53_failover_info
short_description: Tell where a name that fails over in Route 53 points now
version_added: "1.0.0"
description:
  - Reads the records that M(mainstay.ops.route53_failover) keeps, who is active since when, and what the health checks say.
options:
  zone:
    description: Name of the hosted zone. One of O(zone) and O(hosted_zone_id) is needed.
    type: str
  hosted_zone_id:
    description: Identifier of the hosted zone.
    type: str
  private_zone:
    description: Whether O(zone) is a private one.
    type: bool
    default: false
  name:
    description: The name.
    type: str
    required: true
  switch_url:
    description:
      - What the checkers of a pair that hangs on a switch ask for, as RV(mainstay.ops.route53_failover#module:switch.url) tells it.
        With it the active side is told even if Route 53's API does not answer.
    type: str
notes:
  - 'Permissions: C(route53:ListHostedZonesByName), C(route53:ListResourceRecordSets), C(route53:GetHealthCheckStatus), and
    C(route53:ListHealthChecks) for a pair that hangs on a switch.'
seealso:
  - module: mainstay.ops.route53_failover
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: See which region serves
  mainstay.ops.route53_failover_info:
    zone: example.com
    name: www.example.com
  register: live
"""

RETURN = r"""
active:
  description:
    - V(auto), V(primary), V(secondary), V(absent) or V(unknown). A pinned pair is what the TXT record beside it says.
    - A pair that hangs on a switch is what the objects say that its checkers see; it is V(unknown) if they cannot be read from here.
  type: str
  returned: success
method:
  description: V(failover), V(weighted) or V(s3_switch).
  type: str
  returned: success
control_plane:
  description: Whether Route 53's API answered. If not, what it knows is empty.
  type: bool
  returned: success
switch_url:
  description: What the checkers of a pair that hangs on a switch ask for, else empty.
  type: str
  returned: success
zone_id:
  description: Identifier of the hosted zone.
  type: str
  returned: success
records:
  description: The records, one a line.
  type: list
  elements: str
  returned: success
foreign:
  description: Those that do not belong to a pair.
  type: list
  elements: str
  returned: success
fingerprint:
  description: A word for the state of the records or of the switch, for C(expect_fingerprint) of M(mainstay.ops.route53_failover).
  type: str
  returned: success
last_switch:
  description: The side that the last switch made active, and when (C(at), Unix time). Empty if there was none.
  type: dict
  returned: success
health:
  description: Whether Route 53's checkers find each health check's endpoint well, by identifier; null if none has looked yet.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover_info import inspect
from ansible_collections.mainstay.ops.plugins.module_utils._aws.route53 import Route53
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "zone": {"type": "str"},
        "hosted_zone_id": {"type": "str"},
        "private_zone": {"type": "bool", "default": False},
        "name": {"type": "str", "required": True},
        "switch_url": {"type": "str"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("zone", "hosted_zone_id")],
        mutually_exclusive=[("zone", "hosted_zone_id")],
    )
    try:
        api = Route53(client(module, "route53", impatient=module.params["switch_url"] is not None))
        module.exit_json(**inspect(api, module.params))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
