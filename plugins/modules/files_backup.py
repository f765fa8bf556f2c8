#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: files_backup
short_description: Back up files and folders, verify the backup, restore it
version_added: "1.0.0"
description:
  - Reads files (uploads, configuration, certificates, reports) with GNU tar and streams what changed through compression and encryption into a catalogue of
    backups, beside those of M(mainstay.ops.pg_backup) and M(mainstay.ops.redis_snapshot).
  - Owners (by name and number), modes, ACLs, extended attributes with capabilities, links, hard links, holes and times in nanoseconds are kept.
  - A backup counts only when its manifest has been published, which is done last. Whatever fails before that leaves nothing behind.
  - A backup opens by hand with the stock programs, C(age -d -i KEY files-1.tar.zst.age | zstd -d | tar -x). An incremental one holds only the files that
    changed; its C(index.jsonl) says which archive of which backup holds each file.
options:
  state:
    description:
      - V(present) makes sure of a good backup that is not older than O(max_age), and takes one only if there is none.
      - V(verified) means that the backup O(backup_id), with those that it is based on, was verified at O(verify_level), or at a stronger one, not longer than
        O(max_age) ago. The result is stored beside the backup.
      - V(restored) means that what the backup holds is where it was, or below O(target_dir). What is as in the backup already is left alone.
      - V(copied) means that all of O(copies) hold the backup O(backup_id), and those that it is based on.
      - V(pruned) means that no backup is there that O(retention) does not keep. What a kept one is based on stays.
      - V(absent) means that there is no backup O(backup_id), in O(store) or in O(copies). One that another is based on is refused without O(force).
    type: str
    default: present
    choices: [present, verified, restored, copied, pruned, absent]
  paths:
    description:
      - Files and folders to back up, by their whole paths. Required for O(state=present), and each must exist.
      - Links above a path are followed. A path that is a link itself is kept as a link, with a warning.
    type: list
    elements: path
    default: []
  exclude:
    description:
      - Patterns of what is left out, with all that lies in it.
      - A pattern without a slash fits a name anywhere (V(*.tmp)), one that begins with a slash a whole path (V(/srv/app/cache)), any other the end of a path
        (V(app/cache)). V(*) and V(?) fit no slash, V(**) fits anything, V([ab]) one of the characters. A slash at the end means folders only (V(cache/)).
    type: list
    elements: str
    default: []
  one_file_system:
    description: Whether what is mounted below a path is left out. The folder that it is mounted on stays.
    type: bool
    default: false
  backup_type:
    description:
      - V(incremental) reads only files that changed since the last backup that this host took, and V(full) all.
      - The first one is full, whatever is said, as is one after O(max_increments), and one whose base is missing or at fault, or not what this host remembers.
        RV(actions) tell why.
      - What was deleted is not in an incremental backup, and a restore does not bring it back.
    type: str
    default: incremental
    choices: [incremental, full]
  max_increments:
    description:
      - So many incremental backups may follow a full one. A restore reads those of them that hold a file that is wanted, and all of them must be kept.
      - V(23) is one full backup a day where one is taken every hour.
    type: int
    default: 23
  compare:
    description:
      - How it is judged whether a file changed.
      - V(metadata) goes by size, time of the content, time of the inode (C(ctime), which changes with owner, mode, names and attributes too) and inode. A file
        whose device has another number after a restart did not change. For O(state=restored) it is size, time of the content, owner, mode and attributes.
      - V(contents) reads files that look unchanged, and compares their SHA-256.
    type: str
    default: metadata
    choices: [metadata, contents]
  allow_unreadable:
    description: Whether files and folders that the user may not read are left out, with a warning. Otherwise the task fails with their names.
    type: bool
    default: false
  secret_patterns:
    description:
      - Patterns, as O(exclude), of files that hold secrets. With O(encryption.type=none) the task fails with their names before anything is written.
    type: list
    elements: str
    default: ["*.env", ".env.*", "*.key", "*.p12", "*.pfx", "*.jks", "id_rsa", "id_ecdsa", "id_ed25519", ".pgpass", ".netrc"]
  secret_contents:
    description:
      - Whether, with O(encryption.type=none), files that hold a private key in their first 256 KiB, whatever their names, are refused as well (PEM, OpenSSH,
        PGP, PuTTY and age keys).
    type: bool
    default: true
  at:
    description:
      - For O(state=restored) and O(state=verified), the newest good backup that is not of after this moment, such as V(2026-11-22T17:42:00Z).
      - With O(backup_id=latest_verified) the newest verified one.
    type: str
  restore_paths:
    description: What O(state=restored) brings back, by the paths in the backup. The default is everything. The rest of the tree is left alone.
    type: list
    elements: path
    default: []
  target_dir:
    description:
      - Folder below which O(state=restored) puts files, by their whole paths. By default everything goes where it was.
      - Nothing is written through a symbolic link.
    type: path
  on_existing:
    description:
      - What O(state=restored) does where a path is there already and differs.
      - V(fail) refuses before anything is changed, unless it is an empty folder.
      - V(rename) keeps what is there beside it, with C(.before-) and the id of the backup after the name.
      - V(replace) removes it. What lies in the folder and is not in the backup is gone then, also what O(exclude) had left out. RV(changes) tells, also in
        check mode.
    type: str
    default: fail
    choices: [fail, rename, replace]
  numeric_owner:
    description: Whether owners are restored by number. By default they are restored by name, and by number where a name is not known.
    type: bool
    default: false
  force:
    description: Whether O(state=absent) may remove the newest good backup, the newest verified one, one of the last good ones, or one that others are based on.
    type: bool
    default: false
  work_dir:
    description: Folder on the host where a verification restores into a private folder. It needs room for everything.
    type: path
    default: /var/tmp
  state_dir:
    description:
      - Folder on the host where names, facts and hashes of the files of the last backup are remembered, readable for the owner alone, and where runs lock
        each other out. Without what is remembered the next backup is full.
    type: path
    default: /var/lib/mainstay/files
