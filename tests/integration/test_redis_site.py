# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis_site and two real sites under a writer: following, a planned change and its way back, the loss of a site, and a site that comes back."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import threading
import time
import typing as t

import pytest
import redis
from conftest import Runner
from redis_cluster import HOST, MASTER_NAME, Cluster, Daemon, until

Result = dict[str, t.Any]
PASSWORD, SENTINEL_A, SENTINEL_B = "SentinelOfServers0123456789", "SentinelOfSiteA0123456789", "SentinelOfSiteB0123456789"
KEYS = {"changed", "actions", "master", "servers", "source_reachable", "lost_bytes", "lost_seconds", "paused_seconds", "seconds", "diff"}


@dataclasses.dataclass
class Sites:
    """Two servers at each site; site a has Sentinels that run, with a login that site b does not know."""

    a: Cluster
    b: Cluster

    def options(self, state: str, here: str = "b", **options: t.Any) -> Result:
        """Return the module's options for a site."""
        ours, theirs = (self.b, self.a) if here == "b" else (self.a, self.b)
        servers = [[{"host": HOST, "port": server.port} for server in cluster.servers] for cluster in (ours, theirs)]
        login = {"tls": False, "login_user": "operator", "login_password": PASSWORD}
        return {**login, "state": state, "servers": servers[0], "source": {"servers": servers[1]}, "wait_timeout": 60, **options}

    def roles(self) -> dict[int, str]:
        """Return what each server says of itself: its master's port, or ``master``."""
        found = {}
        for cluster in (self.a, self.b):
            for server in cluster.servers:
                with contextlib.suppress(redis.exceptions.RedisError):
                    info = cluster.client(server).info("replication")
                    found[server.port] = "master" if info["role"] == "master" else str(info["master_port"])
        return found

    def of(self, daemon: Daemon) -> t.Any:
        """Return a client of a server."""
        return self.b.client(daemon)


class Writer(threading.Thread):
    """Writes numbered keys to whichever server of either site takes them."""

    def __init__(self, sites: Sites) -> None:
        """Prepare it; ``with`` runs it."""
        super().__init__(daemon=True)
        self._sites, self._ended, self.acknowledged = sites, threading.Event(), list[int]()

    def run(self) -> None:
        """Write until it is told to stop."""
        number = 0
        servers = [*self._sites.a.servers, *self._sites.b.servers]
        while not self._ended.is_set():
            number += 1
            try:
                self._sites.of(servers[0]).set(f"row:{number}", number)
                self.acknowledged.append(number)
            except redis.exceptions.RedisError:
                servers.append(servers.pop(0))
            time.sleep(0.002)

    def __enter__(self) -> Writer:
        self.start()
        until(lambda: len(self.acknowledged) > 50, "the first writes")
        return self

    def __exit__(self, *unused: object) -> None:
        self._ended.set()
        self.join(30)

    def lost(self, server: Daemon) -> list[int]:
        """Return the acknowledged numbers that a server does not have."""
        found = {int(key.split(":")[1]) for key in self._sites.of(server).keys("row:*")}
        return sorted(set(self.acknowledged) - found)


@pytest.fixture(scope="module")
def sites(server_root: pathlib.Path) -> t.Iterator[Sites]:
    """Two sites, of which the second follows nobody yet: its Sentinels are not started, as while it follows."""
    a = Cluster(server_root / "site-a", nodes=2, down_after=60, passwords=(PASSWORD, SENTINEL_A))
    b = Cluster(server_root / "site-b", nodes=2, passwords=(PASSWORD, SENTINEL_B))
    try:
        # The Sentinels of a log in as a user that only a has.
        for server, name in ((server, name) for cluster, name in ((a, SENTINEL_A), (b, SENTINEL_B)) for server in cluster.servers):
            with server.config.open("a") as file:
                file.write(f"user watcher on >{name} ~* &* +@all\n")
        for sentinel in a.sentinels:
            text = sentinel.config.read_text().replace(f"sentinel auth-pass {MASTER_NAME} {PASSWORD}", f"sentinel auth-pass {MASTER_NAME} {SENTINEL_A}")
            sentinel.config.write_text(f"{text}sentinel auth-user {MASTER_NAME} watcher\n")
        b.servers[1].config.write_text(b.servers[1].config.read_text().replace("\nreplicaof", "\n# replicaof"))
        for server in b.servers:
            server.start()
        until(lambda: all(b.client(server).ping() for server in b.servers), "site b's start")
        a.start()
        yield Sites(a, b)
    finally:
        a.stop()
        b.stop()


