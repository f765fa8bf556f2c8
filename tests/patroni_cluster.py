# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Patroni cluster on loopback: etcd, three members with PostgreSQL, a REST API with TLS and a password, and a writer that says what it was promised."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import secrets
import shutil
import signal
import ssl
import subprocess
import threading
import time
import typing as t
import urllib.error
import urllib.request

import psycopg2
import waiting
import yaml
from certificates import issue, make_authority
from ports import free_port
from servers import SENTINEL, newest_postgresql

API_PASSWORD = "Sentinel" + secrets.token_hex(8)
"""The REST API's password: a word that must never be seen outside the places made for it."""

SECONDS = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
"""The shortest that Patroni allows."""

PATRONI = os.environ.get("MAINSTAY_TEST_PATRONI", "/usr/bin/patroni")
"""The program, so that another release can be tried."""

RUN_PATRONI = pathlib.Path(__file__).resolve().parents[1] / "roles/postgres_replication/files/run_patroni.py"
"""How the role runs Debian 12's."""

PATRONI_VERSION = subprocess.run([PATRONI, "--version"], check=True, capture_output=True, text=True).stdout.split()[-1] if os.path.exists(PATRONI) else ""
START_SECONDS = 90.0


until = functools.partial(waiting.until, ignoring=(OSError, psycopg2.Error, ValueError, KeyError), pause=0.2)
"""Wait for what servers do; one that does not answer yet is waited for."""


@functools.lru_cache
def trust(ca_cert: str) -> ssl.SSLContext:
    """Return what checks certificates against one file; it takes long to make."""
    return ssl.create_default_context(cafile=ca_cert)


def runs(number: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclasses.dataclass
class Process:
    """A server that runs as the user ``postgres``, with its words in a file."""

    argv: list[str]
    log: pathlib.Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        # Not by runuser, which would stand between the server and its signals.
        identity: dict[str, t.Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.argv, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **identity)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@dataclasses.dataclass
class Member:
    """One member of the cluster."""

    name: str
    folder: pathlib.Path
    port: int
    api_port: int
    server: Process
    address: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """Where its REST API is."""
        return f"https://{self.address}:{self.api_port}"

    @property
    def data_dir(self) -> pathlib.Path:
        """Its data directory."""
        return self.folder / "data"

    def postmaster(self) -> int:
        """Return the process id of its PostgreSQL, or 0 if there is none."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.data_dir / "postmaster.pid").read_text().splitlines()[0])
        return 0

    def replay(self) -> int:
        """Return the process id of what replays the log on a standby."""
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError, IndexError):
                parent = path.with_name("stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.postmaster() and b": startup" in path.read_bytes():
                    return int(path.parent.name)
        raise AssertionError(f"{self.name} replays nothing")

    def kill(self) -> None:
        """End Patroni and PostgreSQL at once, as if the host had lost its power."""
        self.stop()
        with contextlib.suppress(AssertionError):
            until(lambda: not runs(self.postmaster()), "the end of PostgreSQL", 10)

    def stop(self) -> None:
        """The same, without waiting for PostgreSQL's end."""
        self.server.kill()
        if number := self.postmaster():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGQUIT)


