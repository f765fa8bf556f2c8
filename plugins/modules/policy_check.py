#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what does not meet the recovery policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: policy_check
version_added: "1.0.0"
short_description: Say what of backups and drills does not meet the recovery policy
description:
  - Compares what the stores hold, and what drills have proven, with what the policy asks for, part by part, and says for each finding what it is, why it
    counts, and what to do next. It only reads.
  - What nobody has looked at is a finding as well, and no success.
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.catalog
author:
  - Mainstay Operations (@mainstay)
options:
  policy:
    description:
      - What is asked for, by part. The parts are V(application), V(database), V(cache), V(files) and V(monitoring); those that are not named are not judged.
      - Each has these keys, all of which may be missing. V(recovery_time) and V(recovery_point), by default V(15m) and V(5m) for the application, V(30m) and
        V(15m) for the database, V(5m) and V(1m) for the cache, V(10m) and V(1h) for files, V(20m) and V(30m) for monitoring;
        V(backups), whether the part has backups of its own (V(true));
        V(frequency), how often a backup is due; V(on_calendar), when, for the role C(backup); V(retention), as
        O(mainstay.ops.pg_backup#module:retention); V(encryption), whether it is needed (V(true));
        V(copies), in how many further stores the newest backup must be (V(1)); V(drill_every), how long ago the last successful drill may be (V(8d), V(0) for
        no drills); V(drill_level), what it must have proven at least (V(restore)).
    type: dict
    required: true
  found:
    description: What the stores hold. A part may have several, such as the files of several hosts.
    type: list
    elements: dict
    default: []
    suboptions:
      part:
        description: The part.
        type: str
        required: true
        choices: [application, database, cache, files, monitoring]
      place:
        description: Where, for people.
        type: str
        required: true
      copy:
        description: Whether it is a further store, at another site.
        type: bool
        default: false
      listing:
        description:
          - What M(mainstay.ops.pg_backup_info), M(mainstay.ops.redis_snapshot_info) or M(mainstay.ops.files_backup_info) returned, also if it failed.
        type: dict
        required: true
  name:
    description: Name of the history of drills, as O(mainstay.ops.recovery_report#module:name).
    type: str
    required: false
  store:
    description: Store that holds the history of drills. Without it nothing was ever drilled.
    type: dict
    required: false
  fail_on:
    description: The module fails if there is a finding of this severity, or a worse one.
    type: str
    choices: [error, warning, never]
    default: never
seealso:
  - module: mainstay.ops.recovery_report
"""

EXAMPLES = r"""
- name: Read the catalogue
  mainstay.ops.pg_backup_info:
    name: ledger
    store:
      type: local
      path: /srv/backups
  register: database

- name: Say what does not meet the policy
  mainstay.ops.policy_check:
    policy:
      database: {recovery_point: 15m, frequency: 24h, copies: 0}
    found:
      - part: database
        place: /srv/backups
        listing: "{{ database }}"
    name: ledger
    store:
      type: local
      path: /srv/backups
    fail_on: error
"""

RETURN = r"""
actions:
  description: Nothing is ever done, so it is empty.
  returned: success
  type: list
  elements: str
  sample: []
findings:
  description: What does not meet the policy.
  returned: always, once the policy was read
  type: list
  elements: dict
  contains:
    part:
      description: The part.
      type: str
      returned: always
    severity:
      description: C(error) or C(warning).
      type: str
      returned: always
    what:
      description: What was found.
      type: str
      returned: always
    why:
      description: Why it counts.
      type: str
      returned: always
    next_step:
      description: What to do.
      type: str
      returned: always
met:
  description: By part, whether there is no finding of the severity C(error).
  returned: always, once the policy was read
  type: dict
  sample: {database: true}
drills:
  description: The newest lines of the history of drills, oldest first.
  returned: always, once the policy was read
  type: list
  elements: dict
"""

import dataclasses
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import open_store, store_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import history, policy


def found_of(given: dict[str, object]) -> policy.Found:
    """Return what one store holds."""
    listing = given["listing"]
    if "backups" in listing:
        return policy.Found(given["part"], given["place"], given["copy"], tuple(listing["backups"]))
    return policy.Found(given["part"], given["place"], given["copy"], None, str(listing.get("msg", "there is no listing")))


def judge(params: dict[str, object], now: float) -> dict[str, object]:
    """Read the history, and compare everything with the policy."""
    parts = policy.read(params["policy"])
    drills = history.read(open_store(params["store"]), params["name"]) if params["store"] else []
    findings = policy.check(parts, [found_of(given) for given in params["found"]], drills, now)
    at_fault = {finding.part for finding in findings if finding.severity == policy.ERROR}
    return {
        "changed": False,
        "actions": [],
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "met": {part.name: part.name not in at_fault for part in parts},
        "drills": drills,
    }


def main() -> None:
    """Run the module."""
    found = {
        "part": {"type": "str", "required": True, "choices": list(policy.TARGETS)},
        "place": {"type": "str", "required": True},
        "copy": {"type": "bool", "default": False},
        "listing": {"type": "dict", "required": True},
    }
    store = store_argument_spec()
    module = AnsibleModule(
        argument_spec={
            "policy": {"type": "dict", "required": True},
            "found": {"type": "list", "elements": "dict", "default": [], "options": found},
            "name": {"type": "str"},
            "store": {**store["store"], "required": False},
            "fail_on": {"type": "str", "choices": ["error", "warning", "never"], "default": "never"},
        },
        required_by={"store": ("name",)},
        supports_check_mode=True,
    )
    try:
        result = judge(module.params, time.time())
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    severe = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[module.params["fail_on"]]
    if said := [f"{finding['part']}: {finding['what']} ({finding['why']})" for finding in result["findings"] if finding["severity"] in severe]:
        module.fail_json(msg=f"The policy is not met. {'. '.join(said)}", **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
