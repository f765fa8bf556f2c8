# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dr_failover, dr_failback and two real sites, each with PostgreSQL under Patroni and Redis: refused, planned, killed in each phase and continued."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import re
import subprocess
import sys
import threading
import time
import typing as t

import psycopg2
import pytest
import redis
import waiting
from conftest import Runner
from patroni_cluster import API_PASSWORD, PatroniCluster, patroni_cluster
from ports import free_port
from processes import kill_tree
from redis_cluster import HOST, Cluster
from servers import SENTINEL

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHASES = ["look", "fence", "promote", "application", "probe", "dns", "verify", "record"]
KILLED = PHASES[:-2]
PASSWORD = "SentinelOfServers0123456789"
AGREE_SECONDS = 2.0
Json = dict[str, t.Any]
until = functools.partial(waiting.until, ignoring=(OSError, psycopg2.Error, redis.exceptions.RedisError, ValueError), pause=0.1)


@dataclasses.dataclass
class Site:
    """One site."""

    name: str
    host: str
    postgres: PatroniCluster
    redis: Cluster

    @property
    def address(self) -> str:
        """Of its server of PostgreSQL."""
        return self.postgres.members[0].address

    def servers(self) -> list[Json]:
        """Its servers of Redis."""
        return [{"host": HOST, "port": server.port} for server in self.redis.servers]


@dataclasses.dataclass
class Sites:
    """Two sites, and the playbooks on an inventory of both, on this host."""

    folder: pathlib.Path
    a: Site
    b: Site
    environment: dict[str, str]

    def write_inventory(self) -> None:
        """Write it, with what each host needs to take over from the other site."""
        bundle = self.folder / "authorities.crt"
        bundle.write_text("".join(pathlib.Path(each.postgres.ca_cert).read_text() for each in (self.a, self.b)))
        children = {site.name: {"hosts": {site.host: self._variables(site, other, bundle)}} for site, other in ((self.a, self.b), (self.b, self.a))}
        common = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
        self._write("hosts", {"all": {"vars": common, "children": children}})
        # The host of site b that would speak for the run cannot be reached.
        silent = {"ansible_connection": "ssh", "ansible_host": HOST, "ansible_port": free_port(), "ansible_ssh_retries": 0}
        children[self.b.name]["hosts"] = {"silent": silent, **children[self.b.name]["hosts"]}
        self._write("silent", {"all": {"vars": common, "children": children}})

    def _write(self, name: str, content: Json) -> None:
        path = self.folder / f"{name}.json"
        path.touch(0o600)
        path.write_text(json.dumps(content))

    def _variables(self, here: Site, there: Site, bundle: pathlib.Path) -> Json:
        server = {"type": "postgres", "login_host": here.address, "login_port": here.postgres.members[0].port, "login_user": "postgres"}
        server |= {"login_password": SENTINEL, "login_db": "postgres", "role": "primary", "name": f"PostgreSQL of {here.name}", "ssl_mode": "prefer"}
        proof = {"login_host": there.address, "login_port": there.postgres.members[0].port, "login_user": "postgres", "login_password": SENTINEL}
        return {
            "site_failover_postgres": {
                "endpoints": [member.url for member in here.postgres.members],
                "source_endpoints": [member.url for member in there.postgres.members],
                "api_user": "admin",
                "api_password": API_PASSWORD,
                "ca_cert": str(bundle),
                "slots": [there.name],
                "follow": {"host": here.address, "port": here.postgres.members[0].port, "primary_slot_name": there.name},
            },
            "site_failover_redis": {
                **{"servers": here.servers(), "source_servers": there.servers(), "login_password": PASSWORD, "tls": False, "sentinels": False},
            },
            "site_failover_checks": [server],
            "site_failover_verify_checks": [server],
            "site_failover_proofs": [{**proof, "login_db": "postgres"}],
            "site_failover_record_dir": str(self.folder / f"record-{here.name}"),
            "site_failover_report_dir": str(self.folder / "report"),
            "site_failover_wait_timeout": 60,
        }

    def start(self, old: Site, new: Site, *arguments: str, playbook: str = "dr_failover", inventory: str = "hosts") -> subprocess.Popen[str]:
        """Start a playbook."""
        program = str(pathlib.Path(sys.executable).parent / "ansible-playbook")
        argv = [program, "-i", str(self.folder / f"{inventory}.json"), str(ROOT / f"playbooks/{playbook}.yml")]
        argv += ["-e", f"site_failover_from={old.name}", "-e", f"site_failover_to={new.name}", *arguments]
        return subprocess.Popen(argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, old: Site, new: Site, *arguments: str, **where: str) -> tuple[int, str]:
        """Run a playbook; return its status and what it said, without line breaks."""
        process = self.start(old, new, *arguments, **where)
        output, _none = process.communicate(timeout=580)
        assert SENTINEL not in output and PASSWORD not in output and API_PASSWORD not in output
        return process.returncode, " ".join(output.split())

    def record(self, site: Site) -> Json:
        """Return the record at a site; nothing if there is none yet."""
        path = self.folder / f"record-{site.name}/record.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def done(self, site: Site) -> list[str]:
        """Return the phases that the record at a site has as done."""
        return [phase["name"] for phase in self.record(site).get("phases", []) if phase["outcome"] == "done"]