@dataclasses.dataclass
class PatroniCluster:
    """A running cluster."""

    folder: pathlib.Path
    etcds: list[Process]
    etcd_port: int
    members: list[Member]

    @property
    def ca_cert(self) -> str:
        """The file that its certificates are checked against."""
        return str(self.folder / "ca.crt")

    @property
    def access(self) -> dict[str, t.Any]:
        """The modules' options."""
        endpoints = [member.url for member in self.members]
        return {"endpoints": endpoints, "api_user": "admin", "api_password": API_PASSWORD, "ca_cert": self.ca_cert, "connect_timeout": 3}

    def member(self, name: str) -> Member:
        """Return the member of a name."""
        return next(member for member in self.members if member.name == name)

    def call(self, member: Member, path: str, method: str = "GET", body: t.Any = None) -> tuple[int, t.Any]:
        """Ask a member's REST API, apart from the modules; return the status, and the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(member.url + path, data, method=method)
        request.add_header("Authorization", "Basic " + base64.b64encode(f"admin:{API_PASSWORD}".encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=60, context=trust(self.ca_cert)) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def config(self, member: Member | None = None) -> dict[str, t.Any]:
        """Return the dynamic configuration."""
        return self.call(member or self.members[0], "/config")[1]

    def patch(self, **settings: t.Any) -> None:
        """Change the dynamic configuration."""
        assert self.call(self.members[0], "/config", "PATCH", settings)[0] == 200
        until(lambda: all(self._has(self.config(member), settings) for member in self.members if member.server.process), "the change of the settings")

    def _has(self, found: t.Any, wanted: t.Any) -> bool:
        if not isinstance(wanted, dict):
            return found == wanted
        return all(self._has((found or {}).get(name), content) for name, content in wanted.items())

    def leader(self) -> Member | None:
        """Return the member that accepts writes."""
        for member in self.members:
            with contextlib.suppress(OSError):
                if self.call(member, "/primary")[0] == 200:
                    return member
        return None

    def replicas(self) -> list[Member]:
        """Return the members that run as standbys."""
        return [member for member in self.members if member.server.process and self.call(member, "/replica")[0] == 200]

    def standby_leader(self) -> Member | None:
        """Return the member that follows another cluster, if this one is a standby cluster in order."""
        with contextlib.suppress(OSError, AttributeError):
            entries = self.call(self.members[0], "/cluster")[1].get("members", [])
            names = [entry["name"] for entry in entries if entry["role"] == "standby_leader"]
            standbys = [member for member in self.members if "replayed_location" in (self.call(member, "/patroni")[1].get("xlog") or {})]
            return self.member(names[0]) if names and len(standbys) == len(self.members) else None
        return None

    def settle(self) -> Member:
        """Wait until all members are there and stream from one leader, with a synchronous standby if there has to be one; return the leader."""

        def settled() -> Member | None:
            if (follower := self.standby_leader()) is not None:
                return follower
            leader = self.leader()
            if leader is None or len(self.replicas()) < len(self.members) - 1:
                return None
            rows = self.call(leader, "/patroni")[1].get("replication", [])
            names = {member.name for member in self.members}
            streams = {row["application_name"]: row for row in rows if row["state"] == "streaming" and row["application_name"] in names}
            synchronous = self.config(leader).get("synchronous_mode") in (True, "on")
            if synchronous and not any(row["sync_state"] == "sync" for row in streams.values()):
                return None
            roles = [member["role"] for member in self.call(leader, "/cluster")[1]["members"]]
            if ("sync_standby" in roles) is not synchronous:
                return None
            return leader if len(streams) == len(self.members) - 1 else None

        return until(settled, "a cluster in order", START_SECONDS)

    def synchronous(self) -> set[str]:
        """Return the names of the synchronous standbys, as the store has them."""
        cluster = self.call(next(member for member in self.members if member.server.process), "/cluster")[1]
        return {member["name"] for member in cluster["members"] if member["role"] == "sync_standby"}

    def forget(self, member: Member) -> None:
        """Take a member that is down out of the store, as its time to live does after a while."""
        key = base64.b64encode(f"/service/ledger/members/{member.name}".encode()).decode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.etcd_port}/v3/kv/deleterange", json.dumps({"key": key}).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.loads(answer.read())["deleted"] == "1"

    def setting(self, member: Member, name: str) -> str:
        """Return what PostgreSQL itself says of a parameter."""
        with self.connect(member) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.current_setting(%s)", (name,))
            return cursor.fetchone()[0]

    def start_time(self, member: Member) -> float:
        """Return when PostgreSQL was started, in seconds."""
        with self.connect(member) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT extract(epoch FROM pg_postmaster_start_time())")
            return float(cursor.fetchone()[0])

    @contextlib.contextmanager
    def connect(self, member: Member) -> t.Iterator[t.Any]:
        """Yield a connection to one member."""
        connection = psycopg2.connect(host=member.address, port=member.port, user="postgres", password=SENTINEL, dbname="postgres", connect_timeout=3)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def multi_host(self) -> dict[str, t.Any]:
        """Return the arguments of a connection to whichever member accepts writes."""
        return {
            "host": ",".join(member.address for member in self.members),
            "port": ",".join(str(member.port) for member in self.members),
            "user": "postgres",
            "password": SENTINEL,
            "dbname": "postgres",
            "target_session_attrs": "read-write",
            "connect_timeout": 2,
        }


class Writer:
    """Writes numbered rows one after another, and remembers which of them the server acknowledged and when."""

    def __init__(self, cluster: PatroniCluster) -> None:
        """Make the table; :meth:`__enter__` begins to write."""
        self._cluster = cluster
        self._thread = threading.Thread(target=self._write)
        self._end = threading.Event()
        self.acknowledged: list[tuple[int, float]] = []
        self.errors = 0
        self.table = f"rows_{secrets.token_hex(4)}"

    def __enter__(self) -> Writer:
        connection = psycopg2.connect(**self._cluster.multi_host())
        with connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {self.table} (number bigint PRIMARY KEY)")
        connection.close()
        self._thread.start()
        until(lambda: len(self.acknowledged) > 20, "the first rows")
        return self

    def __exit__(self, *unused: object) -> None:
        written = len(self.acknowledged)
        with contextlib.suppress(AssertionError):
            until(lambda: len(self.acknowledged) > written + 20, "rows after the change")
        self._end.set()
        self._thread.join(30)

    def _write(self) -> None:
        connection, number = None, 0
        while not self._end.is_set():
            number += 1
            try:
                if connection is None:
                    connection = psycopg2.connect(**self._cluster.multi_host())
                    connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute(f"INSERT INTO {self.table} VALUES (%s)", (number,))
                self.acknowledged.append((number, time.monotonic()))
                time.sleep(0.005)
            except psycopg2.Error:
                self.errors += 1
                if connection is not None:
                    connection.close()
                    connection = None
                time.sleep(0.02)
        if connection is not None:
            connection.close()

    @property
    def gap(self) -> float:
        """The longest time between two acknowledgements, in seconds."""
        moments = [moment for unused, moment in self.acknowledged]
        return max(later - earlier for earlier, later in zip(moments, moments[1:]))

    def lost(self) -> set[int]:
        """Return the rows that were acknowledged and are not there."""
        connection = psycopg2.connect(**self._cluster.multi_host())
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT number FROM {self.table}")
            found = {row[0] for row in cursor.fetchall()}
        connection.close()
        return {number for number, unused in self.acknowledged} - found


@contextlib.contextmanager
def arguments_of_processes() -> t.Iterator[set[str]]:
    """Collect the command lines of all processes that run meanwhile."""
    seen: set[str] = set()
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.2):
            for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def certificates(folder: pathlib.Path, addresses: t.Sequence[str] = ("127.0.0.1",)) -> None:
    """Make a CA and one certificate for loopback addresses that it has signed."""
    make_authority(folder)
    issue(folder, "member", "member", ",".join(f"IP:{address}" for address in addresses))


def member_settings(folder: pathlib.Path, member: Member, clients: list[int], settings: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the configuration file of one member."""
    return {
        "scope": "ledger",
        "name": member.name,
        "restapi": {
            "listen": f"{member.address}:{member.api_port}",
            "connect_address": f"{member.address}:{member.api_port}",
            "certfile": str(folder / "member.crt"),
            "keyfile": str(folder / "member.key"),
            "cafile": str(folder / "ca.crt"),
            "verify_client": "none",
            "authentication": {"username": "admin", "password": API_PASSWORD},
        },
        "etcd3": {"hosts": [f"127.0.0.1:{port}" for port in clients]},
        "bootstrap": {
            "dcs": settings,
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums", "no-sync", {"auth-host": "scram-sha-256"}, {"auth-local": "trust"}],
        },
        "postgresql": {
            "listen": f"{member.address}:{member.port}",
            "connect_address": f"{member.address}:{member.port}",
            "data_dir": str(member.data_dir),
            "bin_dir": newest_postgresql(),
            "pgpass": str(member.folder / "pgpass"),
            "authentication": {user: {"username": name, "password": SENTINEL} for user, name in (("superuser", "postgres"), ("replication", "replicator"))},
            # Standbys look for their leader again soon; the default of 5 seconds only makes the tests slow.
            "parameters": {"unix_socket_directories": str(member.folder), "fsync": "off", "wal_retrieve_retry_interval": "200ms"},
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "pg_hba": ["local all all trust", "host replication replicator 127.0.0.1/32 scram-sha-256", "host all all 127.0.0.1/32 scram-sha-256"],
        },
    }


