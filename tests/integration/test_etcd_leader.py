# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps etcd's leader away from the primary's host, against a real cluster with three voters; data1 counts as the host of the first voter, and so on."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import time
import typing as t
import urllib.request

import pytest
from patroni_cluster import RUN_PATRONI, Member, PatroniCluster, Process, patroni_cluster, until

PROGRAM = RUN_PATRONI.parent / "etcd_leader.py"


class Voters:
    """The three voters of a cluster."""

    def __init__(self, cluster: PatroniCluster) -> None:
        """Find out where they answer."""
        self.urls = [etcd.argv[etcd.argv.index("--advertise-client-urls") + 1] for etcd in cluster.etcds]

    def call(self, number: int, method: str, **body: str) -> dict[str, t.Any]:
        """Ask one."""
        request = urllib.request.Request(f"{self.urls[number]}/v3/maintenance/{method}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def leader(self) -> int | None:
        """The number of the one that leads, None while there is none or one does not answer."""
        with contextlib.suppress(OSError):
            answers = [self.call(number, "status") for number in range(len(self.urls))]
            return next((number for number, answer in enumerate(answers) if answer["header"]["member_id"] == answer.get("leader")), None)
        return None

    def lead(self, number: int) -> None:
        """Let one lead, once all answer."""
        leader = until(lambda: [found for found in [self.leader()] if found is not None], "a leader of etcd")[0]
        if leader != number:
            self.call(leader, "transfer-leadership", targetID=self.call(number, "status")["header"]["member_id"])
        until(lambda: self.leader() == number, "the leader that was asked for")


@pytest.fixture(scope="module")
def cluster(server_root: pathlib.Path) -> t.Iterator[PatroniCluster]:
    with patroni_cluster(server_root / "etcd-leader", 3) as running:
        yield running


@contextlib.contextmanager
def keeper(cluster: PatroniCluster, member: Member, *others: int) -> t.Iterator[t.Callable[[], str]]:
    """Run it as on the host of a member, with those voters as the others; yield what reads its words."""
    voters, own, log = Voters(cluster), cluster.members.index(member), cluster.folder / "keeper.log"
    log.unlink(missing_ok=True)
    argv = ["/usr/bin/python3", "-IS", shutil.copy(PROGRAM, cluster.folder), f"--etcd={voters.urls[own]}", f"--patroni={member.url}"]
    process = Process([*argv, f"--ca={cluster.ca_cert}", "--interval=0.2", *(f"--other={voters.urls[number]}" for number in others)], log)
    process.start()
    try:
        yield log.read_text
    finally:
        process.kill()


def places(cluster: PatroniCluster, member: Member) -> tuple[int, int, int]:
    """The number of a member's voter, and those of the two others."""
    own = cluster.members.index(member)
    first, second = (number for number in range(3) if number != own)
    return own, first, second


def test_etcd_is_handed_to_the_first_of_the_others(cluster: PatroniCluster) -> None:
    primary, voters = cluster.settle(), Voters(cluster)
    own, first, second = places(cluster, primary)
    voters.lead(own)
    with keeper(cluster, primary, second, first) as words:
        until(lambda: voters.leader() == second, "that the other voter leads")
        until(words, "its words")
        assert words() == f"led etcd beside the primary; {voters.urls[second]} leads it now\n"
    assert cluster.settle() == primary


def test_a_voter_that_is_gone_is_passed_over(cluster: PatroniCluster) -> None:
    primary, voters = cluster.settle(), Voters(cluster)
    own, first, second = places(cluster, primary)
    voters.lead(own)
    cluster.etcds[second].kill()
    try:
        with keeper(cluster, primary, second, first) as words:
            until(words, "its words")
            assert f"{voters.urls[first]} leads it now" in words()
    finally:
        cluster.etcds[second].start()
    until(lambda: voters.leader() == first, "that the second of them leads")


def test_beside_a_replica_etcd_stays_where_it_is(cluster: PatroniCluster) -> None:
    cluster.settle()
    replica, voters = cluster.replicas()[0], Voters(cluster)
    own, first, second = places(cluster, replica)
    voters.lead(own)
    with keeper(cluster, replica, first, second) as words:
        time.sleep(2)
        assert voters.leader() == own
        assert words() == ""


def test_what_does_not_answer_is_said_once(cluster: PatroniCluster) -> None:
    primary, voters = cluster.settle(), Voters(cluster)
    own, first, second = places(cluster, primary)
    voters.lead(first)
    cluster.etcds[own].kill()
    try:
        with keeper(cluster, primary, first, second) as words:
            until(words, "its words")
            time.sleep(2)
            assert words().count("cannot look") == 1, words()
    finally:
        cluster.etcds[own].start()