def confirmed(site: Site) -> list[str]:
    """The arguments that say that it is meant."""
    return ["-e", f"site_failover_confirm={site.name}"]


@pytest.fixture(scope="module")
def sites(server_root: pathlib.Path, run_module: Runner) -> t.Iterator[Sites]:
    """Site a takes writes, and site b follows it."""
    folder = server_root / "site-failover"
    folder.mkdir()
    caches = [Cluster(folder / f"redis-{name}", nodes=1, passwords=(PASSWORD, PASSWORD)) for name in "ab"]
    with contextlib.ExitStack() as stack:
        for cache in caches:
            stack.callback(cache.stop)
            cache.servers[0].start()
            until(lambda cache=cache: cache.client(cache.servers[0]).ping(), "the start of Redis")
        slots = {"site_b": {"type": "physical"}}
        members = {"postgresql": {"use_pg_rewind": True, "use_slots": True}}
        a = stack.enter_context(patroni_cluster(folder / "a", names=["data1"], network="127.0.5", slots=slots, **members))
        follow = {"host": a.members[0].address, "port": a.members[0].port, "primary_slot_name": "site_b"}
        b = stack.enter_context(patroni_cluster(folder / "b", names=["dr1"], network="127.0.6", standby_cluster=follow, **members))
        caches[1].client(caches[1].servers[0]).execute_command("REPLICAOF", HOST, caches[0].servers[0].port)
        found = Sites(folder, Site("site_a", "host_a", a, caches[0]), Site("site_b", "host_b", b, caches[1]), run_module.environment())
        found.write_inventory()
        yield found


def write(site: Site, number: int) -> None:
    """Write a row and a key at a site."""
    with psycopg2.connect(host=site.address, port=site.postgres.members[0].port, user="postgres", password=SENTINEL, dbname="postgres") as connection:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS kept (number bigint PRIMARY KEY)")
            cursor.execute("INSERT INTO kept VALUES (%s)", (number,))
    connection.close()
    site.redis.client(site.redis.servers[0]).set(f"kept:{number}", number)


def rows(site: Site) -> list[int]:
    """Return the rows that a site has, and fail unless Redis has the same."""
    connection = psycopg2.connect(host=site.address, port=site.postgres.members[0].port, user="postgres", password=SENTINEL, dbname="postgres")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT number FROM kept ORDER BY number")
        found = [row[0] for row in cursor.fetchall()]
    connection.close()
    keys = sorted(int(key.split(":")[1]) for key in site.redis.client(site.redis.servers[0]).keys("kept:*"))
    assert keys == found
    return found


