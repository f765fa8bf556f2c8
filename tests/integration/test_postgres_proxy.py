# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The poolers and the proxy with the roles' own files in front of a real cluster: who may log in, what a reload keeps, and what clients see of a switchover."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import typing as t

import psycopg2
import pytest
import yaml
from conftest import SENTINEL, Runner, as_server_user
from patroni_cluster import Member, PatroniCluster, Process, Writer, own, patroni_cluster, until
from ports import free_port

ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
PASSWORD = "Pooler" + SENTINEL
"""The password of the user that looks passwords up."""

VERSION = subprocess.run(["/usr/sbin/pgbouncer", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
FACTS = {"distribution_major_version": "12" if VERSION < "1.19" else "13"}
"""The roles go by the release of Debian that brings this version."""
LOOKUP_DATABASE = "ledger" if FACTS["distribution_major_version"] == "12" else "postgres"


@dataclasses.dataclass
class Stack:
    """The cluster, a pooler for each member, and the proxy with its ports."""

    cluster: PatroniCluster
    poolers: dict[str, Process]
    pooler_ports: dict[str, int]
    proxy: subprocess.Popen[bytes]
    write_port: int
    read_port: int
    direct_port: int
    direct_read_port: int
    metrics_port: int

    def access(self, port: int, **options: t.Any) -> dict[str, t.Any]:
        """Return the arguments of a connection as the application's user."""
        tls = {"sslmode": "verify-full", "sslrootcert": self.cluster.ca_cert}
        return {"host": "127.0.0.1", "port": port, "user": "app", "password": SENTINEL, "dbname": "ledger", "connect_timeout": 3, **tls, **options}

    @contextlib.contextmanager
    def connect(self, port: int, **options: t.Any) -> t.Iterator[t.Any]:
        """Yield a cursor of such a connection, in autocommit mode."""
        connection = psycopg2.connect(**self.access(port, **options))
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor

    def ask(self, port: int, statement: str, **options: t.Any) -> t.Any:
        """Return the first value of a statement's answer."""
        with self.connect(port, **options) as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    def refusal(self, port: int, **options: t.Any) -> str:
        """Return why a login fails; fails if it does not."""
        with pytest.raises(psycopg2.OperationalError) as caught, self.connect(port, **options):
            pass
        return str(caught.value)

    def console(self, member: Member, command: str, user: str = "postgres") -> str:
        """Ask the console of a pooler through its socket, as the operating system's user postgres."""
        argv = ["psql", "-XAtq", "-h", str(member.folder), "-p", str(self.pooler_ports[member.name]), "-U", user, "-d", "pgbouncer", "-c", command]
        return subprocess.run(as_server_user(argv), check=True, cwd="/", capture_output=True, text=True, timeout=30).stdout

    def sql(self, *statements: str, database: str = "postgres") -> None:
        """Run statements on the leader as the superuser."""
        leader = self.cluster.settle()
        connection = psycopg2.connect(host="127.0.0.1", port=leader.port, user="postgres", password=SENTINEL, dbname=database)
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def metric(self, name: str) -> dict[str, float]:
        """Return a metric of the proxy by what its labels say."""
        with socket.create_connection(("127.0.0.1", self.metrics_port), 5) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return {labels: float(number) for labels, number in re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", answer, re.MULTILINE)}

    def seen(self) -> bool:
        """Tell whether the proxy knows which member leads and which ones follow, and says the same of the poolers."""
        return sorted(self.metric("haproxy_backend_active_servers").values()) == [1, 1, 2, 2]


def templates(role: str, names: t.Sequence[str], given: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the task that renders templates of a role with the role's own variables, some of them given."""
    variables: dict[str, t.Any] = {}
    for path in (ROLES / role / "defaults/main.yml", *sorted((ROLES / role / "vars").rglob("*.yml"))):
        variables |= yaml.safe_load(path.read_text())
    texts = {name: f"{{{{ lookup('ansible.builtin.template', '{ROLES / role}/templates/{name}.j2') }}}}" for name in names}
    return {"ansible.builtin.debug": {"msg": texts}, "vars": {**variables, "ansible_facts": FACTS, "ansible_managed": "for a test", **given}}


def write(folder: pathlib.Path, texts: dict[str, str]) -> None:
    """Write what was rendered."""
    for name, text in texts.items():
        path = folder / pathlib.Path(name).name
        path.touch(0o600)
        path.write_text(text)


def pooler_files(member: Member, port: int) -> dict[str, t.Any]:
    """Return the task that renders the role's files for a member's pooler."""
    folder = member.folder / "pooler"
    given = {
        "postgres_replication_pooler": True,
        "postgres_replication_pooler_password": PASSWORD,
        "postgres_replication_pooler_port": port,
        "postgres_replication_listen_address": "127.0.0.1",
        "postgres_replication_port": member.port,
        "postgres_replication_databases": [{"name": "ledger", "owner": "app"}],
        "__postgres_replication_pooler_dir": str(folder),
        "__postgres_replication_socket_dir": str(member.folder),
        "__postgres_replication_tls_dir": str(folder),
    }
    return templates("postgres_replication", [f"pgbouncer/{name}" for name in ("pgbouncer.ini", "start.ini", "hba.conf", "userlist.txt")], given)


def pooler(cluster: PatroniCluster, member: Member, texts: dict[str, str]) -> Process:
    """Return a member's pooler, with its files."""
    folder = member.folder / "pooler"
    folder.mkdir()
    write(folder, texts)
    for part in ("crt", "key"):
        shutil.copy(cluster.folder / f"member.{part}", folder / f"node.{part}")
    for path in (folder, *folder.iterdir()):
        own(path)
    return Process(["/usr/sbin/pgbouncer", str(folder / "pgbouncer.ini")], cluster.folder / f"pooler-{member.name}.log")


def proxy_file(cluster: PatroniCluster, ports: t.Sequence[int], **more: t.Any) -> dict[str, t.Any]:
    """Return the task that renders the role's file for the proxy, with the ports in the order of :class:`Stack`, and further variables."""
    names = ("pooled_write_port", "pooled_read_port", "write_port", "read_port", "metrics_port")
    given = {
        "postgres_proxy_pooler": True,
        "postgres_proxy_members": [{"name": member.name, "address": "127.0.0.1", "certificate_name": "member"} for member in cluster.members],
        **{f"postgres_proxy_{name}": port for name, port in zip(names, ports)},
        **more,
    }
    return templates("postgres_proxy", ["haproxy.cfg"], given)


def adapt(cluster: PatroniCluster, path: pathlib.Path, ports: dict[str, int]) -> None:
    """Give each member a port of its own in the proxy's file, and take out what needs root."""
    text = path.read_text().replace("/run/haproxy/admin.sock", str(path.parent / "admin.sock"))
    text = re.sub(r"^    (user|group|chroot) .*\n", "", text, flags=re.MULTILINE)
    for member in cluster.members:
        text = text.replace(f"server {member.name} 127.0.0.1:6432 ", f"server {member.name} 127.0.0.1:{ports[member.name]} ")
        text = text.replace(f"server {member.name} 127.0.0.1:5432 ", f"server {member.name} 127.0.0.1:{member.port} port {member.api_port} ")
    path.write_text(text)
    shutil.copy(cluster.ca_cert, path.parent / "postgres-ca.crt")


def call_back(cluster: PatroniCluster, ports: dict[str, int]) -> None:
    """Let Patroni call the role's script, as the role's template does."""
    # The checkout may be closed to the user that PostgreSQL runs as.
    script = cluster.folder / "pooler_reconnect.sh"
    shutil.copy(ROLES / "postgres_replication/files/pooler_reconnect.sh", script)
    own(script)
    for member in cluster.members:
        path = member.folder / "patroni.yml"
        settings = yaml.safe_load(path.read_text())
        command = f"/bin/sh {script} {member.folder} {member.port} {ports[member.name]}"
        settings["postgresql"]["callbacks"] = {"on_start": command, "on_role_change": command}
        path.write_text(yaml.safe_dump(settings))
        member.server.signal(signal.SIGHUP)


@pytest.fixture(scope="module")
def stack(server_root: pathlib.Path, run_module: Runner, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Stack]:
    """Everything, running."""
    with contextlib.ExitStack() as cleanup:
        cluster = cleanup.enter_context(patroni_cluster(server_root / "patroni-proxy", synchronous_mode=True))
        ports = {member.name: free_port() for member in cluster.members}
        own_ports = [free_port() for unused in range(5)]
        rendered = run_module.tasks([proxy_file(cluster, own_ports), *(pooler_files(member, ports[member.name]) for member in cluster.members)])
        assert rendered.status == 0, rendered.output
        path = tmp_path_factory.mktemp("proxy") / "haproxy.cfg"
        write(path.parent, rendered.results[0]["msg"])
        poolers = {member.name: pooler(cluster, member, result["msg"]) for member, result in zip(cluster.members, rendered.results[1:])}
        for process in poolers.values():
            process.start()
            cleanup.callback(process.kill)
        call_back(cluster, ports)
        adapt(cluster, path, ports)
        proxy = subprocess.Popen(["haproxy", "-W", "-f", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cleanup.callback(proxy.wait, 20)
        cleanup.callback(proxy.terminate)
        running = Stack(cluster, poolers, ports, proxy, *own_ports)
        running.sql(f"CREATE ROLE app LOGIN PASSWORD '{SENTINEL}'", f"CREATE ROLE pgbouncer LOGIN PASSWORD '{PASSWORD}'")
        running.sql("CREATE DATABASE ledger OWNER app")
        lookup = (ROLES / "postgres_replication/files/pooler_lookup.sql").read_text()
        running.sql(lookup, database=LOOKUP_DATABASE)
        until(lambda: running.ask(running.write_port, "SELECT NOT pg_is_in_recovery()"), "a login through the proxy")
        until(running.seen, "the proxy's view of the members")
        yield running


def test_who_may_come_in(stack: Stack) -> None:
    leader = stack.cluster.settle()
    for member in stack.cluster.members:
        port = stack.pooler_ports[member.name]
        assert stack.ask(port, "SELECT pg_is_in_recovery()") is (member is not leader)
        assert "SSL required" in stack.refusal(port, sslmode="disable")
    port = stack.pooler_ports[leader.name]
    # The cluster's own users, with their right passwords.
    for user, password in (("postgres", SENTINEL), ("replicator", SENTINEL), ("pgbouncer", PASSWORD), ("postgres", "")):
        for database in ("ledger", "pgbouncer"):
            assert re.search("rejected|not allowed|no such user|authentication failed", stack.refusal(port, user=user, password=password, dbname=database))
    # The console is not for the network, and a stranger who asks for it does no harm.
    for user in ("app", "nobody"):
        assert "rejected" in stack.refusal(port, user=user, dbname="pgbouncer")
    assert "PgBouncer" in stack.console(leader, "SHOW VERSION")
    assert "authentication failed" in stack.refusal(port, password="wrong")
    # PgBouncer looks passwords up in a database of its own since 1.19.
    with pytest.raises(psycopg2.errors.InsufficientPrivilege if LOOKUP_DATABASE == "ledger" else psycopg2.errors.InvalidSchemaName):
        stack.ask(port, "SELECT pgbouncer.lookup('app')")


def test_passwords_are_the_servers_own(stack: Stack) -> None:
    port = stack.write_port
    stack.sql("CREATE ROLE guest LOGIN PASSWORD 'first'")
    assert stack.ask(port, "SELECT current_user", user="guest", password="first") == "guest"
    stack.sql("ALTER ROLE guest PASSWORD 'second'")
    assert stack.ask(port, "SELECT current_user", user="guest", password="second") == "guest"
    assert "authentication failed" in stack.refusal(port, user="guest", password="first")
    stack.sql("ALTER ROLE guest VALID UNTIL '2001-01-01'")
    until(lambda: stack.refusal(port, user="guest", password="second"), "the end of a password")
    stack.sql("DROP ROLE guest")


def test_clients_share_connections_and_survive_reloads(stack: Stack) -> None:
    leader = stack.cluster.settle()
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(stack.connect(stack.write_port, options="-c statement_timeout=5000")) for unused in range(12)]
        servers = set()
        for client in clients:
            client.execute("SELECT pg_backend_pid()")
            servers.add(client.fetchone()[0])
        assert len(servers) < 4
        stack.poolers[leader.name].signal(signal.SIGHUP)
        os.kill(stack.proxy.pid, signal.SIGUSR2)
        until(lambda: stack.seen() and stack.ask(stack.write_port, "SELECT 1"), "the reload")
        for client in clients:
            client.execute("SELECT 1")
        assert "|12|" in stack.console(leader, "SHOW POOLS")


class ProxyWriter(Writer):
    """The numbered rows, by the way of the proxy and at one address."""

    def __init__(self, stack: Stack) -> None:
        """Log in as the application's user."""
        super().__init__(stack.cluster)
        self._cluster = self
        self._stack = stack

    def multi_host(self) -> dict[str, t.Any]:
        """Return the arguments of a connection; the name is that of the writer's other way."""
        return self._stack.access(self._stack.write_port)


@pytest.mark.parametrize(
    "count, writers, readers", [(8, "inter 2000ms downinter 500ms", "inter 2000ms"), (40, "inter 2000ms downinter 2500ms", "inter 10000ms")]
)
def test_many_proxies_ask_less_often_each(stack: Stack, run_module: Runner, tmp_path: pathlib.Path, count: int, writers: str, readers: str) -> None:
    ports = {member.name: free_port() for member in stack.cluster.members}
    rendered = run_module.tasks([proxy_file(stack.cluster, [free_port() for unused in range(5)], postgres_proxy_count=count)])
    assert rendered.status == 0, rendered.output
    write(tmp_path, rendered.results[0]["msg"])
    adapt(stack.cluster, tmp_path / "haproxy.cfg", ports)
    text = (tmp_path / "haproxy.cfg").read_text()
    assert re.findall(r"^    default-server (inter .*)$", text, re.MULTILINE) == [writers, readers]
    assert subprocess.run(["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")], capture_output=True, check=False).returncode == 0


def test_a_switchover(stack: Stack, run_module: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    leader = stack.cluster.settle()
    end, answers, errors = threading.Event(), [time.monotonic()], []

    def read() -> None:
        while not end.wait(0.05):
            try:
                assert stack.ask(stack.read_port, "SELECT 1") == 1
                answers.append(time.monotonic())
            except psycopg2.Error as error:
                errors.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with ProxyWriter(stack) as writer:
            done = run_module("patroni_switchover", {**stack.cluster.access, "wait_timeout": 60})
    finally:
        end.set()
        reader.join(30)
    with capsys.disabled():
        silence = max(later - earlier for earlier, later in zip(answers, answers[1:]))
        print(f"\nproxy: gap of writes {writer.gap:.2f} s, {len(writer.acknowledged)} rows, {writer.errors} errors", end="")
        print(f"; of reads {silence:.2f} s, {len(errors)} errors", end="")
    assert not done["failed"], done
    assert writer.lost() == set()
    new = stack.cluster.settle()
    assert new is not leader
    until(stack.seen, "the proxy's view of the members")
    # PostgreSQL of the tests has no TLS.
    for port in (stack.write_port, stack.direct_port):
        assert stack.ask(port, "SELECT current_setting('port')::int", **({} if port == stack.write_port else {"sslmode": "disable"})) == new.port
    # What the pooler told clients while its server was a standby is forgotten: libpq asks for it here.
    until(lambda: stack.ask(stack.pooler_ports[new.name], "SELECT NOT pg_is_in_recovery()", target_session_attrs="read-write"), "a primary that is called one")
    assert "read-only" in stack.refusal(stack.pooler_ports[leader.name], target_session_attrs="read-write")


def test_readers_without_a_standby_go_to_the_leader(stack: Stack) -> None:
    leader = stack.cluster.settle()
    stack.cluster.patch(synchronous_mode=False)
    until(lambda: stack.ask(stack.read_port, "SELECT pg_is_in_recovery()"), "a standby for readers")
    with stack.connect(stack.read_port) as reader:
        for member in stack.cluster.replicas():
            member.kill()
        until(lambda: stack.ask(stack.read_port, "SELECT NOT pg_is_in_recovery()"), "the leader as the reader's server", 60)
        # The session to a member that is gone does not stay.
        with pytest.raises(psycopg2.OperationalError):
            reader.execute("SELECT 1")
    assert stack.ask(stack.write_port, "SELECT current_setting('port')::int") == leader.port
