# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Redis cluster under Sentinel on loopback, and clients that write down every write that was acknowledged."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import secrets
import shutil
import signal
import subprocess
import threading
import time
import typing as t

import redis
import waiting
from certificates import make_self_signed
from ports import free_port
from redis.backoff import NoBackoff
from redis.retry import Retry

HOST = "127.0.0.1"
MASTER_NAME = "main"
CLIENT_SECONDS = 5.0
"""A client's patience for one answer; more than a switchover holds a write."""

SERVER_RULES = "+info +replicaof +client|pause +client|unpause +client|kill +config|set +config|rewrite"
SENTINEL_RULES = "+info +sentinel|master +sentinel|replicas +sentinel|ckquorum +sentinel|get-master-addr-by-name +sentinel|failover"
"""What the documentation of ``redis_switchover`` says that its users need, and nothing else."""


def program(name: str) -> str:
    """Return the path of a program that the cluster needs."""
    found = shutil.which(name)
    assert found, f"{name} is missing; install redis-server"
    return found


until = functools.partial(waiting.until, ignoring=(redis.exceptions.RedisError, OSError), pause=0.03)
"""Wait for what servers do; one that does not answer yet is waited for."""


@dataclasses.dataclass
class Daemon:
    """A Redis server or a Sentinel, with its file in a folder of its own; it can be ended, stopped and started again."""

    folder: pathlib.Path
    port: int
    kind: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.port}"

    @property
    def config(self) -> pathlib.Path:
        """Its file, which it rewrites."""
        return self.folder / f"{self.kind}.conf"

    @property
    def log(self) -> str:
        """Everything that it has logged."""
        return (self.folder / "log").read_text()

    def start(self) -> None:
        """Start it; it may not listen yet when this returns."""
        argv = [program("redis-server"), str(self.config), *(["--sentinel"] if self.kind == "sentinel" else [])]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Kill it, also where it is stopped."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