class Client:
    """Writes numbered rows at site a, and at site b as soon as the record there says that the names have moved."""

    def __init__(self, sites: Sites) -> None:
        """Prepare; :meth:`__enter__` begins to write."""
        self._sites, self._end = sites, threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.log: list[tuple[str, int, float]] = []

    def __enter__(self) -> Client:
        with connected(self._sites.a) as cursor:
            cursor.execute("CREATE TABLE sent (number bigint PRIMARY KEY)")
        self._thread.start()
        until(lambda: len(self.log) > 20, "the client's first rows")
        return self

    def __exit__(self, *unused: object) -> None:
        self._end.set()
        self._thread.join(30)

    def _write(self) -> None:
        number = 0
        while not self._end.wait(0.02):
            number += 1
            site = self._sites.b if current(self._sites, "dns") else self._sites.a
            with contextlib.suppress(psycopg2.Error):
                with connected(site) as cursor:
                    cursor.execute("INSERT INTO sent VALUES (%s)", (number,))
                self.log.append((site.name, number, time.time()))

    def acknowledged(self, site: Site) -> dict[int, float]:
        """Return the rows that were acknowledged at a site, and when."""
        return {number: at for name, number, at in self.log if name == site.name}


@contextlib.contextmanager
def connected(site: Site) -> t.Iterator[t.Any]:
    """Yield a cursor at a site, and commit."""
    connection = psycopg2.connect(
        host=site.address, port=site.postgres.members[0].port, user="postgres", password=SENTINEL, dbname="postgres", connect_timeout=3
    )
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def test_what_is_unsafe_is_refused_and_a_check_says_what_it_would_do(sites: Sites) -> None:
    write(sites.a, 1)
    until(lambda: rows(sites.b) == [1], "the first row at site b")
    status, output = sites.run(sites.a, sites.b)
    assert status != 0 and "confirm it by -e site_failover_confirm=site_b" in output, output
    status, output = sites.run(sites.a, sites.b, *confirmed(sites.b))
    assert status != 0 and "site_a answers and takes writes; with site_failover_planned=true nothing is lost" in output, output
    assert sites.done(sites.b) == [] and sites.a.postgres.leader() is not None
    status, output = sites.run(sites.a, sites.b, *confirmed(sites.b), inventory="silent")
    assert status != 0 and "silent" in output and "Phase | Begin" not in output, output
    status, output = sites.run(sites.a, sites.b, "--check", "-e", "site_failover_planned=true")
    assert status == 0 and "promote the standby cluster" in output and "8. record: not measured yet" in output, output
    assert re.search(r"host_b : ok=\d+ changed=[1-9]", output), output[-400:]
    assert sites.b.postgres.leader() is None and sites.a.postgres.leader() is not None


def test_planned_each_way_loses_nothing(sites: Sites) -> None:
    """There and back: every row and key is at the site that takes over, and the report has the figures."""
    status, output = sites.run(sites.a, sites.b, "--check", playbook="dr_failback")
    assert status == 0 and "promote the standby cluster" in output and "8. record: not measured yet" in output, output
    assert sites.a.postgres.leader() is not None and sites.done(sites.b) == []
    ways = ((sites.a, sites.b, "dr_failover", ["-e", "site_failover_planned=true"]), (sites.b, sites.a, "dr_failback", []))
    for number, (old, new, playbook, more) in enumerate(ways, start=2):
        status, output = sites.run(old, new, *confirmed(new), *more, playbook=playbook)
        assert status == 0, output
        assert [phase["name"] for phase in sites.record(new)["phases"]] == PHASES and sites.record(new)["finished"]
        write(new, number)
        until(lambda old=old, new=new: rows(old) == rows(new), "the row at the site that follows")
    assert rows(sites.a) == [1, 2, 3] and sites.a.postgres.leader() is not None and sites.b.postgres.leader() is None
    report = json.loads((sites.folder / "report/report.json").read_text())
    assert report["rpo_seconds"] == 0 < report["rto_seconds"]
    assert [phase["name"] for phase in report["phases"]] == PHASES[:-1] and {phase["status"] for phase in report["phases"]} == {"ok"}
    assert "Recovery time" in (sites.folder / "report/report.html").read_text()
    before = timeline(sites.a)
    status, output = sites.run(sites.b, sites.a, *confirmed(sites.a), playbook="dr_failback")
    assert status == 0 and sites.a.postgres.leader() is not None and timeline(sites.a) == before, "a failback that is over has taken the writes from its site"


def timeline(site: Site) -> int:
    """Return the timeline of a site's leader."""
    return int(site.postgres.call(site.postgres.members[0], "/patroni")[1]["timeline"])