notes:
  - It should run as root, who alone may read everything and restore owners, capabilities and ACLs.
  - Sockets, devices and named pipes are left out, and named in a warning.
  - A file that changes while it is read is read up to three times. If it changed each time, a warning and RV(backup) name it, and the next backup takes it
    again. What vanishes meanwhile is named too. Files of a database are no files for this module.
  - A restore is prepared in a private folder beside its place, compared with the index file by file, and then takes the place of what is there, at once for
    each path. Until then nothing is changed. It needs room for both.
  - Memory is taken for each file, about 2 KiB, whatever its size.
seealso:
  - module: mainstay.ops.files_backup_info
extends_documentation_fragment:
  - mainstay.ops.attributes
  - mainstay.ops.attributes.progress
  - mainstay.ops.catalog
  - mainstay.ops.catalog.backup
  - mainstay.ops.catalog.retention
author:
  - Mainstay Operations (@mainstay)
"""

EXAMPLES = r"""
- name: Back up uploads and configuration every hour, what changed of them
  mainstay.ops.files_backup:
    name: app1
    paths:
      - /srv/app/uploads
      - /etc/mainstay
    exclude:
      - cache/
      - "*.tmp"
    max_age: 50m
    store:
      type: s3
      bucket: backups
      prefix: production
      region: eu-central-1
    encryption:
      recipients:
        - "{{ backup_public_key }}"
        - "{{ break_glass_public_key }}"

- name: Back up reports in clear text, copy them, and keep a week of days
  mainstay.ops.files_backup:
    name: reports
    paths: [/srv/reports]
    backup_type: full
    max_age: 20h
    store:
      type: local
      path: /var/backups/mainstay
    copies:
      - type: s3
        bucket: backups-elsewhere
        region: eu-north-1
    retention:
      keep_daily: 7
    encryption:
      type: none

- name: Prove that the newest backup can be restored within ten minutes
  mainstay.ops.files_backup:
    name: app1
    state: verified
    rto_target: 10m
    rpo_target: 1h
    store:
      type: s3
      bucket: backups
      prefix: production
    encryption:
      identity: "{{ backup_private_key }}"

- name: Show what would come back of one folder, as of yesterday (with --check --diff), or bring it back
  mainstay.ops.files_backup:
    name: app1
    state: restored
    at: "2026-11-22T17:42:00Z"
    restore_paths: [/srv/app/uploads/invoices]
    on_existing: rename
    store:
      type: s3
      bucket: backups
      prefix: production
    encryption:
      identity: "{{ backup_private_key }}"