@pytest.fixture
def run(run_module: Runner, sites: Sites) -> t.Callable[..., Result]:
    """Run the module; no secret is in what it returns."""

    def module(state: str, check: bool = False, **options: t.Any) -> Result:
        result = run_module("redis_site", sites.options(state, **options), check=check, diff=True)
        assert not any(secret in str(result) for secret in (PASSWORD, SENTINEL_A, SENTINEL_B))
        return result

    return module


def watching(sites: Sites) -> dict[str, t.Any]:
    """Return the options that name site a's Sentinels."""
    sentinels = [{"host": HOST, "port": sentinel.port} for sentinel in sites.a.sentinels]
    return {"sentinels": sentinels, "sentinel_password": SENTINEL_A, "master_name": MASTER_NAME}


def test_a_site_follows(sites: Sites, run: t.Callable[..., Result]) -> None:
    """Check, real, again: one server follows the other site, the other one follows that, and keys of its own are kept unless they are given up."""
    head, second = sites.b.servers
    sites.of(head).set("own", 1)
    refused = run("following")
    assert refused["failed"] and f"{head.address} is a master with keys of its own" in refused["msg"], refused
    sites.of(head).delete("own")
    planned, done, again = run("following", check=True), None, None
    assert sites.roles()[head.port] == "master"
    done, again = run("following"), run("following")
    assert KEYS <= set(planned) and planned["actions"] == done["actions"] and planned["diff"] == done["diff"]
    assert done["changed"] and not again["changed"] and again["actions"] == []
    master = sites.a.servers[0]
    assert sites.roles() == {master.port: "master", sites.a.servers[1].port: str(master.port), head.port: str(master.port), second.port: str(head.port)}
    assert done["master"] == master.address and done["source_reachable"]
    assert [entry["link_up"] for entry in done["servers"]] == [True, True] and again["servers"][0]["lag_bytes"] >= 0
    assert f"replicaof {HOST} {master.port}" in head.config.read_text(), "after a restart it would follow nobody"


def test_the_other_sites_sentinels_neither_count_nor_reach_it(sites: Sites) -> None:
    """They learn of the server that follows from the master, and cannot log in there: they never promote it, and never make it a replica."""
    head = sites.b.servers[0]

    def flags() -> set[str]:
        known = [replica for replica in sites.a.replicas(sites.a.sentinels[0]) if replica["port"] == str(head.port)]
        return set(known[0]["flags"].split(",")) if known else set()

    # Down for each of them, since the answer to PING is a refusal.
    until(lambda: "disconnected" in flags() or "s_down" in flags(), "the Sentinels' failure to log in", 90)


def test_what_still_takes_writes_is_not_left_behind(sites: Sites, run: t.Callable[..., Result]) -> None:
    """Neither a site that answers nor one that is silent is given up without a word, and Sentinels that would act are in the way of a planned change."""
    before = sites.roles()
    assert "still takes writes" in run("promoted")["msg"]
    watched = run("promoted", planned=True, **watching(sites))
    assert watched["failed"] and "watches main, and would act by itself" in watched["msg"], watched
    assert sites.roles() == before


