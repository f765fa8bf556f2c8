#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leave the report of a recovery or of a drill."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_report
version_added: "1.0.0"
short_description: Report a recovery or a drill, and keep its line in the history
description:
  - Takes what a run did and measured, judges it, and leaves C(report.json), a page for people (C(report.html), without a script and without anything that is
    loaded from elsewhere), a line of the history in the store of the backups, and figures for Prometheus.
  - A run is a success if no phase and no check failed, every figure that has a target was measured and is within it, and something was checked at all.
    The module itself succeeds with either; RV(success) and RV(problems) say which it was.
  - Each line of the history is an object of its own, C(drills/NAME/TIME-HASH.json), which is never written again. So runs that end at the same moment
    lose neither's line, and lines can lie under an object lock. The page shows the newest 60 of them as a picture.
  - Nothing is written twice. The same run reported again changes nothing.
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.catalog
author:
  - Mainstay Operations (@mainstay)
options:
  title:
    description: What was done, for people.
    type: str
    required: true
  summary:
    description: A sentence or two for the reader.
    type: str
    default: ""
  operation:
    description: What kind of run it was.
    type: str
    choices: [drill, restore, failover, failback]
    default: drill
  level:
    description:
      - How much it proves.
      - V(verify) is backups that were opened, V(restore) backups that were restored and used, V(site) a site that took over.
    type: str
    choices: [verify, restore, site]
    default: restore
  name:
    description: What was recovered, such as the name of the catalogue or of the site. It names the history and the figures.
    type: str
    required: true
  started:
    description: When the run began, as a Unix time or in ISO 8601.
    type: raw
    required: true
  finished:
    description: When it ended.
    type: raw
    required: true
  phases:
    description: The steps of the run, in their order.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What was done.
        type: str
        required: true
      started:
        description: When it began, as O(started).
        type: raw
        required: true
      seconds:
        description: How long it took.
        type: float
        required: true
      outcome:
        description: How it ended.
        type: str
        choices: [ok, failed, skipped]
        default: ok
  targets:
    description:
      - Figures, by their names in O(measured), and what they must not exceed.
      - A number, or a duration with one of the units V(s), V(m), V(h), V(d), V(w).
    type: dict
    default: {}
  measured:
    description: Figures that were measured. The ends C(_seconds), C(_bytes) and C(_percent) of their names are their units.
    type: dict
    default: {}
  evidence:
    description: What was checked.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What was promised.
        type: str
        required: true
      outcome:
        description: Whether it held.
        type: str
        choices: [ok, failed, skipped]
        required: true
      seen:
        description: What was seen.
        type: str
        default: ""
  lost:
    description: What was lost, a sentence each. Empty if nothing was. Without it the report says that nobody looked.
    type: list
    elements: str
  dest:
    description: Folder for the report and the page, which is made if only its parent exists. Without it neither is written.
    type: path
  store:
    description: Store of the backups, which holds the history too. Without it there is no history.
    type: dict
    required: false
  metrics:
    description:
      - File for the textfile collector of the node exporter, which must end in C(.prom). Several runs with different levels and names may share it.
      - It has C(mainstay_drill_last_success_timestamp_seconds), C(mainstay_drill_success), C(mainstay_drill_seconds) and others, with the labels
        C(name) and C(level).
    type: path
  late_after:
    description: How long ago the last success may be, for the alert. Seconds, or with a unit as in O(targets).
    type: str
seealso:
  - module: mainstay.ops.backup_metrics
"""

EXAMPLES = r"""
- name: Report a drill
  mainstay.ops.recovery_report:
    title: Drill of ledger
    name: ledger
    level: restore
    started: "2026-11-22T03:00:00Z"
    finished: "2026-11-22T03:04:10Z"
    phases:
      - name: restore PostgreSQL
        started: "2026-11-22T03:00:02Z"
        seconds: 201.4
    targets:
      rto_seconds: 30m
    measured:
      rto_seconds: 248.0
    evidence:
      - name: The application answers
        outcome: ok
        seen: GET /health gave 200
    lost: []
    dest: /srv/drills/20261122T030000Z
    store:
      type: local
      path: /srv/backups
    metrics: /var/lib/prometheus/node-exporter/mainstay-drill.prom
    late_after: 8d
  register: report

- name: Fail if the drill did
  ansible.builtin.assert:
    that: report.success
    fail_msg: "{{ report.problems | join('; ') }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [add drills/ledger/20261122T030410Z-0123456789ab.json to the history in /srv/backups]
success:
  description: Whether the run was a success.
  returned: success
  type: bool
problems:
  description: Why it was none, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["rto_seconds is 41 min, its target is 30 min"]
report:
  description: What C(report.json) holds.
  returned: success
  type: dict
history:
  description: The newest lines of the history, oldest first, with this run.
  returned: success
  type: list
  elements: dict
diff:
  description: The files that change, without the page.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import open_store, parse_duration, store_argument_spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import leave, record


def argument_spec() -> dict[str, object]:
    """Return the module's options."""
    outcomes = {"type": "str", "choices": list(record.OUTCOMES)}
    phase = {
        "name": {"type": "str", "required": True},
        "started": {"type": "raw", "required": True},
        "seconds": {"type": "float", "required": True},
        "outcome": {**outcomes, "default": "ok"},
    }
    check = {"name": {"type": "str", "required": True}, "outcome": {**outcomes, "required": True}, "seen": {"type": "str", "default": ""}}
    return {
        "title": {"type": "str", "required": True},
        "summary": {"type": "str", "default": ""},
        "operation": {"type": "str", "choices": ["drill", "restore", "failover", "failback"], "default": "drill"},
        "level": {"type": "str", "choices": list(record.LEVELS), "default": "restore"},
        "name": {"type": "str", "required": True},
        "started": {"type": "raw", "required": True},
        "finished": {"type": "raw", "required": True},
        "phases": {"type": "list", "elements": "dict", "default": [], "options": phase},
        "targets": {"type": "dict", "default": {}},
        "measured": {"type": "dict", "default": {}},
        "evidence": {"type": "list", "elements": "dict", "default": [], "options": check},
        "lost": {"type": "list", "elements": "str"},
        "dest": {"type": "path"},
        "store": {**store_argument_spec()["store"], "required": False},
        "metrics": {"type": "path"},
        "late_after": {"type": "str"},
    }


def ensure_reported(params: dict[str, object], check_mode: bool) -> dict[str, object]:
    """Judge the run, and leave what is not there yet."""
    run = record.read(params)
    store = open_store(params["store"]) if params["store"] else None
    late = parse_duration(str(params["late_after"])) if params["late_after"] else None
    left = leave.leave(leave.Places(params["dest"], store, params["metrics"], late), run, check_mode)
    return {
        "changed": bool(left.actions),
        "actions": left.actions,
        "success": run.success,
        "problems": run.problems,
        "report": run.report(),
        "history": left.history,
        "diff": left.diff(),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        module.exit_json(**ensure_reported(module.params, module.check_mode))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