def start_etcd(folder: pathlib.Path, count: int) -> tuple[list[Process], list[int]]:
    """Start etcd with so many voters; return their processes, and their ports for clients."""
    ports = [(free_port(), free_port()) for unused in range(count)]
    peers = ",".join(f"etcd{number}=http://127.0.0.1:{peer}" for number, (unused, peer) in enumerate(ports))
    processes = []
    for number, (client, peer) in enumerate(ports):
        argv = ["/usr/bin/etcd", "--name", f"etcd{number}", "--data-dir", str(folder / f"etcd{number}"), "--initial-cluster", peers]
        for option, port in (("client", client), ("peer", peer)):
            argv += [f"--listen-{option}-urls", f"http://127.0.0.1:{port}"]
        argv += ["--advertise-client-urls", f"http://127.0.0.1:{client}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"]
        processes.append(Process(argv, folder / f"etcd{number}.log"))
        processes[-1].start()
    return processes, [client for client, unused in ports]


@contextlib.contextmanager
def patroni_cluster(
    folder: pathlib.Path, voters: int = 1, names: t.Sequence[str] = ("data1", "data2", "data3"), network: str = "", **settings: t.Any
) -> t.Iterator[PatroniCluster]:
    """Yield a cluster of three members, ``data1`` to ``data3``, in order.

    Args:
        folder: a new folder for its files, which any user may enter.
        voters: how many members etcd has.
        names: of other members, or of fewer.
        network: the beginning of loopback addresses, such as ``127.0.1``: each member has one of its own, and all have the same ports, as hosts do.
        settings: further dynamic settings that the cluster is made with.
    """
    for path in ("/usr/bin/etcd", PATRONI):
        assert os.access(path, os.X_OK), f"{path} is missing; install etcd-server, patroni and python3-etcd"
    folder.mkdir()
    own(folder)
    certificates(folder, ["127.0.0.1", *(f"{network}.{number}" for number in range(1, len(names) + 1) if network)])
    own(folder / "member.key")
    etcds, clients = start_etcd(folder, voters)
    program = [PATRONI]
    if "MAINSTAY_TEST_PATRONI" not in os.environ:
        program = ["/usr/bin/python3", shutil.copy(RUN_PATRONI, folder)]
    members, shared_port, shared_api_port = [], free_port(), free_port()
    for number, name in enumerate(names, start=1):
        place = folder / name
        place.mkdir(0o700)
        own(place)
        config = place / "patroni.yml"
        server = Process([*program, str(config)], folder / f"{name}.log")
        if network:
            members.append(Member(name, place, shared_port, shared_api_port, server, f"{network}.{number}"))
        else:
            members.append(Member(name, place, free_port(), free_port(), server))
        config.touch(0o600)
        config.write_text(yaml.safe_dump(member_settings(folder, members[-1], clients, {**SECONDS, **settings})))
        own(config)
    cluster = PatroniCluster(folder, etcds, clients[-1], members)
    try:
        for member in members:
            member.server.start()
        cluster.settle()
        yield cluster
    finally:
        for member in members:
            member.stop()
        for member in members:
            member.kill()
        for etcd in etcds:
            etcd.kill()


def own(path: pathlib.Path) -> None:
    """Give a file to the user that the servers run as."""
    if os.geteuid() == 0:
        shutil.chown(path, "postgres", "postgres")
