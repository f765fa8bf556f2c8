# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that works on a catalogue of backups; their specifications are in ``module_utils/_catalog/spec.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Which catalogue (plain fragment), how backups are made, chosen and opened (``BACKUP``), and which stay (``RETENTION``)."""

    DOCUMENTATION = r"""
options:
  name:
    description:
      - Name of the catalogue, such as the name of the service whose backups it holds.
      - Letters, digits, underscores, dots and hyphens.
    type: str
    required: true
  store:
    description: Where the backups are kept.
    type: dict
    required: true
    suboptions:
      type:
        description:
          - V(local) is a folder on the host where the module runs, V(s3) a bucket.
        type: str
        required: true
        choices: [local, s3]
      path:
        description:
          - Absolute path of the folder, for O(store.type=local). It is made with mode C(0700) if only its parent exists.
        type: path
      bucket:
        description: Name of the bucket, for O(store.type=s3). It must exist.
        type: str
      prefix:
        description: What all keys in the bucket start with, without a slash at the end.
        type: str
        default: ''
      region:
        description: The bucket's region. Without it boto3's own settings count, then V(us-east-1).
        type: str
      endpoint_url:
        description: URL of a store other than Amazon's. With it the bucket is addressed in the path.
        type: str
      access_key:
        description: Access key. Without it boto3's own chain of credentials is used (environment, profile, instance role).
        type: str
      secret_key:
        description: Secret key that belongs to O(store.access_key).
        type: str
      session_token:
        description: Session token of temporary credentials.
        type: str
      profile:
        description: Name of a profile in the AWS configuration files of the user that the module runs as.
        type: str
      validate_certs:
        description: Whether the TLS certificate of the store is checked.
        type: bool
        default: true
      aws_ca_bundle:
        description: Path, on the host where the module runs, of the CA certificates that the store's certificate is checked against.
        type: path
"""

    BACKUP = r"""
options:
  backup_id:
    description:
      - Which backup is verified, restored, copied or removed. For O(state=absent) it must be an id.
      - V(latest) is the newest good one, which means one whose manifest can be read and whose newest verification, if there is any, did not fail.
      - V(latest_verified) is the newest one that was restored for trial with success.
      - Anything else is the id of a backup, which is taken as it is.
    type: str
    default: latest
  max_age:
    description:
      - For O(state=present), how old the newest good backup may be, in seconds or with one of the units V(s), V(m), V(h), V(d), V(w).
      - The age counts from the moment whose data the backup holds. V(0) always takes a new backup.
      - A job that runs daily should ask for somewhat less than a day, since yesterday's backup is else just young enough now and then.
    type: str
    default: 24h
  verify_level:
    description:
      - How far O(state=verified) goes.
      - V(list) looks for every object and its size.
      - V(checksum) reads every object and compares its SHA-256 as well. No private key is needed.
      - V(content) decrypts, decompresses and parses everything in full.
      - V(restore) restores into a throwaway server that is reached by a private socket only, checks what came out, and removes it.
        Only this level marks a backup as verified.
    type: str
    default: restore
    choices: [list, checksum, content, restore]
  copies:
    description:
      - Further stores, each as O(store), that hold every backup as well.
      - For O(state=present) the task fails unless the backup is in all of them. O(state=copied) brings there what they lack.
      - Objects are hashed on the way, and the manifest comes last, so what is cut off is no backup there. The next run goes on where it stopped.
      - O(retention) and O(state=absent) work on them as on O(store), each by what it holds itself. What stays in O(store) stays in them too.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description:
          - V(local) is a folder on the host where the module runs, V(s3) a bucket.
        type: str
        required: true
        choices: [local, s3]
      path:
        description:
          - Absolute path of the folder, for O(copies[].type=local). It is made with mode C(0700) if only its parent exists.
        type: path
      bucket:
        description: Name of the bucket, for O(copies[].type=s3). It must exist.
        type: str
      prefix:
        description: What all keys in the bucket start with, without a slash at the end.
        type: str
        default: ''
      region:
        description: The bucket's region. Without it boto3's own settings count, then V(us-east-1).
        type: str
      endpoint_url:
        description: URL of a store other than Amazon's. With it the bucket is addressed in the path.
        type: str
      access_key:
        description: Access key. Without it boto3's own chain of credentials is used (environment, profile, instance role).
        type: str
      secret_key:
        description: Secret key that belongs to O(copies[].access_key).
        type: str
      session_token:
        description: Session token of temporary credentials.
        type: str
      profile:
        description: Name of a profile in the AWS configuration files of the user that the module runs as.
        type: str
      validate_certs:
        description: Whether the TLS certificate of the store is checked.
        type: bool
        default: true
      aws_ca_bundle:
        description: Path, on the host where the module runs, of the CA certificates that the store's certificate is checked against.
        type: path
  rto_target:
    description: How long a restore may take, as O(max_age). A verification by a restore says whether it was met.
    type: str
  rpo_target:
    description: How much time may lie between the moment whose data the backup holds and the verification, as O(max_age).
    type: str
  labels:
    description: Words of your own that are kept in the manifest of a new backup.
    type: dict
    default: {}
  compression:
    description: How a new backup is compressed. Reading goes by the manifest.
    type: dict
    suboptions:
      type:
        description: V(zstd) needs the program of that name on the host.
        type: str
        default: zstd
        choices: [zstd, none]
      level:
        description: Level from 1 (fast) to 22 (small).
        type: int
        default: 3
      threads:
        description: Threads that compress, V(0) for one per core.
        type: int
        default: 2
  encryption:
    description: How a new backup is encrypted, and with what an old one is opened.
    type: dict
    suboptions:
      type:
        description:
          - V(age) and V(gpg) need the program of that name on the host.
          - V(none) leaves backups in clear text and must be asked for.
        type: str
        default: age
        choices: [age, gpg, none]
      recipients:
        description:
          - Public keys, each of whose owners can open the backup on their own. One of them should be a break-glass key that is kept elsewhere.
          - For V(gpg) each is an armored public key, which needs no keyring on the host.
          - Required for a new backup unless O(encryption.type=none).
        type: list
        elements: str
        default: []
      identity:
        description:
          - Private key that opens backups, as text. For V(gpg) it is an armored private key without a passphrase.
          - It is handed to C(age) through an anonymous memory file and never written to a disk. For C(gpg) it lies in a private folder in memory
            (C(/dev/shm), or the temporary folder where the host has none), which is removed afterwards.
          - Needed to verify the content of an encrypted backup and to restore it, never to make one.
        type: str
      identity_file:
        description: Path of a file on the host that holds the private key. Mutually exclusive with O(encryption.identity).
        type: path
"""

    RETENTION = r"""
options:
  retention:
    description:
      - Which backups stay. With O(state=present) the others are removed after the backup, and only if it succeeded. Required for O(state=pruned).
      - Where O(state=present) finds a backup that is young enough, nothing is removed either.
      - A backup stays if any of the rules keeps it. Without a rule that keeps something nothing is removed.
      - Whatever the rules say, the newest good backup stays, the newest verified one, the newest O(retention.min_good) good ones, what another backup
        is based on, whatever is in progress or younger than O(retention.grace), and every backup whose manifest cannot be read.
      - A backup whose newest verification failed is not good. No rule keeps it, but it stays as long as there is no good one.
      - Nothing is removed while the clocks of the store and of the host are more than 5 minutes apart. The task fails then.
    type: dict
    suboptions:
      keep_last:
        description: This many of the newest good backups.
        type: int
      keep_within:
        description:
          - All good backups that are not older than the newest one by more than this, in seconds or with one of the units V(s), V(m), V(h), V(d), V(w).
        type: str
      keep_hourly:
        description: The newest good backup of each of the last so many hours that have one.
        type: int
      keep_daily:
        description: The newest good backup of each of the last so many days (UTC) that have one.
        type: int
      keep_weekly:
        description: The newest good backup of each of the last so many weeks (ISO 8601) that have one.
        type: int
      keep_monthly:
        description: The newest good backup of each of the last so many months that have one.
        type: int
      keep_yearly:
        description: The newest good backup of each of the last so many years that have one.
        type: int
      min_good:
        description: So many of the newest good backups that are based on no other one stay in any case.
        type: int
        default: 2
      grace:
        description: Nothing younger is removed.
        type: str
        default: 24h
"""