def promoted_from(site: Site) -> int:
    """Return the timeline that a site was promoted from, as its cluster has it."""
    return int(site.postgres.config(site.postgres.members[0])["mainstay"]["promoted_from_timeline"])


def test_a_controller_that_is_killed_in_each_phase_is_continued(sites: Sites) -> None:
    """Site a is lost; the controller is killed as soon as a phase is done, again and again. At the end each phase was done once, and the client agrees."""
    write(sites.a, 4)
    until(lambda: rows(sites.b)[-1] == 4, "the last row at site b")
    before, kept = timeline(sites.b), rows(sites.b)
    with Client(sites) as client:
        sites.a.postgres.members[0].kill()
        status, output = sites.run(sites.a, sites.b, "--check")
        assert status == 0 and "promote the standby cluster" in output, output
        assert "speaks against it: Redis of site_a answers and takes writes" in output, output
        sites.a.redis.servers[0].stop()
        times = kill_in_each_phase(sites)
        status, output = sites.run(sites.a, sites.b, *confirmed(sites.b))
        assert status == 0 and "Goes on with the run" in output, output
        until(lambda: client.acknowledged(sites.b), "the client's first row at site b")
    record = sites.record(sites.b)
    assert [entry["name"] for entry in record["phases"]] == PHASES and {entry["outcome"] for entry in record["phases"]} == {"done"}
    assert {entry["name"]: entry["started"] for entry in record["phases"] if entry["name"] in times} == times, "a phase was done twice"
    # Patroni may elect its only member again where a machine is starved, so the timeline alone says too little.
    assert record["actions"].count("promote the standby cluster ledger") == 1 and promoted_from(sites.b) == before < timeline(sites.b)
    assert rows(sites.b) == kept
    assert record["lost"]["postgres_bytes"] is None
    agrees(sites, client, record)
    write(sites.b, 5)


def kill_in_each_phase(sites: Sites) -> dict[str, float]:
    """Run it, and kill it as soon as a phase is done; return when each phase began."""
    for phase in KILLED:
        process = sites.start(sites.a, sites.b, *confirmed(sites.b))
        until(lambda process=process, phase=phase: current(sites, phase) or process.poll() is not None, f"the end of the phase {phase}", 300)
        kill_tree(process.pid)
        process.communicate(timeout=30)
        assert current(sites, phase), phase
    return {entry["name"]: entry["started"] for entry in sites.record(sites.b)["phases"]}


def agrees(sites: Sites, client: Client, record: Json) -> None:
    """Hold the figures against the client's own log."""
    old, new = client.acknowledged(sites.a), client.acknowledged(sites.b)
    with connected(sites.b) as cursor:
        cursor.execute("SELECT number FROM sent")
        kept = {row[0] for row in cursor.fetchall()}
    last, first = max(old.values()), min(new.values())
    lost = last - max(at for number, at in old.items() if number in kept)
    measured = record["measured"]
    print(f"client: {first - last:.1f} s without an answer, {len(old.keys() - kept)} of {len(old)} rows lost over {lost:.1f} s; record: {measured}")
    assert abs(record["outage_since"] - last) <= AGREE_SECONDS and abs(measured["rpo_seconds"] - lost) <= AGREE_SECONDS
    assert abs(measured["rto_seconds"] - (record["recovered"] - record["outage_since"])) < 0.01
    # Its names moved in the phase before the last look.
    assert first - last <= measured["rto_seconds"] + AGREE_SECONDS


def current(sites: Sites, phase: str) -> bool:
    """Whether the present run, the one from a that is lost, has done a phase."""
    return not sites.record(sites.b).get("planned", True) and phase in sites.done(sites.b)


def test_an_old_site_that_takes_writes_again_ends_the_run(sites: Sites) -> None:
    """Unfenced, it comes back as a primary: a write that is tried there succeeds, and the run says so instead of going on."""
    sites.a.postgres.members[0].server.start()
    sites.a.redis.servers[0].start()
    until(sites.a.postgres.leader, "the return of site a", 90)
    status, output = sites.run(sites.a, sites.b, *confirmed(sites.b), "-e", 'site_failover_forced_reason="a test"')
    assert status != 0 and f"a write was accepted at {sites.a.address} of site_a" in output and "The phase fence failed" in output, output
