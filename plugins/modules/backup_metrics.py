#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leave the figures of a scheduled backup for Prometheus."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_metrics
version_added: "1.0.0"
short_description: Write freshness, size and outcome of backups for Prometheus
description:
  - Turns what M(mainstay.ops.pg_backup_info), M(mainstay.ops.redis_snapshot_info), M(mainstay.ops.files_backup_info), M(mainstay.ops.rds_backup_info) or
    M(mainstay.ops.elasticache_backup_info) returned, and how a run ended, into a file for the textfile collector of the node exporter. It is replaced in one
    step.
  - What was learnt before is kept beside it. When the catalogue cannot be read, the times of the newest backups stand still instead of vanishing.
  - The jobs that the role C(backup) puts on hosts run it after every backup and verification, and every few minutes between them.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  path:
    description: The file, which must end in C(.prom). Its folder must exist. The state lies beside it with the ending C(.state).
    type: path
    required: true
  schedule:
    description: Name of the schedule.
    type: str
    required: true
  name:
    description: Name of the catalogue.
    type: str
    required: true
  kind:
    description: What is backed up.
    type: str
    required: true
    choices: [postgres, redis, files, rds, elasticache]
  method:
    description: How, as O(mainstay.ops.pg_backup#module:method); for Redis and in AWS it is always V(snapshot), for files V(tar).
    type: str
    default: logical
    choices: [logical, physical, snapshot, tar]
  backup_type:
    description: For O(method=physical), the type that is asked for. Backups of a stronger type count as well, those of a weaker one do not.
    type: str
    default: full
    choices: [full, differential, incremental]
  late_after:
    description:
      - How old the newest good backup may become, in seconds or with one of the units V(s), V(m), V(h), V(d), V(w).
      - The default is 1.3 times O(max_age), which is 26 hours for a daily backup with a O(max_age) of 20 hours.
    type: str
  max_age:
    description: A younger backup is not taken again, as O(mainstay.ops.pg_backup#module:max_age).
    type: str
    default: 20h
  verify_late_after:
    description: How long ago a backup may have been restored for trial. Without it nobody expects that.
    type: str
  listing:
    description: What the info module returned. Without it the catalogue could not be read.
    type: dict
  run:
    description: How a run ended. Without it nothing was run.
    type: dict
    suboptions:
      operation:
        description: What was run.
        type: str
        required: true
        choices: [backup, verify]
      success:
        description: Whether it did what it should.
        type: bool
        required: true
      mine:
        description: Whether this host was the one to do it. On a replicating cluster all hosts but one have nothing to do.
        type: bool
        default: true
      seconds:
        description: How long it took.
        type: float
        default: 0.0
seealso:
  - module: mainstay.ops.pg_backup_info
  - module: mainstay.ops.redis_snapshot_info
  - module: mainstay.ops.files_backup_info
  - module: mainstay.ops.rds_backup_info
  - module: mainstay.ops.elasticache_backup_info
"""

EXAMPLES = r"""
- name: Read the catalogue
  mainstay.ops.pg_backup_info:
    name: ledger
    store:
      type: local
      path: /srv/backups
  register: found

- name: Leave the figures
  mainstay.ops.backup_metrics:
    path: /var/lib/prometheus/node-exporter/ledger.prom
    schedule: nightly
    name: ledger
    kind: postgres
    listing: "{{ found }}"
    late_after: 26h
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [write /var/lib/prometheus/node-exporter/ledger.prom]
path:
  description: The file.
  returned: success
  type: str
  sample: /var/lib/prometheus/node-exporter/ledger.prom
state:
  description:
    - What is known, with C(since) and C(at) (Unix times), C(readable) (0 or 1), C(catalogue) (the figures of the backups)
      and C(runs) (timestamp, success, seconds and mine of the last run by operation).
  returned: success
  type: dict
diff:
  description: The file before and after.
  returned: success
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.spec import parse_duration
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import metrics


METHODS = {"redis": "snapshot", "files": "tar", "rds": "snapshot", "elasticache": "snapshot"}
"""The method of each kind that has one only."""


def schedule_of(params: dict[str, object]) -> metrics.Schedule:
    """Return what the figures are about."""
    if not str(params["path"]).endswith(".prom"):
        raise InvalidInput(f"write the figures to {params['path']}", "the collector reads only files that end in .prom")
    late = parse_duration(params["late_after"]) if params["late_after"] else int(parse_duration(params["max_age"]) * metrics.LATE_FACTOR)
    expected = parse_duration(params["verify_late_after"]) if params["verify_late_after"] else None
    return metrics.Schedule(
        schedule=params["schedule"],
        name=params["name"],
        kind=params["kind"],
        method=METHODS.get(str(params["kind"]), str(params["method"])),
        backup_type=params["backup_type"] if params["method"] == "physical" else "",
        late_after=late,
        verify_late_after=expected,
    )


def ensure_written(params: dict[str, object], check_mode: bool) -> dict[str, object]:
    """Add what was found to what is known, and write both."""
    schedule, path = schedule_of(params), str(params["path"])
    listing = params["listing"] if params["listing"] and "backups" in params["listing"] else None
    run = metrics.Run(**params["run"]) if params["run"] else None
    folder = path.rsplit("/", 1)[0]
    with metrics.locked(folder):
        before = metrics.read_state(f"{path}.state")
        after = metrics.learn(before, schedule, listing, run, round(time.time(), 3))
        if not check_mode:
            metrics.write(f"{path}.state", metrics.dump(after))
            metrics.write(path, metrics.render(schedule, after))
    texts = [metrics.render(schedule, state) if state else "" for state in (before, after)]
    return {"changed": True, "actions": [f"write {path}"], "path": path, "state": after, "diff": {"before": texts[0], "after": texts[1]}}


def main() -> None:
    """Run the module."""
    run = {
        "operation": {"type": "str", "required": True, "choices": ["backup", "verify"]},
        "success": {"type": "bool", "required": True},
        "mine": {"type": "bool", "default": True},
        "seconds": {"type": "float", "default": 0.0},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "schedule": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True, "choices": ["postgres", *METHODS]},
            "method": {"type": "str", "default": "logical", "choices": ["logical", "physical", "snapshot", "tar"]},
            "backup_type": {"type": "str", "default": "full", "choices": ["full", "differential", "incremental"]},
            "late_after": {"type": "str"},
            "max_age": {"type": "str", "default": "20h"},
            "verify_late_after": {"type": "str"},
            "listing": {"type": "dict"},
            "run": {"type": "dict", "options": run},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**ensure_written(module.params, module.check_mode))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
