# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A leader whose lease ended while it slept, with Patroni's own code against a real etcd: it leads on only if nobody has taken over."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
from patroni_cluster import RUN_PATRONI, own, start_etcd

SLEEPER = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
import run_patroni
from patroni.dcs import get_dcs

def member(name):
    place = {"host": "127.0.0.1:" + sys.argv[2]}
    return get_dcs({"etcd3": place, "scope": sys.argv[3], "name": name, "ttl": 20, "loop_wait": 2, "retry_timeout": 5})

old, new = member("old"), member("new")
assert old.attempt_to_acquire_leader()
known = old.get_cluster()
awake = bool(old._update_leader(*[known.leader][: run_patroni.MENDED <= run_patroni.VERSION]))
old._client.call_rpc("/kv/lease/revoke", {"ID": old._lease})
taken = sys.argv[3] == "taken" and bool(new.attempt_to_acquire_leader())
kept = bool(old._update_leader(*[known.leader][: run_patroni.MENDED <= run_patroni.VERSION]))
# What it knows is kept up to date by a thread.
while not new.get_cluster().leader:
    time.sleep(0.1)
print(json.dumps({"awake": awake, "taken": taken, "kept": kept, "leader": new.get_cluster().leader.name}), flush=True)
# Patroni's threads that watch etcd would not let it end.
os._exit(0)
"""


@pytest.fixture(scope="module")
def etcd(server_root: pathlib.Path) -> t.Iterator[int]:
    folder = server_root / "etcd-of-run-patroni"
    folder.mkdir()
    own(folder)
    processes, ports = start_etcd(folder, 1)
    yield ports[0]
    for process in processes:
        process.kill()


def wake(etcd: int, scope: str) -> dict[str, t.Any]:
    """Let the leader's lease end, and another member take over if the scope is ``taken``; return what happens when the leader wakes up."""
    argv = ["/usr/bin/python3", "-c", SLEEPER, str(RUN_PATRONI.parent), str(etcd), scope]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_does_not_take_the_lead_back(etcd: int) -> None:
    assert wake(etcd, "taken") == {"awake": True, "taken": True, "kept": False, "leader": "new"}


def test_it_leads_on_where_nobody_else_does(etcd: int) -> None:
    assert wake(etcd, "free") == {"awake": True, "taken": False, "kept": True, "leader": "old"}
