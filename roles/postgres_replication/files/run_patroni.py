# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs Patroni, and mends how versions before 3.0.3 renew the leader's lock in etcd.

A leader that slept for longer than ``ttl``, as the host of a virtual machine can have it, gets a new lease when it wakes up. Patroni 3.0.2 of Debian 12 then
writes its name over the leader key without looking whose it is by now, so that the member that has taken over is demoted, and the rows that it has
acknowledged are lost. Here the key is written only if it is still its own or nobody's, as in later versions (patroni#2689, patroni#2693).
"""

from __future__ import annotations

import sys
import time
import typing as t

from patroni.__main__ import main
from patroni.dcs import Leader, catch_return_false_exception
from patroni.dcs.etcd3 import Etcd3, Etcd3Error, base64_encode
from patroni.version import __version__

MENDED = (3, 0, 3)
VERSION = tuple(map(int, __version__.split(".")[:3]))


@catch_return_false_exception
def update_leader(self: Etcd3) -> bool:
    """Renew the lease, and bind the leader key to it if that was another one; return whether this member is the leader still."""
    limit = self._retry.copy()

    def retry(*args: t.Any) -> t.Any:
        return limit(*args, retry=limit)

    self._run_and_handle_exceptions(self._do_refresh_lease, True, retry=retry)
    known = self.cluster.leader if self.cluster else None
    if not self._lease or (isinstance(known, Leader) and known.session == self._lease):
        return bool(self._lease)
    key, name = base64_encode(self.leader_path), base64_encode(self._name)
    write = {"request_put": {"key": key, "value": name, "lease": self._lease}}
    for expected in ({"target": "VALUE", "value": name}, {"target": "CREATE", "create_revision": "0"}):
        limit.deadline = limit.stoptime - time.time()
        if limit.deadline < 1:
            raise Etcd3Error("update_leader timeout")
        if self._run_and_handle_exceptions(self._client.txn, {"key": key, **expected}, write, retry=retry):
            return True
    return False


if VERSION < MENDED:
    Etcd3._update_leader = update_leader

if __name__ == "__main__":
    sys.exit(main())
