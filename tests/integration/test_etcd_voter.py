# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd_voter on real members of etcd, probed by etcdctl: one joins, gets its vote, and goes."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import subprocess
import typing as t

import pytest
from conftest import SENTINEL, Runner, free_port
from patroni_cluster import Process, own, start_etcd, until

Result = dict[str, t.Any]


class Etcd:
    """Three members, and the module on them."""

    def __init__(self, folder: pathlib.Path, ports: t.Sequence[int], run_module: Runner) -> None:
        """Remember where they listen."""
        self.folder = folder
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.client, self.peer = free_port(), free_port()
        self._run = run_module

    @property
    def peer_url(self) -> str:
        """Where the others reach the member that joins."""
        return f"http://127.0.0.1:{self.peer}"

    def ctl(self, *argv: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run etcdctl, which is apart from the module."""
        argv = ("etcdctl", f"--endpoints={','.join(self.urls)}", *argv)
        env = {**os.environ, "ETCDCTL_API": "3", **environment}
        return subprocess.run(argv, input=given, capture_output=True, text=True, timeout=30, check=False, env=env)

    def members(self) -> dict[str, bool]:
        """Return who there is, and whether it has no vote."""
        listed = json.loads(self.ctl("member", "list", "--write-out=json").stdout)["members"]
        return {member.get("name", ""): bool(member.get("isLearner")) for member in listed}

    def module(self, state: str, name: str = "etcd3", check: bool = False, **options: t.Any) -> Result:
        """Run the module."""
        options = {"endpoints": self.urls, "name": name, "state": state, "wait_timeout": 60, **options}
        return self._run("etcd_voter", options, check=check, diff=True)

    def start(self, initial_cluster: str) -> Process:
        """Start the member that joins."""
        argv = ["/usr/bin/etcd", "--name", "etcd3", "--data-dir", str(self.folder / "etcd3"), "--initial-cluster", initial_cluster]
        for option, port in (("client", self.client), ("peer", self.peer)):
            argv += [f"--listen-{option}-urls", f"http://127.0.0.1:{port}"]
        argv += ["--advertise-client-urls", f"http://127.0.0.1:{self.client}", "--initial-advertise-peer-urls", self.peer_url]
        process = Process([*argv, "--initial-cluster-state", "existing"], self.folder / "etcd3.log")
        process.start()
        return process


@pytest.fixture
def etcd(server_root: pathlib.Path, run_module: Runner) -> t.Iterator[Etcd]:
    """Three members, and room for one more."""
    folder = server_root / f"etcd-{secrets.token_hex(4)}"
    folder.mkdir()
    own(folder)
    processes, ports = start_etcd(folder, 3)
    server = Etcd(folder, ports, run_module)
    until(lambda: server.ctl("endpoint", "health").returncode == 0, "a healthy etcd")
    yield server
    for process in processes:
        process.kill()


def test_one_joins_gets_its_vote_and_goes(etcd: Etcd) -> None:
    etcd.ctl("put", "before", "1")
    refused = etcd.module("voter")
    assert refused["failed"] and "let it join as a learner" in refused["msg"]
    assert etcd.module("learner")["failed"]

    planned = etcd.module("learner", check=True, peer_url=etcd.peer_url)
    assert planned["changed"] and len(etcd.members()) == 3
    joined = etcd.module("learner", peer_url=etcd.peer_url)
    assert joined["actions"] == planned["actions"] == ["let etcd3 join etcd without a vote"]
    assert joined["initial_cluster"] == planned["initial_cluster"] and joined["diff"] == planned["diff"]
    assert etcd.members()[""] is True
    again = etcd.module("learner", peer_url=etcd.peer_url)
    assert not again["changed"] and again["initial_cluster"] == joined["initial_cluster"]
    assert [member for member in again["members"] if not member["started"]][0]["peer_urls"] == [etcd.peer_url]

    process = etcd.start(joined["initial_cluster"])
    try:
        until(lambda: etcd.members().get("etcd3") is True, "the new member's name")
        planned = etcd.module("voter", check=True)
        promoted = etcd.module("voter")
        assert not promoted["failed"], promoted["msg"]
        assert promoted["actions"] == planned["actions"] == ["give etcd3 a vote in etcd"] and promoted["diff"] == planned["diff"]
        assert etcd.members() == {f"etcd{number}": False for number in range(4)}
        assert not etcd.module("voter")["changed"]
        shown = {member["name"]: member for member in promoted["members"]}["etcd3"]
        assert not shown["learner"] and shown["started"] and shown["id"] in etcd.ctl("member", "list").stdout

        removed = etcd.module("absent")
        assert removed["changed"] and removed["actions"] == ["remove etcd3 from etcd"]
        assert sorted(etcd.members()) == ["etcd0", "etcd1", "etcd2"]
        assert not etcd.module("absent")["changed"]
        assert etcd.ctl("get", "before", "--print-value-only").stdout.split() == ["1"]
    finally:
        process.kill()


def test_a_login_is_used_and_an_address_is_not_given_twice(etcd: Etcd) -> None:
    taken = json.loads(etcd.ctl("member", "list", "--write-out=json").stdout)["members"][0]["peerURLs"][0]
    refused = etcd.module("learner", peer_url=taken)
    assert refused["failed"] and "already" in refused["msg"] and len(etcd.members()) == 3

    etcd.ctl("user", "add", "root", "--interactive=false", given=f"{SENTINEL}\n")
    etcd.ctl("user", "grant-role", "root", "root")
    assert etcd.ctl("auth", "enable").returncode == 0
    for options in ({}, {"root_password": "wrong"}):
        refused = etcd.module("absent", name="etcd2", **options)
        assert refused["failed"], refused
    removed = etcd.module("absent", name="etcd2", root_password=SENTINEL)
    assert removed["changed"] and SENTINEL not in json.dumps({name: part for name, part in removed.items() if name != "invocation"})
    assert sorted(etcd.members()) == ["etcd0", "etcd1"]
