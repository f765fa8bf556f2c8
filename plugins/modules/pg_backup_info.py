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
  - Reads the catalogue that M(mainstay.ops.pg_backup) writes, and pgBackRest's repository where there is one. Neither the server nor a private key is needed.
  - For a physical backup everything comes from the repository itself, including those that pgBackRest took without the module. What can be brought
    back ends with the last commit before the first gap in the write-ahead log that was archived.
options:
  method:
    description:
      - Lists the backups of one method only.
      - Listing physical backups needs pgBackRest on the host, if the store has a repository.
    type: str
    default: all
    choices: [all, logical, physical]
  repository_passphrase:
    description: As for M(mainstay.ops.pg_backup). Required if pgBackRest's repository is encrypted.
    type: str
  pgbackrest_options:
    description: As for M(mainstay.ops.pg_backup).
    type: dict
    default: {}
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

- name: List the physical backups, and what they can bring back
  mainstay.ops.pg_backup_info:
    name: ledger
    method: physical
    repository_passphrase: "{{ backup_passphrase }}"
    store:
      type: s3
      bucket: backups
      region: eu-central-1
  become: true
  become_user: postgres

- name: Say what can be brought back
  ansible.builtin.debug:
    msg: "{{ found.backups | length }} backups, the newest of {{ found.recoverable_to }}, verified is {{ found.latest_verified }}"
"""

RETURN = r"""
backups:
  description:
    - The backups of both methods, oldest first, each as RV(mainstay.ops.pg_backup#module:backup).
    - A backup with a manifest that cannot be read is listed with its problem.
    - For a physical backup C(contents.pgbackrest) holds pgBackRest's label and type, what the backup is based on (C(references)), what is based
      on it (C(children)), its bytes, the positions and segments of its log, the last segment of the unbroken log after it (C(wal_end)) and the first
      one that is missing (C(wal_missing)).
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
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical import listing


def argument_spec() -> dict[str, object]:
    """Return the module's options."""
    return {
        **spec.store_argument_spec(),
        "backup_id": {"type": "str"},
        "method": {"type": "str", "default": "all", "choices": ["all", "logical", "physical"]},
        "repository_passphrase": {"type": "str", "no_log": True},
        "pgbackrest_options": {"type": "dict", "default": {}},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        found = listing.overview(module.params)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
