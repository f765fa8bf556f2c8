#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnose_host_info
short_description: Collect what somebody on call looks at first on a host
version_added: "1.0.0"
description:
  - Reads load, pressure, memory, disks, failed units, recent errors of the journal, what was changed last (packages, configuration by
    M(mainstay.ops.config_tree), releases), and the response times by endpoint from the access log that the role P(mainstay.ops.nginx_tls#role) has written.
  - It is judged by M(mainstay.ops.diagnose_report). What cannot be read is said in RV(not_judged) and is no failure.
  - Secrets in messages are masked on the host. Identifiers in paths and what varies in messages are replaced; arguments of processes are never read.
options:
  hours:
    description: How far back to look, for errors and requests.
    type: float
    default: 1.0
  change_hours:
    description: How far back to look for changes.
    type: float
    default: 168.0
  access_log:
    description: The access log. A host without it has no endpoints.
    type: path
    default: /var/log/nginx/access.log
  access_log_bytes:
    description: Of a longer log only the end is read.
    type: int
    default: 268435456
  trees:
    description: Folder in which M(mainstay.ops.config_tree) keeps what it replaced.
    type: path
    default: /var/lib/mainstay/config_tree
  release_roots:
    description: Folders of applications, as O(mainstay.ops.app_release#module:root).
    type: list
    elements: path
    default: []
  secrets:
    description: Further secrets to mask, beside what is named or placed like one.
    type: list
    elements: str
    default: []
notes:
  - At most 2000 entries of the journal are read, and 40 kinds of errors and 50 endpoints are returned.
seealso:
  - module: mainstay.ops.diagnose_report
  - module: mainstay.ops.pg_advisor_info
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Look | Collect what there is to see
  mainstay.ops.diagnose_host_info:
    hours: 2
    release_roots: [/srv/shop]
  become: true
  register: found
"""

RETURN = r"""
load:
  description: The C(averages) over 1, 5 and 15 minutes, and C(cpus).
  returned: success
  type: dict
  sample: {averages: [0.5, 0.6, 0.4], cpus: 4}
memory:
  description: Bytes - C(total), C(available), C(swap_total), C(swap_free).
  returned: success
  type: dict
pressure:
  description: For C(cpu), C(memory) and C(io) the per cent of the last minute in which C(some) or all (C(full)) work stood still. Empty where the kernel does
    not tell.
  returned: success
  type: dict
filesystems:
  description: Disks with C(mount), C(type), C(size), C(available), C(inodes), C(inodes_free) and C(read_only).
  returned: success
  type: list
  elements: dict
processes:
  description: Those that take the most memory, with C(pid), C(program) and C(bytes).
  returned: success
  type: list
  elements: dict
failed_units:
  description: Units that failed.
  returned: success
  type: list
  elements: str
clock_synchronised:
  description: Whether the clock is kept right by others; null if that is not known.
  returned: success
  type: bool
reboot_required:
  description: Whether an update waits for a reboot.
  returned: success
  type: bool
journal:
  description:
    - Errors of the window. C(total), C(complete) (false if there were more than are read), C(out_of_memory) (lines of the kernel that tell so), C(groups) with
      C(unit), C(message) (the last one), C(count), C(first) and C(last), and C(groups_left_out). Empty if the journal cannot be read.
  returned: success
  type: dict
traffic:
  description:
    - The access log of the window. C(endpoints) with C(endpoint), C(requests), C(errors), C(aborted), C(error_ratio), C(p50), C(p95), C(p99) and
      C(total_seconds), what took the most time in all first; C(all) for all of them together. Empty where there is no log.
  returned: success
  type: dict
changes:
  description: What was changed, the newest first, with C(time) (Unix time), C(kind) and C(what).
  returned: success
  type: list
  elements: dict
not_judged:
  description: What could not be read, with C(part) and C(reason).
  returned: success
  type: list
  elements: dict
"""

import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.masking import mask
from ansible_collections.mainstay.ops.plugins.module_utils._reports import endpoints, host_journal, host_state
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.log import lines_since


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        "hours": {"type": "float", "default": 1.0},
        "change_hours": {"type": "float", "default": 168.0},
        "access_log": {"type": "path", "default": "/var/log/nginx/access.log"},
        "access_log_bytes": {"type": "int", "default": 1 << 28},
        "trees": {"type": "path", "default": "/var/lib/mainstay/config_tree"},
        "release_roots": {"type": "list", "elements": "path", "default": []},
        "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
    }


def traffic(params: t.Mapping[str, t.Any], since: float) -> tuple[dict[str, t.Any], str]:
    """Return the endpoints of the window, and why they are not known."""
    if not os.path.exists(params["access_log"]):
        return {}, ""
    try:
        return endpoints.count(lines_since(params["access_log"], since, params["access_log_bytes"])), ""
    except MainstayError as error:
        return {}, str(error)


def look(module: AnsibleModule) -> dict[str, t.Any]:
    """Read everything.

    Raises:
        InvalidInput: a number of hours is of no use.
    """
    params, run, now = module.params, module.run_command, time.time()
    for name in ("hours", "change_hours"):
        if not 0 < params[name] < 24 * 3650:
            raise InvalidInput(f"look back {params[name]:g} hours", "that is no time", f"give {name} above 0")
    since = now - params["hours"] * 3600
    units, no_units = host_state.failed_units(run)
    journal, no_journal = host_journal.journal_errors(run, since, now)
    for group in journal.get("groups", []):
        group["message"] = mask(group["message"], params["secrets"])
    requests, no_requests = traffic(params, since)
    changes, unread = host_journal.changes(now - params["change_hours"] * 3600, params["trees"], params["release_roots"])
    gaps = {"failed units": no_units, "errors of the journal": no_journal, "response times": no_requests, "releases": "; ".join(unread)}
    return {
        "load": host_state.load(os.cpu_count() or 1),
        "memory": host_state.memory(host_state.read_text("/proc/meminfo")),
        "pressure": host_state.pressure(),
        "filesystems": host_state.filesystems(host_state.read_text("/proc/self/mountinfo")),
        "processes": host_state.processes(),
        "failed_units": units,
        "clock_synchronised": host_state.clock_synchronised(run),
        "reboot_required": os.path.exists("/run/reboot-required"),
        "journal": journal,
        "traffic": requests,
        "changes": changes,
        "not_judged": [{"part": part, "reason": reason} for part, reason in gaps.items() if reason],
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        result = look(module)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