- name: Look at everything beside the running system
  mainstay.ops.files_backup:
    name: app1
    state: restored
    target_dir: /srv/restored
    store:
      type: local
      path: /var/backups/mainstay
    encryption:
      identity_file: /root/backup.key
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words and in order.
  type: list
  elements: str
  returned: success
  sample: ["read 3 of 20144 files, 81920 bytes, below /srv/app/uploads", "publish the backup, an incremental one based on 20261122T174200Z-1a2b3c4d \
(1 created, 2 changed, 0 deleted)"]
backup:
  description: The backup that exists, was taken, verified, restored, copied or removed. Empty if there is none (yet), and for O(state=pruned).
  type: dict
  returned: success
  contains:
    id:
      description: Time of its start in UTC, and random digits. Ids sort by time.
      type: str
      returned: always
      sample: 20261122T174200Z-1a2b3c4d
    kind:
      description: Always V(files).
      type: str
      returned: always
    method:
      description: How it was read, V(tar).
      type: str
      returned: always
    name:
      description: Name of the catalogue.
      type: str
      returned: always
    location:
      description: Where its objects are.
      type: str
      returned: always
    good:
      description: Whether its manifest can be read, its newest verification, if there is any, did not fail, and the same holds for what it is based on.
      type: bool
      returned: always
    problem:
      description: Why its manifest cannot be read, or what is wrong with what it is based on; empty otherwise.
      type: str
      returned: always
    started:
      description: When the run began.
      type: str
      returned: always
    finished:
      description: When the last object was stored.
      type: str
      returned: always
    recoverable_from:
      description: When the tree was looked at. What was written before that is in it.
      type: str
      returned: always
    recoverable_to:
      description: The same moment.
      type: str
      returned: always
    bytes_stored:
      description: Bytes of its own objects in the store.
      type: int
      returned: always
    bytes_plain:
      description: Bytes of its own archives before compression.
      type: int
      returned: always
    parents:
      description: Ids of the backups that it is based on, oldest first; none for a full one.
      type: list
      elements: str
      returned: always
    source:
      description: Where it comes from (host, user, paths, exclude).
      type: dict
      returned: always
    contents:
      description:
        - The type, V(full) or V(incremental), and why it is full (why).
        - What a restore brings (files, folders, links, bytes), and what of it lies in this backup itself (taken_files, taken_bytes).
        - How many files, folders and links are created, changed and deleted since the one that it is based on.
        - What is not in it, or may be of no one moment, each with count and up to 100 names (skipped, unreadable, vanished, changed_while_read).
        - The SHA-256 of the index (index_sha256).
      type: dict
      returned: always
    objects:
      description: Its objects, each with name, bytes, sha256 and plain_bytes.
      type: list
      elements: dict
      returned: always
    compression:
      description: How it is compressed.
      type: dict
      returned: always
    encryption:
      description: How it is encrypted, with the recipients' public keys.
      type: dict
      returned: always
    tools:
      description: Versions of the programs that made it.
      type: dict
      returned: always
    labels:
      description: The words given in O(labels).
      type: dict
      returned: always
    warnings:
      description: What whoever restores it should know.
      type: list
      elements: str
      returned: always
    verified:
      description: Whether it was restored for trial with success, and no verification failed after that.
      type: bool
      returned: always
    verified_at:
      description: When that was.
      type: str
      returned: always
    verifications:
      description: The results of all verifications, oldest first; see RV(verification).
      type: list
      elements: dict
      returned: always
bytes_stored:
  description: Bytes of the backup in the store.
  type: int
  returned: success
bytes_plain:
  description: Bytes of the backup before compression.
  type: int
  returned: success
recoverable_from:
  description: The earliest moment that the backup can bring back, in UTC.
  type: str
  returned: success
  sample: "2026-11-22T17:42:00Z"
recoverable_to:
  description: The latest moment that the backup can bring back, in UTC.
  type: str
  returned: success
  sample: "2026-11-22T17:42:00Z"
verification:
  description:
    - The result of the verification, for O(state=verified); empty otherwise, and in check mode where one would be made.
    - It is returned as well when the backup was found at fault.
  type: dict
  returned: success
  contains:
    at:
      description: When it ended.
      type: str
      returned: always
    level:
      description: See O(verify_level).
      type: str
      returned: always
    status:
      description: V(successful), or V(failed) if the backup, or one that it is based on, is at fault.
      type: str
      returned: always
    seconds:
      description: How long it took.
      type: float
      returned: always
    phases:
      description: Seconds of each phase.
      type: dict
      returned: always
    cause:
      description: Why it failed.
      type: str
      returned: always
    details:
      description:
        - For V(restore), how many files, folders, links and bytes were restored and compared, the chain of backups that they came from (chain), whether owners
          and attributes were compared (owners_compared, attributes_compared), and warnings.
        - C(rto_seconds) are the seconds of the phases that a recovery goes through too, C(rpo_seconds) those from the moment whose data the backup holds
          to the start of the verification. C(rto_met) and C(rpo_met) compare them with O(rto_target) and O(rpo_target), and are none without a target.
      type: dict
      returned: always
