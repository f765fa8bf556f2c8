#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_snapshot_info
short_description: List the backups of a Redis or Valkey server
version_added: "0.1.0"
description:
  - Reads a catalogue that M(mainstay.ops.redis_snapshot) keeps, with what was verified. Neither the server nor a private key is needed.
seealso:
  - module: mainstay.ops.redis_snapshot
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
  - mainstay.ops.catalog
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Read the catalogue
  mainstay.ops.redis_snapshot_info:
    name: ledger
    store:
      type: s3
      bucket: backups
      prefix: production
  register: snapshots

- name: Refuse to go on without a proven backup
  ansible.builtin.assert:
    that: snapshots.latest_verified is not none
"""

RETURN = r"""
backups:
  description: The backups, oldest first. One whose manifest cannot be read is listed too, with RV(ignore:problem) set and most keys null.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the backup; ids sort by time.
      type: str
      returned: always
      sample: 20261122T174200Z-1a2b3c4d
    kind:
      description: Always V(redis).
      type: str
      returned: always
    name:
      description: Name of the catalogue.
      type: str
      returned: always
    method:
      description: How it was read, V(psync) or V(bgsave).
      type: str
      returned: always
    location:
      description: Store and folder of its objects.
      type: str
      returned: always
    good:
      description: Whether the manifest can be read and the newest verification, if there is any, did not fail.
      type: bool
      returned: always
    problem:
      description: Why the manifest cannot be read, empty if it can.
      type: str
      returned: always
    verified:
      description: Whether it was restored for trial with success.
      type: bool
      returned: always
    verified_at:
      description: When that was.
      type: str
      returned: always
    verifications:
      description: Results of all verifications, oldest first, as in RV(mainstay.ops.redis_snapshot#module:verification).
      type: list
      elements: dict
      returned: always
    bytes_stored:
      description: Bytes in the store.
      type: int
      returned: always
    bytes_plain:
      description: Bytes when opened.
      type: int
      returned: always
    started:
      description: When the run began, in UTC.
      type: str
      returned: always
    finished:
      description: When the last object was stored.
      type: str
      returned: always
    recoverable_from:
      description: The moment whose data it holds.
      type: str
      returned: always
    recoverable_to:
      description: The same moment.
      type: str
      returned: always
    source:
      description: The server, with its version, role, replication offset and the RDB magic, and whether the snapshot has a checksum.
      type: dict
      returned: always
    contents:
      description: Keys per database as bounds from before and after the server forked, and whether nothing was written in between.
      type: dict
      returned: always
      sample: {"keys": {"db0": {"min": 1204, "max": 1204}}, "keys_exact": true}
    objects:
      description: Its data objects with bytes and SHA-256.
      type: list
      elements: dict
      returned: always
    compression:
      description: How it is compressed.
      type: dict
      returned: always
    encryption:
      description: How it is encrypted, and the public keys whose owners can open it.
      type: dict
      returned: always
    tools:
      description: Versions of the programs that made it.
      type: dict
      returned: always
    labels:
      description: Words of the one who took it.
      type: dict
      returned: always
    warnings:
      description: What whoever restores it should know.
      type: list
      elements: str
      returned: always
incomplete:
  description: Ids that have objects but no manifest. They are in progress, or were left by a run that was killed, and are no backups.
  returned: success
  type: list
  elements: str
latest:
  description: Id of the newest good backup, null if there is none.
  returned: success
  type: str
latest_verified:
  description: Id of the newest backup that was restored for trial with success, null if there is none.
  returned: success
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.snapshot import KIND


def read(catalogue: Catalogue) -> dict[str, t.Any]:
    """Return what the module returns."""
    backups = catalogue.backups()
    return {
        "changed": False,
        "backups": [catalogue.summary(backup) for backup in backups],
        "incomplete": catalogue.incomplete(),
        "latest": next((backup.id for backup in reversed(backups) if backup.good), None),
        "latest_verified": next((backup.id for backup in reversed(backups) if backup.verified_at), None),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=spec.store_argument_spec(), supports_check_mode=True)
    try:
        result = read(spec.open_catalogue(module.params, KIND))
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
