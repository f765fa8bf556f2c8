#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: files_backup_info
short_description: List the backups of files
version_added: "1.0.0"
description:
  - Reads the catalogue that M(mainstay.ops.files_backup) writes. No private key is needed.
options:
  backup_id:
    description:
      - Lists only the backup that is meant, which must exist.
      - V(latest) is the newest good one, V(latest_verified) the newest one that was restored for trial with success; anything else is an id.
    type: str
seealso:
  - module: mainstay.ops.files_backup
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.catalog
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Read the catalogue
  mainstay.ops.files_backup_info:
    name: app1
    store:
      type: s3
      bucket: backups
      prefix: production
  register: files

- name: Refuse to go on without a proven backup
  ansible.builtin.assert:
    that: files.latest_verified is not none
"""

RETURN = r"""
backups:
  description:
    - The backups, oldest first, each as RV(mainstay.ops.files_backup#module:backup).
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
from ansible_collections.mainstay.ops.plugins.module_utils._files.backup import KIND


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