restored:
  description: The paths that O(state=restored) has put in place; empty in check mode, and where nothing differed.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The path in the backup.
      type: str
      returned: always
    dest:
      description: Where it is now.
      type: str
      returned: always
    files:
      description: How many files it has.
      type: int
      returned: always
    folders:
      description: How many folders.
      type: int
      returned: always
    links:
      description: How many symbolic links.
      type: int
      returned: always
    bytes:
      description: Bytes of the files.
      type: int
      returned: always
    previous:
      description: Where what was there is now, for O(on_existing=rename); empty otherwise.
      type: str
      returned: always
changes:
  description:
    - For O(state=present), how the files differ from the backup that the new one is based on, and for O(state=restored) what becomes of what is there, each
      with up to 1000 paths, also in check mode. Empty otherwise.
  type: dict
  returned: success
  contains:
    created:
      description: Paths that are new.
      type: list
      elements: str
      returned: always
    changed:
      description: Paths that differ.
      type: list
      elements: str
      returned: always
    deleted:
      description: Paths that are gone, or go.
      type: list
      elements: str
      returned: always
expected_seconds:
  description:
    - For O(state=restored), how long the restore should take, also in check mode, going by the newest verification that restored this backup,
      or else another one of the catalogue, and by the bytes. None if there was none.
  type: float
  returned: success
kept:
  description: The backups of O(store) that stay, each with the rules that keep it. Empty where O(retention) did not work.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Its id.
      type: str
      returned: always
    reasons:
      description: The rules that keep it, such as V(keep_daily 2026-11-22) or V(the newest verified one).
      type: list
      elements: str
      returned: always
pruned:
  description: Ids of the backups that were removed from O(store) or O(copies), or would be in check mode.
  type: list
  elements: str
  returned: success
phases:
  description: Seconds of each phase (plan, read, publish; list, checksum, content, fetch, check; swap; copy, prune, remove).
  type: dict
  returned: success
seconds:
  description: How long the module worked.
  type: float
  returned: success
diff:
  description: The backups (with the rule that keeps each where O(retention) works), the verifications or the paths, before and after.
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._files import states
from ansible_collections.mainstay.ops.plugins.module_utils._process import interruptible

SECRET_PATTERNS = ["*.env", ".env.*", "*.key", "*.p12", "*.pfx", "*.jks", "id_rsa", "id_ecdsa", "id_ed25519", ".pgpass", ".netrc"]


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    return {
        **spec.store_argument_spec(),
        **spec.backup_argument_spec(),
        "state": {"type": "str", "default": "present", "choices": ["present", "verified", "restored", "copied", "pruned", "absent"]},
        "paths": {"type": "list", "elements": "path", "default": []},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "one_file_system": {"type": "bool", "default": False},
        "backup_type": {"type": "str", "default": "incremental", "choices": ["incremental", "full"]},
        "max_increments": {"type": "int", "default": 23},
        "compare": {"type": "str", "default": "metadata", "choices": ["metadata", "contents"]},
        "allow_unreadable": {"type": "bool", "default": False},
        "secret_patterns": {"type": "list", "elements": "str", "default": SECRET_PATTERNS, "no_log": False},
        "secret_contents": {"type": "bool", "default": True},
        "at": {"type": "str"},
        "restore_paths": {"type": "list", "elements": "path", "default": []},
        "target_dir": {"type": "path"},
        "on_existing": {"type": "str", "default": "fail", "choices": ["fail", "rename", "replace"]},
        "numeric_owner": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "work_dir": {"type": "path", "default": "/var/tmp"},
        "state_dir": {"type": "path", "default": "/var/lib/mainstay/files"},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    try:
        with interruptible(f"reach the state {module.params['state']} of the backups of files {module.params['name']}"):
            result, warnings = states.run(module.params, module.check_mode)
    except MainstayError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
