# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules whose backups are snapshots that AWS keeps; their specification is in ``module_utils/_aws/snapshot_spec.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """How snapshots are chosen, kept and waited for (``KEEP``), and what a restore of one may cost (plain fragment)."""

    KEEP = r"""
options:
  backup_id:
    description:
      - Which snapshot is verified, restored, copied or removed. For O(state=absent) it must be an identifier.
      - V(latest) is the newest good one, which means one that is available and whose newest verification, if there is any, did not fail.
      - V(latest_verified) is the newest one that was restored for trial with success.
      - Anything else is the identifier of a snapshot, which is taken as it is.
    type: str
    default: latest
  max_age:
    description:
      - For O(state=present), how old the newest good snapshot may be, in seconds or with one of the units V(s), V(m), V(h), V(d), V(w). V(0) always takes a
        new one. One that is in progress, since an earlier run was cut off, is waited for.
      - For O(state=verified), how long ago the verification may be. V(0) always verifies.
      - A job that runs daily should ask for somewhat less than a day, since yesterday's snapshot is else just young enough now and then.
    type: str
    default: 24h
  retention:
    description:
      - Which snapshots stay. With O(state=present) the others are removed after the snapshot, and only if it succeeded. Required for O(state=pruned).
      - A snapshot stays if any of the rules keeps it. Without a rule that keeps something nothing is removed.
      - Whatever the rules say, the newest good snapshot stays, the newest verified one, the newest O(retention.min_good) good ones, and whatever is in
        progress or younger than O(retention.grace). What stays in the region stays in O(copies) too.
      - A snapshot whose newest verification failed is not good. No rule keeps it, but it stays as long as there is no good one.
      - Only snapshots with this collection's tags count, and only those are ever removed.
  labels:
    description: Words of your own that a new snapshot gets as tags, each named C(mainstay:label:NAME).
    type: dict
    default: {}
  force:
    description: For O(state=absent), remove the snapshot although it is the newest good one, the newest verified one or one of the last good ones.
    type: bool
    default: false
  wait_timeout:
    default: 7200
  poll_interval:
    default: 15
"""

    DOCUMENTATION = r"""
options:
  rto_target:
    description: How long a restore may take, as O(max_age). A verification by a restore says whether it was met.
    type: str
  rpo_target:
    description: How much time may lie between the moment whose data the snapshot holds and the verification, as O(max_age).
    type: str
"""
