# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real server and a real Sentinel whose files change. Only systemd is not there: Molecule has it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import secrets
import subprocess
import time
import typing as t

import pytest
import redis
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, LoginFailed
from ansible_collections.mainstay.ops.plugins.module_utils._redis.daemons import (
    Access, Daemon, Host, Loaded, Monitor, Outcome, Records, diff, ensure, process_of, unread,
)
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import Systemctl
from servers import free_port

ADMIN, OTHER = (f"Sentinel{secrets.token_hex(12)}" for _unused in range(2))
PARAGRAPH = "Id={name}\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nFragmentPath=\nDropInPaths=\nNeedDaemonReload=no\n"


def running(argv: list[str]) -> tuple[int, str, str]:
    """Answer for systemd: all units run, and are enabled."""
    names = argv[argv.index("--") + 1 :]
    return 0, "\n".join(PARAGRAPH.format(name=name) for name in names), ""


def digest_of(password: str) -> str:
    """The form of a password in a file of users."""
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


@dataclasses.dataclass
class Trial:
    """A daemon with the files that the role gives it."""

    folder: pathlib.Path
    kind: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    password: str = ADMIN
    previous: str | None = None
    quorum: int = 1

    @property
    def daemon(self) -> Daemon:
        """It, as the module knows it."""
        config = (str(self.folder / "settings.conf"), str(self.folder / "secret.conf"))
        return Daemon(self.kind, f"{self.kind}.service", self.port, config, str(self.folder / "users.acl"), str(self.folder / "state.conf"))

    def write(self, name: str, *lines: str) -> None:
        """Write a file as a run of the role does, some time after or before the daemon's start."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        time.sleep(0.05)
        daemon = self.daemon
        includes = [word for path in daemon.config for word in ("--include", path)]
        argv = ["redis-server", daemon.state, *includes, *(["--sentinel"] if self.kind == "sentinel" else [])]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client().ping()
                return
            except redis.exceptions.RedisError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def client(self, password: str | None = None) -> redis.Redis:
        """A client of it."""
        return redis.Redis(port=self.port, username="admin", password=password or self.password, decode_responses=True)

    def ensure(self, check: bool = False) -> Outcome:
        """Run what the module runs."""
        access = Access(Login("127.0.0.1", self.port, "admin", self.password), self.previous, 5.0)
        monitor = Monitor("main", self.quorum) if self.kind == "sentinel" else None
        plan, outcomes = ensure([self.daemon], lambda: access, monitor, Host(Records(str(self.folder / "records")), Systemctl(running)), check)
        assert ADMIN not in str(diff(plan, outcomes)) and OTHER not in str(diff(plan, outcomes))
        return outcomes[0]

    def both(self) -> list[str]:
        """What a check run says that would be done; the real run after it does the same, and the next one nothing."""
        planned = self.ensure(check=True)
        done = self.ensure()
        assert (planned.actions, planned.before, planned.after, planned.restart) == (done.actions, done.before, done.after, done.restart)
        again = self.ensure()
        assert again.actions == [] and again.restart == done.restart
        return done.actions


@pytest.fixture
def server(tmp_path: pathlib.Path) -> t.Iterator[Trial]:
    """A server."""
    trial = Trial(tmp_path, "server", free_port())
    trial.write("state.conf")
    trial.write("settings.conf", f"port {trial.port}", "bind 127.0.0.1", f"dir {tmp_path}", f"aclfile {tmp_path}/users.acl", "maxmemory 100mb", 'save ""')
    trial.write("secret.conf", f'masterauth "{OTHER}"')
    trial.write("users.acl", "user default off", f"user admin on {digest_of(ADMIN)} ~* &* +@all")
    trial.start()
    yield trial
    trial.stop()


@pytest.fixture
def sentinel(tmp_path: pathlib.Path) -> t.Iterator[Trial]:
    """A Sentinel that watches a server which is not there."""
    trial = Trial(tmp_path, "sentinel", free_port())
    trial.write("state.conf", "sentinel monitor main 127.0.0.1 1 1")
    trial.write("settings.conf", f"port {trial.port}", "bind 127.0.0.1", f"dir {tmp_path}", f"aclfile {tmp_path}/users.acl",
                "sentinel down-after-milliseconds main 7000", "sentinel announce-ip 127.0.0.1")
    trial.write("secret.conf", f'sentinel auth-pass main "{OTHER}"')
    trial.write("users.acl", "user default off", f"user admin on {digest_of(ADMIN)} ~* &* +@all")
    trial.start()
    yield trial
    trial.stop()


def replace(trial: Trial, name: str, old: str, new: str) -> None:
    """Change a line of a file."""
    path = trial.folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_nothing_to_do(server: Trial) -> None:
    assert server.both() == []
    outcome = server.ensure()
    assert (outcome.role, outcome.restart, outcome.version) == ("master", [], server.client().info("server")["redis_version"])
    assert outcome.plain()["seeded"] is True
    assert os.stat(server.folder / "records" / "server.service.json").st_mode & 0o777 == 0o600


def test_a_setting_that_can_be_changed(server: Trial) -> None:
    replace(server, "settings.conf", "maxmemory 100mb", "maxmemory 200mb")
    assert server.both() == ["server.service: set maxmemory"]
    assert server.client().config_get("maxmemory") == {"maxmemory": str(200 << 20)}


def test_a_secret(server: Trial) -> None:
    """It is changed, and shown nowhere."""
    replace(server, "secret.conf", OTHER, f"{OTHER}x")
    assert server.both() == ["server.service: set masterauth"]
    assert server.client().config_get("masterauth") == {"masterauth": f"{OTHER}x"}


def test_a_setting_that_somebody_changed_in_memory(server: Trial) -> None:
    assert server.both() == []
    server.client().config_set("maxmemory", "1gb")
    assert server.both() == ["server.service: set maxmemory"]
    assert server.client().config_get("maxmemory") == {"maxmemory": str(100 << 20)}


def test_a_spelling_of_its_own(server: Trial) -> None:
    """The server keeps the flags in another order; only the first time is a change."""
    server.write("secret.conf", "notify-keyspace-events KEA")
    assert server.ensure().actions == ["server.service: set notify-keyspace-events"]
    assert server.ensure().actions == []


def test_a_setting_that_is_read_at_the_start(server: Trial) -> None:
    server.write("secret.conf", "io-threads 2", "databases 20")
    assert server.both() == []
    assert server.ensure().restart == ["databases has changed", "io-threads has changed"]
    server.stop()
    server.start()
    assert server.both() == [] and server.ensure().restart == []


def test_users(server: Trial) -> None:
    """New ones are read in; what somebody changed in memory alone goes."""
    server.write("users.acl", "user default off", f"user admin on {digest_of(ADMIN)} ~* &* +@all", f"user app on {digest_of(OTHER)} ~app:* +@read")
    assert server.both() == [f"server.service: read {server.folder}/users.acl again"]
    assert "app" in server.client().acl_users()
    server.client().acl_setuser("intruder", enabled=True, nopass=True, commands=["+@all"], keys=["*"])
    assert server.both() == [f"server.service: read {server.folder}/users.acl again"]
    assert "intruder" not in server.client().acl_users()


def test_the_password_of_the_login_changes(server: Trial) -> None:
    """Without the one before nothing can be done, and the error says so."""
    server.write("users.acl", "user default off", f"user admin on {digest_of(OTHER)} ~* &* +@all")
    server.password = OTHER
    with pytest.raises(LoginFailed, match="give the one before as previous_password too"):
        server.ensure()
    server.previous = ADMIN
    assert server.both() == [f"server.service: read {server.folder}/users.acl again"]
    assert server.client(OTHER).ping()
    server.previous = None
    assert server.both() == []


def test_a_replaced_program(server: Trial, tmp_path: pathlib.Path) -> None:
    """An upgrade under a running server is seen."""
    assert process_of(server.process.pid).replaced is False
    server.stop()
    program = tmp_path / "redis-server"
    program.write_bytes(pathlib.Path("/usr/bin/redis-server").read_bytes())
    program.chmod(0o755)
    argv = [str(program), server.daemon.state, *(word for path in server.daemon.config for word in ("--include", path))]
    server.process = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            server.client().ping()
            break
        except redis.exceptions.RedisError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert server.ensure().restart == []
    program.unlink()
    assert server.ensure().restart == ["its program was upgraded"]


def test_a_sentinel(sentinel: Trial) -> None:
    """What it tells of its master is changed at run time; a password only by a restart, which stays needed until it comes."""
    assert sentinel.both() == []
    replace(sentinel, "settings.conf", "main 7000", "main 9000")
    sentinel.quorum = 2
    assert sentinel.both() == [
        "sentinel.service: set down-after-milliseconds of the master main",
        "sentinel.service: set quorum of the master main",
    ]
    assert sentinel.ensure().restart == []
    replace(sentinel, "secret.conf", OTHER, f"{OTHER}x")
    for _unused in range(2):
        assert sentinel.both() == []
        assert sentinel.ensure().restart == [f"{sentinel.folder}/secret.conf has changed"]
    sentinel.stop()
    sentinel.start()
    assert sentinel.both() == [] and sentinel.ensure().restart == []
    fields = sentinel.client().sentinel_master("main")
    assert (fields["down-after-milliseconds"], fields["quorum"]) == (9000, 2)


def test_a_daemon_without_state_is_left_alone(server: Trial) -> None:
    (server.folder / "state.conf").unlink()
    outcome = server.ensure()
    assert outcome.plain() == {
        "unit": "server.service", "kind": "server", "seeded": False, "started": False, "role": "", "version": "", "restart_needed": [], "changed": False,
    }


def test_a_file_that_is_not_there(server: Trial) -> None:
    (server.folder / "secret.conf").unlink()
    with pytest.raises(InvalidInput, match="secret.conf: No such file or directory; write it first"):
        server.ensure()


def test_what_a_process_has_read(tmp_path: pathlib.Path) -> None:
    """Files that are older than the process, and those that it was told to read."""
    path = tmp_path / "file"
    path.write_text("one")
    process = process_of(os.getpid())
    assert process.started < time.time() and process.pid == os.getpid()
    os.utime(path, (process.started - 1, process.started - 1))
    assert unread([str(path), str(tmp_path / "none")], process, Loaded()) == ()
    os.utime(path, (process.started + 1, process.started + 1))
    assert unread([str(path)], process, Loaded()) == (str(path),)
    told = Loaded(process.pid, process.ticks, {str(path): hashlib.sha256(b"one").hexdigest()})
    assert unread([str(path)], process, told.of(process)) == ()
    path.write_text("two")
    assert unread([str(path)], process, told.of(process)) == (str(path),)
    assert told.of(dataclasses.replace(process, ticks=process.ticks + 1)).files == {}, "another process with the same number"
