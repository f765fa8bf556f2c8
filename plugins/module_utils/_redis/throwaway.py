# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis server in a private folder that loads one snapshot and is removed again."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import secrets
import shutil
import signal
import socket
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import workspace
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, Process, ProgramKilled, run, uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, Server, Unreachable
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import rdb_version

PROGRAMS = ("redis-server", "valkey-server")
DATABASES = 1024
"""More than anybody configures: a snapshot with a higher database number than the server has ends the server."""
SOCKET_PATH_LIMIT = 107
DEAD_PORT = 1
"""Nobody listens there (tcpmux); a replica of it keeps keys whose time to live is over, so that every key can be counted."""
POLL_SECONDS = 0.05
FOLDER_PREFIX = "mainstay-redis-"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class LoadFailed(MainstayError):
    """The throwaway server could not load the snapshot."""


@dataclasses.dataclass(frozen=True)
class Listen:
    """How the throwaway server is reached over TCP, beside its Unix socket.

    ``tls`` holds settings such as ``tls-cert-file``; a server with them takes only TLS on the port. ``user`` and ``password`` are what a replica logs in
    with; without a password it is the throwaway server's own one.
    """

    port: int
    tls: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)


def find_program(products: t.Sequence[str] = PROGRAMS) -> str:
    """Return the path of the server program on this host.

    Raises:
        MainstayError: none is installed.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/bin", "/usr/bin", "/usr/sbin"))
    for program in products:
        if found := shutil.which(program, path=path):
            return found
    cause = f"neither {' nor '.join(products)} is on this host"
    raise MainstayError("load the snapshot into a throwaway server", cause, "install redis-server or valkey-server")


def program_version(program: str) -> tuple[str, str]:
    """Return product and version of a server program, such as ``redis`` and ``7.0.15``.

    Raises:
        MainstayError: it does not say.
    """
    said = run(Command((program, "--version")), f"ask {program} for its version")
    match = re.match(r"(Redis|Valkey) server v=(\S+)", said)
    if match is None:
        raise MainstayError(f"ask {program} for its version", f"it said {said[:80]!r}")
    return match[1].lower(), match[2]


@contextlib.contextmanager
def private_folder(work_dir: str) -> t.Iterator[str]:
    """Make a private folder in ``work_dir``; see :func:`.workspace.private_folder`.

    Raises:
        InvalidInput: ``work_dir`` cannot be used, or is too long for a Unix socket below it.
    """
    with workspace.private_folder(work_dir, FOLDER_PREFIX) as folder:
        if len(os.fsencode(folder)) + len("/s") > SOCKET_PATH_LIMIT:
            raise InvalidInput(f"use work_dir {work_dir}", f"with it the path of a Unix socket is longer than {SOCKET_PATH_LIMIT} bytes", "use a shorter path")
        yield folder


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(folder: str, password: str, listen: Listen | None, keep_expired: bool, may_debug: bool) -> str:
    """Return the server's configuration; it goes over standard input, so that the password is in no file and no argument.

    Args:
        folder: holds ``dump.rdb``, the log and the Unix socket ``s``.
        password: of the default user, which the module logs in as.
        listen: the loopback port; none if only the Unix socket is needed.
        keep_expired: keep keys whose time to live is over.
        may_debug: whether ``DEBUG`` has to be allowed, which takes a setting since Redis 7.
    """
    lines = [
        f"dir {quoted(folder)}",
        f"logfile {quoted(folder + '/server.log')}",
        f"unixsocket {quoted(folder + '/s')}",
        "unixsocketperm 700",
        f"requirepass {quoted(password)}",
        "bind 127.0.0.1",
        f"port {listen.port if listen and not listen.tls else 0}",
        "dbfilename dump.rdb",
        'save ""',
        "appendonly no",
        "daemonize no",
        "maxmemory 0",
        f"databases {DATABASES}",
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
    ]
    if listen and listen.tls:
        lines += [f"tls-port {listen.port}", "tls-auth-clients no", *(f"{name} {quoted(value)}" for name, value in listen.tls.items() if value)]
    if listen and listen.user:
        lines.append(f"user {quoted(listen.user)} on {quoted('>' + listen.password)} ~* +@all")
    if may_debug:
        lines.append("enable-debug-command local")
    if keep_expired:
        lines.append(f"replicaof 127.0.0.1 {DEAD_PORT}")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a value as Redis reads it in a configuration file."""
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'


