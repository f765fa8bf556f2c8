#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: route53_failover
short_description: Point a name at one of two sides in Route 53, in one batch, and only if that is safe
version_added: "1.0.0"
description:
  - Keeps a pair of records for a name. Health checks decide between the two (O(active=auto)), or the name is pinned to one side.
  - All records, A and AAAA, and a TXT record that says who is active since when, change in one batch that Route 53 makes in whole or not at all.
    It is refused if somebody else has written meanwhile; then nothing is overwritten, and both versions are reported.
  - A name that is pinned to a side holds this side in both records. There is no way back by itself, whatever health checks say.
  - Refuses a side that is not fit, a switch soon after another, a live state that is not the expected one, and records that it has not made.
  - DNS fences nothing. Stop writers of the old side, and promote its databases' replicas, before the name is moved.
  - Records are changed through an API in one AWS region (us-east-1). With O(active=auto) the name moves even when that region is down, and with
    O(method=s3_switch) it can be moved then.
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
    description: The name whose records are kept. The TXT record's is C(_failover.) before it.
    type: str
    required: true
  state:
    description: Whether the records are there. V(absent) removes them and the health checks that this module has made.
    type: str
    choices: [present, absent]
    default: present
  method:
    description:
      - V(failover) makes failover records. Unless they are aliases, both sides need a health check.
      - V(weighted) makes weighted records of 100 and 0 without health checks.
      - V(s3_switch) makes failover records that hang on an object in a bucket, see O(switch). While the object is there, the secondary is answered.
        A move puts or removes the object, and needs no API of Route 53 once the records are there. No health check of a side is involved, so give probes.
    type: str
    choices: [failover, weighted, s3_switch]
    default: failover
  active:
    description: The side that answers. V(auto) lets health checks decide, with V(failover) only.
    type: str
    choices: [auto, primary, secondary]
    default: auto
  primary:
    description: One side.
    type: dict
    required: true
    suboptions:
      identifier:
        description: The C(SetIdentifier) of its record. By default V(primary) or V(secondary), as the side is called.
        type: str
      addresses:
        description: IPv4 and IPv6 addresses. Both sides need the same kinds; A and AAAA records move in one batch.
        type: list
        elements: str
      alias:
        description: An AWS resource, such as a load balancer, instead of O(primary.addresses).
        type: dict
        suboptions:
          zone_id:
            description: The hosted zone of the resource, for a load balancer its C(CanonicalHostedZoneId).
            type: str
            required: true
          dns_name:
            description: The resource's name.
            type: str
            required: true
          types:
            description: The record types.
            type: list
            elements: str
            choices: [A, AAAA]
            default: [A]
          evaluate_target_health:
            description:
              - Whether the resource's own health counts. A load balancer with an empty target group, as the idle one of a blue/green pair is, may count as ill.
              - A health check on a path of the application is the safer choice.
            type: bool
            default: false
      health_check:
        description:
          - A health check that this module makes, changes and removes. Type and interval of one that is there cannot change, so a new one takes its place.
        type: dict
        suboptions:
          type:
            description: What is checked.
            type: str
            choices: [HTTP, HTTPS, HTTP_STR_MATCH, HTTPS_STR_MATCH, TCP]
            default: HTTPS
          ip_address:
            description: The address. Without it, O(primary.health_check.fqdn) is resolved.
            type: str
          fqdn:
            description: The name that is sent as C(Host), and for TLS.
            type: str
          port:
            description: The port.
            type: int
            default: 443
          path:
            description: The path.
            type: str
          search_string:
            description: What must be in the first 5,120 bytes of the answer, with a type that ends with C(_STR_MATCH).
            type: str
          interval:
            description: Seconds between two checks of one checker.
            type: int
            choices: [10, 30]
            default: 30
          failure_threshold:
            description: So many checks in a row change the verdict.
            type: int
            default: 3
      health_check_id:
        description: A health check that is there, instead of O(primary.health_check). It is never changed.
        type: str
      probe:
        description: A request from here that has to succeed O(probes) times in a row before this side becomes the active one.
        type: dict
        suboptions:
          url:
            description: What is asked.
            type: str
            required: true
          status:
            description: The statuses that are right.
            type: list
            elements: int
            default: [200]
          body_regex:
            description: What the body must match.
            type: str
          connect_to:
            description: C(HOST:PORT) to connect to instead of the URL's host, so that a side is asked before its name points to it.
            type: str
          ca_cert:
            description: The only CA to trust.
            type: str
          validate_certs:
            description: Whether the certificate is verified.
            type: bool
            default: true
  secondary:
    description: The other side.
    type: dict
    required: true
    suboptions:
      identifier:
        description: The C(SetIdentifier) of its record. By default V(primary) or V(secondary), as the side is called.
        type: str
      addresses:
        description: IPv4 and IPv6 addresses. Both sides need the same kinds; A and AAAA records move in one batch.
        type: list
        elements: str
      alias:
        description: An AWS resource, such as a load balancer, instead of O(secondary.addresses).
        type: dict
        suboptions:
          zone_id:
            description: The hosted zone of the resource, for a load balancer its C(CanonicalHostedZoneId).
            type: str
            required: true
          dns_name:
            description: The resource's name.
            type: str
            required: true
          types:
            description: The record types.
            type: list
            elements: str
            choices: [A, AAAA]
            default: [A]
          evaluate_target_health:
            description:
              - Whether the resource's own health counts. A load balancer with an empty target group, as the idle one of a blue/green pair is, may count as ill.
              - A health check on a path of the application is the safer choice.
            type: bool
            default: false
      health_check:
        description:
          - A health check that this module makes, changes and removes. Type and interval of one that is there cannot change, so a new one takes its place.
        type: dict
        suboptions:
          type:
            description: What is checked.
            type: str
            choices: [HTTP, HTTPS, HTTP_STR_MATCH, HTTPS_STR_MATCH, TCP]
            default: HTTPS
          ip_address:
            description: The address. Without it, O(secondary.health_check.fqdn) is resolved.
            type: str
          fqdn:
            description: The name that is sent as C(Host), and for TLS.
            type: str
          port:
            description: The port.
            type: int
            default: 443
          path:
            description: The path.
            type: str
          search_string:
            description: What must be in the first 5,120 bytes of the answer, with a type that ends with C(_STR_MATCH).
            type: str
          interval:
            description: Seconds between two checks of one checker.
            type: int
            choices: [10, 30]
            default: 30
          failure_threshold:
            description: So many checks in a row change the verdict.
            type: int
            default: 3
      health_check_id:
        description: A health check that is there, instead of O(secondary.health_check). It is never changed.
        type: str
      probe:
        description: A request from here that has to succeed O(probes) times in a row before this side becomes the active one.
        type: dict
        suboptions:
          url:
            description: What is asked.
            type: str
            required: true
          status:
            description: The statuses that are right.
            type: list
            elements: int
            default: [200]
          body_regex:
            description: What the body must match.
            type: str
          connect_to:
            description: C(HOST:PORT) to connect to instead of the URL's host, so that a side is asked before its name points to it.
            type: str
          ca_cert:
            description: The only CA to trust.
            type: str
          validate_certs:
            description: Whether the certificate is verified.
            type: bool
            default: true
  switch:
    description:
      - The object that decides, with O(method=s3_switch). The bucket has to be there, and everybody, or at least Route 53's checkers, may read
        what is below O(switch.prefix) in it.
    type: dict
    suboptions:
      bucket:
        description: The bucket. Take one in the region of the secondary, so that nothing of the primary's region is needed.
        type: str
        required: true
      region:
        description: Its region.
        type: str
        required: true
      prefix:
        description:
          - Below it are the two objects, C(failover), which is there while the secondary is the active side, and C(state), which always is.
          - By default C(mainstay/) and O(name).
        type: str
      bucket_url:
        description: Where the bucket answers requests without credentials. By default C(https://BUCKET.s3.REGION.amazonaws.com).
        type: str
      interval:
        description: Seconds between two checks of one checker.
        type: int
        choices: [10, 30]
        default: 10
      failure_threshold:
        description: So many checks in a row change the verdict, 1 to 10. A move takes O(switch.interval) times this, and O(ttl).
        type: int
        default: 3
      check_readable:
        description: Whether to see first that C(state) can be read from here without credentials. Turn it off if only Route 53's checkers may.
        type: bool
        default: true
  ttl:
    description: Seconds that an answer may be kept. With health checks not more than 60, as AWS recommends. The alias of a resource has its own.
    type: int
    default: 60
  expect_active:
    description: Fail if this is not what is live. A decision that was made on an old view is not carried out.
    type: str
    choices: [absent, auto, primary, secondary]
  expect_fingerprint:
    description: Fail if the live records, or with O(method=s3_switch) the switch, have another fingerprint, as the info module returns it.
    type: str
  require_healthy:
    description:
      - Whether a side must be fit before the name is moved to it. Its health check must not fail, and its probe must succeed.
      - If neither says anything, it is not fit.
    type: bool
    default: true
  probes:
    description: So many probes in a row must succeed.
    type: int
    default: 3
  probe_timeout:
    description: Seconds that one probe may take.
    type: float
    default: 5
  force:
    description: Move the name although the side is not fit, or O(min_interval) is not over. Needs O(force_reason).
    type: bool
    default: false
  force_reason:
    description: Why. It is returned.
    type: str
  min_interval:
    description: Seconds between two switches, so that nothing flaps.
    type: int
    default: 600
  wait:
    description: Whether to wait until all name servers have a change of records. When checkers have found an object is seen with O(verify=authoritative).
    type: bool
    default: true
  wait_timeout:
    description: Seconds that this may take. If it takes longer the module fails, and says that the change is accepted all the same.
    type: int
    default: 300
  wait_ttl:
    description: Whether to wait until no resolver keeps the old answer any more.
    type: bool
    default: false
  verify:
    description:
      - How to look at what clients get. V(testdns) asks Route 53 what it answers, in public zones only, and not with O(method=s3_switch).
        V(authoritative) asks the name servers themselves.
      - A wrong answer makes the module fail. Nothing is switched back, since a name that goes to and fro is worse than one that stands still.
    type: str
    choices: [none, testdns, authoritative]
    default: none
  name_servers:
    description: Name servers for V(authoritative), as C(HOST) or C(HOST:PORT); those of the zone by default. O(method=s3_switch) needs them.
    type: list
    elements: str
notes:
  - 'Permissions: C(route53:ListHostedZonesByName), C(route53:GetHostedZone), C(route53:ListResourceRecordSets), C(route53:ChangeResourceRecordSets),
    C(route53:GetChange), C(route53:ListHealthChecks), C(route53:GetHealthCheckStatus), and for health checks of its own C(route53:CreateHealthCheck),
    C(route53:UpdateHealthCheck), C(route53:DeleteHealthCheck), C(route53:ChangeTagsForResource); C(route53:TestDNSAnswer) for O(verify=testdns);
    C(s3:ListBucket), C(s3:GetObject), C(s3:PutObject) and C(s3:DeleteObject) for O(method=s3_switch).'
seealso:
  - module: mainstay.ops.route53_failover_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Let health checks decide between two regions
  mainstay.ops.route53_failover:
    zone: example.com
    name: www.example.com
    primary: &frankfurt
      addresses: [192.0.2.10, "2001:db8:1::10"]
      health_check: {fqdn: www.example.com, ip_address: 192.0.2.10, path: /healthz, interval: 10}
      probe: {url: "https://www.example.com/healthz", connect_to: "192.0.2.10:443"}
    secondary: &dublin
      addresses: [198.51.100.10, "2001:db8:2::10"]
      health_check: {fqdn: www.example.com, ip_address: 198.51.100.10, path: /healthz, interval: 10}
      probe: {url: "https://www.example.com/healthz", connect_to: "198.51.100.10:443"}

- name: Pin the name to the other region, and see that every name server says so
  mainstay.ops.route53_failover:
    zone: example.com
    name: www.example.com
    primary: *frankfurt
    secondary: *dublin
    active: secondary
    expect_active: auto
    verify: authoritative

- name: Move the name to the other region while Route 53's API does not answer
  mainstay.ops.route53_failover:
    hosted_zone_id: Z0123456789ABCDEFGHIJ
    name: shop.example.com
    method: s3_switch
    switch: {bucket: example-switch-dublin, region: eu-west-1}
    primary:
      addresses: [192.0.2.10]
      probe: {url: "https://shop.example.com/healthz", connect_to: "192.0.2.10:443"}
    secondary:
      addresses: [198.51.100.10]
      probe: {url: "https://shop.example.com/healthz", connect_to: "198.51.100.10:443"}
    active: secondary
    verify: authoritative
    name_servers: [ns-1.awsdns-01.org, ns-2.awsdns-02.co.uk]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["make secondary the active side of www.example.com. (it was auto)"]
active:
  description: The side that is active now, or would be in check mode, or V(absent).
  type: str
  returned: success
previous_active:
  description: The side that was active before, V(absent), or V(unknown) if the records show none.
  type: str
  returned: success
method:
  description: The kind of records.
  type: str
  returned: success
zone_id:
  description: Identifier of the hosted zone; empty if it was not given, and Route 53's API did not answer.
  type: str
  returned: success
switch:
  description:
    - With O(method=s3_switch) the switch after the run, else empty. RV(switch.control_plane) is false if Route 53's API did not answer; then the records were
      not looked at, and RV(records) is empty.
  type: dict
  returned: success
  contains:
    bucket:
      description: Its bucket.
      type: str
      returned: with O(method=s3_switch)
    key:
      description: The object that is there while the secondary is the active side.
      type: str
      returned: with O(method=s3_switch)
    url:
      description: What the checkers ask for, for O(mainstay.ops.route53_failover_info#module:switch_url).
      type: str
      returned: with O(method=s3_switch)
    thrown:
      description: Whether the object is there, or would be in check mode.
      type: bool
      returned: with O(method=s3_switch)
    control_plane:
      description: Whether Route 53's API answered.
      type: bool
      returned: with O(method=s3_switch)
records:
  description: The records before and after, one a line.
  type: dict
  returned: success
fingerprint:
  description: A word for the state of the records now, for O(expect_fingerprint) of the next run.
  type: str
  returned: success
change_id:
  description: Identifier of the change; empty if nothing was sent, or if its answer was lost.
  type: str
  returned: success
change_status:
  description: V(INSYNC), V(PENDING) (without O(wait)), V(UNKNOWN) (its answer was lost, and the records show that it was made), V(planned) or V(unchanged).
  type: str
  returned: success
health:
  description: For each side that was looked at, what its health check says, whether it was probed, and what is wrong with it.
  type: dict
  returned: success
old_ttl:
  description: Seconds that resolvers may keep the old answer.
  type: int
  returned: success
effective_after:
  description: When the last resolver has forgotten the old answer, in UTC; empty if neither a record nor the switch has changed.
  type: str
  returned: success
forced:
  description: Whether O(force) was given.
  type: bool
  returned: success
force_reason:
  description: Why, with O(force).
  type: str
  returned: success
reason:
  description:
    - Why nothing was switched, or why it is not finished. One of V(foreign), V(stale_expectation), V(flap_guard), V(target_unhealthy), V(both_unhealthy),
      V(conflict), V(no_reply), V(not_in_sync), V(not_verified), and with O(method=s3_switch) V(no_switch), V(switch_unreadable), V(not_checked).
  type: str
  returned: failure, in these cases
diff:
  description: The records before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.mainstay.ops.plugins.module_utils._aws.client import client
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover import Failover
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover_plan import absolute
from ansible_collections.mainstay.ops.plugins.module_utils._aws.failover_switch import SwitchedFailover
from ansible_collections.mainstay.ops.plugins.module_utils._aws.route53 import Route53
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_object import SwitchObject
from ansible_collections.mainstay.ops.plugins.module_utils._aws.switch_plan import plan_switch
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def health_check_spec() -> dict[str, t.Any]:
    """Return the options of a health check."""
    kinds = ["HTTP", "HTTPS", "HTTP_STR_MATCH", "HTTPS_STR_MATCH", "TCP"]
    return {
        "type": {"type": "str", "choices": kinds, "default": "HTTPS"},
        "ip_address": {"type": "str"},
        "fqdn": {"type": "str"},
        "port": {"type": "int", "default": 443},
        "path": {"type": "str"},
        "search_string": {"type": "str"},
        "interval": {"type": "int", "choices": [10, 30], "default": 30},
        "failure_threshold": {"type": "int", "default": 3},
    }


def side_spec() -> dict[str, t.Any]:
    """Return the options of one side."""
    alias = {
        "zone_id": {"type": "str", "required": True},
        "dns_name": {"type": "str", "required": True},
        "types": {"type": "list", "elements": "str", "choices": ["A", "AAAA"], "default": ["A"]},
        "evaluate_target_health": {"type": "bool", "default": False},
    }
    probe = {
        "url": {"type": "str", "required": True},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "body_regex": {"type": "str"},
        "connect_to": {"type": "str"},
        "ca_cert": {"type": "str"},
        "validate_certs": {"type": "bool", "default": True},
    }
    options = {
        "identifier": {"type": "str"},
        "addresses": {"type": "list", "elements": "str"},
        "alias": {"type": "dict", "options": alias},
        "health_check": {"type": "dict", "options": health_check_spec()},
        "health_check_id": {"type": "str"},
        "probe": {"type": "dict", "options": probe},
    }
    return {"type": "dict", "required": True, "options": options}


def switch_spec() -> dict[str, t.Any]:
    """Return the options of the switch."""
    return {
        "bucket": {"type": "str", "required": True},
        "region": {"type": "str", "required": True},
        "prefix": {"type": "str"},
        "bucket_url": {"type": "str"},
        "interval": {"type": "int", "choices": [10, 30], "default": 10},
        "failure_threshold": {"type": "int", "default": 3},
        "check_readable": {"type": "bool", "default": True},
    }


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "zone": {"type": "str"},
        "hosted_zone_id": {"type": "str"},
        "private_zone": {"type": "bool", "default": False},
        "name": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "method": {"type": "str", "choices": ["failover", "weighted", "s3_switch"], "default": "failover"},
        "active": {"type": "str", "choices": ["auto", "primary", "secondary"], "default": "auto"},
        "primary": side_spec(),
        "secondary": side_spec(),
        "switch": {"type": "dict", "options": switch_spec()},
        "ttl": {"type": "int", "default": 60},
        "expect_active": {"type": "str", "choices": ["absent", "auto", "primary", "secondary"]},
        "expect_fingerprint": {"type": "str"},
        "require_healthy": {"type": "bool", "default": True},
        "probes": {"type": "int", "default": 3},
        "probe_timeout": {"type": "float", "default": 5},
        "force": {"type": "bool", "default": False},
        "force_reason": {"type": "str"},
        "min_interval": {"type": "int", "default": 600},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 300},
        "wait_ttl": {"type": "bool", "default": False},
        "verify": {"type": "str", "choices": ["none", "testdns", "authoritative"], "default": "none"},
        "name_servers": {"type": "list", "elements": "str"},
    }


def make_run(module: AnsibleAWSModule) -> Failover:
    """Return the run of the method that is asked for."""
    params = module.params
    api = Route53(client(module, "route53", "PriorRequestNotComplete"))
    if params["method"] != "s3_switch":
        return Failover(api, params, module.check_mode)
    switch = plan_switch(absolute(params["name"]), params["switch"])
    storage = SwitchObject(client(module, "s3", region=params["switch"]["region"]), switch)
    return SwitchedFailover(api, Route53(client(module, "route53", impatient=True)), storage, params, module.check_mode)


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[("zone", "hosted_zone_id")],
        mutually_exclusive=[("zone", "hosted_zone_id")],
        required_if=[("force", True, ["force_reason"])],
    )
    try:
        run = make_run(module)
        result = run.run()
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in run.warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