class Cluster:
    """Servers and as many Sentinels; the first server begins as the master."""

    def __init__(
        self,
        folder: pathlib.Path,
        nodes: int = 3,
        *,
        tls: bool = False,
        down_after: float = 5.0,
        failover_timeout: float = 5.0,
        priorities: t.Sequence[int] = (100, 100, 100),
        settings: t.Mapping[str, str] | None = None,
        passwords: tuple[str, str] | None = None,
    ) -> None:
        """Write the files; :meth:`start` starts the daemons.

        Args:
            folder: a new folder for their files.
            nodes: how many servers, and how many Sentinels.
            tls: whether everything goes over TLS.
            down_after: seconds of silence after which a Sentinel holds a server for down.
            failover_timeout: seconds after which a Sentinel gives up; half the time until it begins another one by itself.
            priorities: ``replica-priority`` of each server.
            settings: further settings of the servers.
            passwords: those of the servers and of the Sentinels; random words if not given.
        """
        folder.mkdir()
        self.folder, self.tls = folder, tls
        self.password, self.sentinel_password = passwords or ("Sentinel" + secrets.token_hex(8), "Sentinel" + secrets.token_hex(8))
        if tls:
            self._certify()
        self.servers = [self._server(number, priorities[number], settings or {}) for number in range(nodes)]
        for server in self.servers[1:]:
            with server.config.open("a") as file:
                file.write(f"replicaof {HOST} {self.servers[0].port}\n")
        self.sentinels = [self._sentinel(number, nodes // 2 + 1, down_after, failover_timeout) for number in range(nodes)]

    def _certify(self) -> None:
        """Make a certificate that is its own authority."""
        make_self_signed(self.folder / "tls.key", self.folder / "tls.crt", HOST, f"IP:{HOST}")

    def _write(self, daemon: Daemon, lines: t.Iterable[str]) -> Daemon:
        daemon.folder.mkdir()
        daemon.config.touch(0o600)
        ports = [f"tls-port {daemon.port}", "port 0"] if self.tls else [f"port {daemon.port}"]
        names = {"tls-cert-file": "tls.crt", "tls-key-file": "tls.key", "tls-ca-cert-file": "tls.crt"}
        files = [*(f"{name} {self.folder / file}" for name, file in names.items()), "tls-replication yes", "tls-auth-clients no"] if self.tls else []
        common = [f"bind {HOST}", *ports, *files, f"dir {daemon.folder}", f"logfile {daemon.folder / 'log'}"]
        daemon.config.write_text("\n".join([*common, *lines]) + "\n")
        return daemon

    def _server(self, number: int, priority: int, settings: t.Mapping[str, str]) -> Daemon:
        lines = [
            f"user default on >{self.password} ~* &* +@all",
            f"user operator on >{self.password} resetkeys resetchannels -@all {SERVER_RULES}",
            f"user reader on >{self.password} resetkeys resetchannels -@all +info",
            f"masterauth {self.password}",
            f"replica-priority {priority}",
            'save ""',
            "repl-diskless-sync-delay 0",
            *(f"{name} {value}" for name, value in settings.items()),
        ]
        return self._write(Daemon(self.folder / f"server{number}", free_port(), "server"), lines)

    def _sentinel(self, number: int, quorum: int, down_after: float, failover_timeout: float) -> Daemon:
        lines = [
            f"user default on >{self.sentinel_password} ~* &* +@all",
            f"user operator on >{self.sentinel_password} resetkeys resetchannels -@all {SENTINEL_RULES}",
            f"user reader on >{self.sentinel_password} resetkeys resetchannels -@all {SENTINEL_RULES.replace('+sentinel|failover', '')}",
            f"sentinel sentinel-pass {self.sentinel_password}",
            f"sentinel monitor {MASTER_NAME} {HOST} {self.servers[0].port} {quorum}",
            f"sentinel auth-pass {MASTER_NAME} {self.password}",
            f"sentinel down-after-milliseconds {MASTER_NAME} {int(down_after * 1000)}",
            f"sentinel failover-timeout {MASTER_NAME} {int(failover_timeout * 1000)}",
        ]
        return self._write(Daemon(self.folder / f"sentinel{number}", free_port(), "sentinel"), lines)

    def start(self) -> Cluster:
        """Start all of them, and wait until each Sentinel knows everybody."""
        for daemon in self.servers:
            daemon.start()
        until(lambda: int(self.client(self.servers[0]).info()["connected_slaves"]) == len(self.servers) - 1, "the replicas' first contact")
        for daemon in self.sentinels:
            daemon.start()
        self.settle()
        return self

    def stop(self) -> None:
        """End all of them."""
        for daemon in (*self.sentinels, *self.servers):
            daemon.stop()

    def settle(self, seconds: float = 60) -> None:
        """Start what is down, let go on what is stopped, and wait until everybody is a replica of, or names, the same master."""
        for daemon in (*self.servers, *self.sentinels):
            if daemon.process is None:
                daemon.start()
            daemon.signal(signal.SIGCONT)
        until(self._is_settled, "everybody's agreement", seconds)

    def _is_settled(self) -> bool:
        master = self.master
        others = [server for server in self.servers if server is not master]
        links = [self.client(server).info("replication") for server in others]
        named = [self.states(sentinel) for sentinel in self.sentinels]
        return (
            all(link.get("master_link_status") == "up" and link["master_port"] == master.port for link in links)
            and all(state["port"] == str(master.port) and state["flags"] == "master" for state in named)
            and all(state["num-slaves"] == str(len(others)) and state["num-other-sentinels"] == str(len(others)) for state in named)
            and all(set(replica["flags"].split(",")) == {"slave"} for sentinel in self.sentinels for replica in self.replicas(sentinel))
        )

    def _settings(self, daemon: Daemon) -> dict[str, t.Any]:
        password = self.password if daemon.kind == "server" else self.sentinel_password
        return {
            **{"host": HOST, "port": daemon.port, "password": password, "decode_responses": True, "protocol": 2, "retry": Retry(NoBackoff(), 0)},
            **{"socket_timeout": CLIENT_SECONDS, "socket_connect_timeout": CLIENT_SECONDS},
            **({"ssl": True, "ssl_ca_certs": str(self.folder / "tls.crt")} if self.tls else {}),
        }

    def client(self, daemon: Daemon) -> t.Any:
        """Return a client with all permissions of a server or a Sentinel, which tries everything once."""
        return redis.Redis(**self._settings(daemon))

    def states(self, sentinel: Daemon) -> dict[str, str]:
        """Return what a Sentinel says of the master."""
        return _pairs(self.client(sentinel).execute_command("SENTINEL", "MASTER", MASTER_NAME))

    def replicas(self, sentinel: Daemon) -> list[dict[str, str]]:
        """Return what a Sentinel says of the replicas."""
        return [_pairs(reply) for reply in self.client(sentinel).execute_command("SENTINEL", "REPLICAS", MASTER_NAME)]

    def named(self, last_first: bool = False) -> Daemon:
        """Return the server that the first Sentinel that answers names as the master, or the last one with ``last_first``."""
        for sentinel in reversed(self.sentinels) if last_first else self.sentinels:
            with contextlib.suppress(redis.exceptions.RedisError):
                port = int(self.client(sentinel).execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])
                return next(server for server in self.servers if server.port == port)
        raise redis.exceptions.ConnectionError("no Sentinel answers")

    @property
    def masters(self) -> list[Daemon]:
        """The servers that say that they are masters."""
        found = []
        for server in self.servers:
            with contextlib.suppress(redis.exceptions.RedisError):
                if self.client(server).info("replication")["role"] == "master":
                    found.append(server)
        return found

    @property
    def master(self) -> Daemon:
        """The only server that says that it is a master."""
        masters = self.masters
        if len(masters) != 1:
            raise redis.exceptions.ConnectionError(f"{len(masters)} servers are masters")
        return masters[0]

    def priority(self, server: Daemon) -> int:
        """Return the ``replica-priority`` of a server."""
        return int(self.client(server).config_get("replica-priority")["replica-priority"])

    def has_seen_priorities(self) -> bool:
        """Whether all Sentinels have read the priorities that the replicas have now, which takes them up to ten seconds."""
        now = {str(server.port): str(self.priority(server)) for server in self.servers}
        return all(now[replica["port"]] == replica["slave-priority"] for sentinel in self.sentinels for replica in self.replicas(sentinel))

    def options(self, user: str | None = "operator") -> dict[str, t.Any]:
        """Return the modules' options: by default with users that may do no more than is documented."""
        tls = {"tls": True, "ca_certs": str(self.folder / "tls.crt")} if self.tls else {"tls": False}
        sentinels = [{"host": HOST, "port": sentinel.port} for sentinel in self.sentinels]
        servers = {"login_user": user, "login_password": self.password}
        return {**tls, **servers, "sentinels": sentinels, "sentinel_user": user, "sentinel_password": self.sentinel_password, "master_name": MASTER_NAME}


def _pairs(reply: t.Any) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2]))