def _bound_to_us() -> tuple[str, ...]:
    """Return the words before a command that let the kernel end it with this process, however that ends; none where the host lacks ``setpriv``."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


class Throwaway:
    """The running server. Made by :func:`throwaway`."""

    def __init__(self, program: str, folder: str, listen: Listen | None, keep_expired: bool) -> None:
        """Start it; :meth:`wait_loaded` waits until it has loaded."""
        self.password = listen.password if listen and listen.password and not listen.user else secrets.token_hex(32)
        self.port = listen.port if listen else 0
        may_debug = rdb_version(*program_version(program)) >= 10
        self._folder = folder
        read_fd, write_fd = os.pipe()
        try:
            self._process = Process(Command((*_bound_to_us(), program, "-"), cwd=folder), stdin=read_fd)
            os.write(write_fd, configuration(folder, self.password, listen, keep_expired, may_debug).encode())
        finally:
            os.close(read_fd)
            os.close(write_fd)
        self.login = Login(password=self.password, unix_socket=f"{folder}/s")
        self.server = Server(self.login)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.running

    def wait_loaded(self, timeout: float) -> ServerFacts:
        """Wait until the snapshot is loaded; return the server's facts.

        Raises:
            LoadFailed: it ended, and its log says why.
            ProgramKilled: it was killed, or told to end by SIGTERM, which Redis does without an error.
            MainstayError: it has not loaded in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                status = self._process.join()
                if not status or self._process.killed:
                    cause = f"it was killed by {signal.Signals(-status).name}" if status else "somebody told it to end"
                    raise ProgramKilled("load the snapshot into a throwaway server", cause)
                raise LoadFailed("load the snapshot into a throwaway server", self.last_words())
            with contextlib.suppress(Unreachable):  # it does not listen yet
                facts = read_facts(self.server)
                if not facts.loading:
                    return facts
            if time.monotonic() > deadline:
                raise MainstayError("load the snapshot into a throwaway server", f"it has not ended after {timeout:g} seconds", "raise wait_timeout")
            time.sleep(POLL_SECONDS)

    def forget_history(self) -> None:
        """Take a new replication history, so that every replica loads the snapshot in full.

        A master that loads a snapshot remembers the history it came from, and lets a server with that history and offset go on with
        the data that it has.
        """
        self.server.command("REPLICAOF", "127.0.0.1", DEAD_PORT, doing="prepare the throwaway server")
        self.server.command("REPLICAOF", "NO", "ONE", doing="prepare the throwaway server")

    def freeze(self) -> None:
        """Stop removing keys whose time to live is over, so that the data stays as it is."""
        self.server.command("DEBUG SET-ACTIVE-EXPIRE", 0, doing="prepare the throwaway server")

    def last_words(self) -> str:
        """Return the warnings at the end of its log."""
        try:
            with open(f"{self._folder}/server.log", encoding="utf-8", errors="replace") as log:
                lines = [line.split(" # ", 1)[1].strip() for line in log if " # " in line]
        except OSError:
            lines = []
        said = "; ".join(line for line in lines if "overcommit" not in line and not line.startswith("oO0Oo"))
        return said[-1000:] or self._process.tail or "it ended without a word"

    def stop(self) -> None:
        """End it."""
        with uninterrupted():
            self.server.close()
            self._process.stop()


@contextlib.contextmanager
def throwaway(program: str, folder: str, listen: Listen | None = None, keep_expired: bool = False) -> t.Iterator[Throwaway]:
    """Run a server on the snapshot ``dump.rdb`` of a private folder, and end it."""
    with contextlib.ExitStack() as stack:
        with uninterrupted():
            running = Throwaway(program, folder, listen, keep_expired)
            stack.callback(running.stop)
        yield running
