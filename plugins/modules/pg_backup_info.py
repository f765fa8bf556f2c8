#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_info
short_description: List the backups of PostgreSQL that a store holds
version_added: "0.1.0"
description:
  - Reads the catalogue that M(mainstay.ops.pg_backup) writes. Neither the server nor a private key is needed.
options:
  backup_id:
    description:
      - Lists only the backup that is meant, which must exist.
      - V(latest) is the newest good one, V(latest_verified) the newest one that was restored for trial with success; anything else is an id.
    type: str
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.catalog
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
seealso:
  - module: mainstay.ops.pg_backup
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: List the backups
  mainstay.ops.pg_backup_info:
    name: ledger
    store:
      type: local
      path: /srv/backups
  register: found

- name: Say what can be brought back
  ansible.builtin.debug:
    msg: "{{ found.backups | length }} backups, the newest of {{ found.recoverable_to }}, verified is {{ found.latest_verified }}"
"""

RETURN = r"""
backups:
  description:
    - The backups, oldest first, each as RV(mainstay.ops.pg_backup#module:backup).
    - A backup with a manifest that cannot be read is listed with its problem.
  type: list
  elements: dict
  returned: success
incomplete:
  description: Ids that have objects but no manifest, which are backups in progress or the remains of a run that was killed.
  type: list
  elements: str
  returned: success
latest:
  description: Id of the newest good backup; empty if there is none.
  type: str
  returned: success
latest_verified:
  description: Id of the newest backup that was restored for trial with success; empty if there is none.
  type: str
  returned: success
recoverable_from:
  description: The earliest moment that a good backup can bring back.
  type: str
  returned: success
recoverable_to:
  description: The latest moment that a good backup can bring back.
  type: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.logical import KIND


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**spec.store_argument_spec(), "backup_id": {"type": "str"}}, supports_check_mode=True)
    try:
        listing = spec.open_catalogue(module.params, KIND).overview(module.params["backup_id"])
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **listing)


if __name__ == "__main__":
    main()