@contextlib.contextmanager
def running(folder: pathlib.Path, **options: t.Any) -> t.Iterator[Cluster]:
    """Yield a cluster that runs; see :class:`Cluster`."""
    cluster = Cluster(folder, **options)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


class Writer(threading.Thread):
    """Writes numbered keys, one after another, and keeps the numbers that were acknowledged, with their moments.

    A sticky one stays with its server as long as that takes its writes, as a client with a pool of connections does; it shows what an old master
    that is still writable acknowledges. The other one asks now and then, and goes where the Sentinel says. After an error both look for the master
    through Sentinel, the sticky one through the last of them, which is told later than the first.
    """

    def __init__(self, cluster: Cluster, name: str, sticky: bool = False) -> None:
        """Prepare it; ``with`` runs it."""
        super().__init__(daemon=True)
        self._cluster, self._prefix, self._sticky = cluster, name, sticky
        self._ended = threading.Event()
        self.acknowledged: list[int] = []
        self.moments: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        """Write until it is told to stop."""
        number, client, server = 0, None, None
        while not self._ended.is_set():
            try:
                if client is None:
                    server = self._cluster.named(self._sticky)
                    client = self._cluster.client(server)
                number += 1
                client.set(f"{self._prefix}:{number}", number)
                self.acknowledged.append(number)
                self.moments.append(time.monotonic())
                if not self._sticky and number % 50 == 0 and self._cluster.named() is not server:
                    client = None
            except redis.exceptions.RedisError as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                client = None
                time.sleep(0.02)
            time.sleep(0.001)

    def __enter__(self) -> Writer:
        self.start()
        until(lambda: len(self.acknowledged) > 20, "the first writes")
        return self

    def __exit__(self, *unused: object) -> None:
        self._ended.set()
        self.join(30)

    @property
    def longest_gap(self) -> float:
        """The longest time in seconds between two acknowledged writes."""
        return max(later - earlier for earlier, later in zip(self.moments, self.moments[1:]))

    def lost(self) -> list[int]:
        """Return the numbers that were acknowledged and that the master has not got."""
        keys = [f"{self._prefix}:{number}" for number in self.acknowledged]
        found = self._cluster.client(self._cluster.master).mget(keys)
        return [number for number, value in zip(self.acknowledged, found) if value is None]