def test_a_planned_change_and_its_way_back_lose_nothing(sites: Sites, run: t.Callable[..., Result]) -> None:
    """Under a writer that knows both sites; every acknowledged key is at the site that takes over, each time."""
    for sentinel in sites.a.sentinels:
        sentinel.stop()
    head, master = sites.b.servers[0], sites.a.servers[0]
    with Writer(sites) as writer:
        planned = run("promoted", check=True, planned=True, **watching(sites))
        done = run("promoted", planned=True, **watching(sites))
        count = len(writer.acknowledged)
        until(lambda: len(writer.acknowledged) > count + 50, "writes at the other site")
        back = run("promoted", here="a", planned=True)
        until(lambda: len(writer.acknowledged) > count + 200, "writes back home")
    assert planned["actions"] == done["actions"] and planned["paused_seconds"] == 0 < done["paused_seconds"]
    assert done["master"] == head.address and back["master"] == master.address and (done["lost_bytes"], back["lost_seconds"]) == (0, 0.0)
    until(lambda: sites.roles() == {master.port: "master", sites.a.servers[1].port: str(master.port), **followers(sites, master)}, "everybody's place")
    assert writer.lost(master) == []
    assert not run("promoted", here="a", planned=True)["changed"]
    assert not run("following")["changed"]


def followers(sites: Sites, master: Daemon) -> dict[int, str]:
    """Return whom site b's servers follow while site a leads."""
    head, second = sites.b.servers
    return {head.port: str(master.port), second.port: str(head.port)}


def test_a_run_that_was_cut_off_is_finished(sites: Sites, run: t.Callable[..., Result]) -> None:
    """Killed after the source's master had become a replica and before the promotion: nobody takes writes, and the next run promotes."""
    head, master = sites.b.servers[0], sites.a.servers[0]
    sites.of(master).set("before", "cut")
    until(lambda: sites.of(head).get("before") == "cut", "the key at the other site")
    sites.of(master).execute_command("REPLICAOF", HOST, head.port)
    done = run("promoted", planned=True)
    assert not done["failed"] and done["master"] == head.address and sites.of(head).get("before") == "cut", done
    until(lambda: sites.of(master).info("replication")["master_link_status"] == "up", "the old master's link")
    assert not run("promoted", here="a", planned=True)["failed"]


def test_a_lost_site_is_given_up_in_words_and_does_not_take_back(sites: Sites, run: t.Callable[..., Result]) -> None:
    """Its servers are stopped like a site whose power went; it comes back with its Sentinels, and the other site stays the master."""
    head = sites.b.servers[0]
    for sentinel in sites.a.sentinels:
        sentinel.start()
    for daemon in (*sites.a.sentinels, *sites.a.servers):
        daemon.signal(signal.SIGSTOP)
    until(lambda: sites.of(head).info("replication")["master_last_io_seconds_ago"] != 0, "a silence")
    assert "cannot be seen" in run("promoted")["msg"]
    assert "nobody knows how many bytes" in run("promoted", fenced=True, max_lost_bytes=1 << 30)["msg"]
    done = run("promoted", fenced=True, max_lost_seconds=600, **watching(sites))
    assert not done["failed"] and done["lost_bytes"] is None and done["lost_seconds"] >= 0 and not done["source_reachable"], done
    assert sites.of(head).set("after", "the loss")
    for daemon in (*sites.a.servers, *sites.a.sentinels):
        daemon.signal(signal.SIGCONT)
    # Sentinels read INFO every ten seconds, and would make a stray master a replica after that.
    until(lambda: all(sites.a.states(sentinel)["flags"] == "master" for sentinel in sites.a.sentinels), "the Sentinels' return")
    time.sleep(12)
    assert sites.roles()[head.port] == "master" and sites.of(head).get("after") == "the loss"
    for sentinel in sites.a.sentinels:
        sentinel.stop()
    assert "with keys of its own" in run("following", here="a")["msg"]
    assert not run("following", here="a", discard=True)["failed"]
    until(lambda: sites.of(sites.a.servers[1]).get("after") == "the loss", "the data at the old site")
