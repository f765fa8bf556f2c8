# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemons of one host: running, and with the settings of their files.

What can be changed while a daemon runs is changed there. What it reads at its start only is reported, for somebody who knows the other hosts
to restart it when its turn comes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, LoginFailed, Refused, Server, Unreachable
from ansible_collections.mainstay.ops.plugins.module_utils._redis.settings import TLS_FILES, ConfigFile, Difference, differences, parse
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import Plan, Systemctl, Wanted, diff_of, ensure_units

POLL_SECONDS = 0.2
Json = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A daemon as it shall be: its unit, the files with its settings and its users, the one of its own that it needs to start, and what else it starts by."""

    kind: str
    unit: str
    port: int
    config: t.Sequence[str]
    acl: str
    state: str
    start_files: t.Sequence[str] = ()

    @property
    def seeded(self) -> bool:
        """Whether it has the file of its own."""
        return os.path.exists(self.state)


@dataclasses.dataclass(frozen=True)
class Access:
    """How the daemons are reached.

    A login whose port is each daemon's own, the password that was valid before if it is being changed, and the seconds that a daemon has to answer.
    """

    login: Login
    previous_password: str | None = dataclasses.field(default=None, repr=False)
    timeout: float = 60.0

    def logins(self, port: int) -> tuple[Login, ...]:
        """The logins to try, in order."""
        login = dataclasses.replace(self.login, port=port)
        return (login, dataclasses.replace(login, password=self.previous_password)) if self.previous_password else (login,)


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The master that Sentinel watches, and how many Sentinels must agree that it is down."""

    name: str
    quorum: int


@dataclasses.dataclass(frozen=True)
class Process:
    """The running process.

    Its id and start (in clock ticks since boot) tell it from others; then when that was (seconds since the epoch), and whether its program was replaced since.
    """

    pid: int
    ticks: int
    started: float
    replaced: bool


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a process is known to have read: the digests of files, and the digest of its users right after that."""

    pid: int = 0
    ticks: int = 0
    files: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    users: str = ""

    def of(self, process: Process) -> Loaded:
        """This, if it is about the process, else nothing."""
        return self if (self.pid, self.ticks) == (process.pid, process.ticks) else Loaded(process.pid, process.ticks)


@dataclasses.dataclass
class Outcome:
    """What became of one daemon, or would."""

    daemon: Daemon
    started: bool = False
    role: str = ""
    version: str = ""
    actions: list[str] = dataclasses.field(default_factory=list)
    before: list[str] = dataclasses.field(default_factory=list)
    after: list[str] = dataclasses.field(default_factory=list)
    restart: list[str] = dataclasses.field(default_factory=list)

    def plain(self) -> Json:
        """Return the part of the module's result that is about this daemon."""
        return {
            "unit": self.daemon.unit,
            "kind": self.daemon.kind,
            "seeded": self.daemon.seeded,
            "started": self.started,
            "role": self.role,
            "version": self.version,
            "restart_needed": self.restart,
            "changed": bool(self.actions),
        }


def process_of(pid: int, proc: str = "/proc") -> Process:
    """Read a process of this host.

    Raises:
        MainstayError: it is not there.
    """
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8") as stat:
            ticks = int(stat.read().rpartition(")")[2].split()[19])  # field 22 of proc_pid_stat(5)
        with open(f"{proc}/uptime", encoding="utf-8") as uptime:
            age = float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
        replaced = os.readlink(f"{proc}/{pid}/exe").endswith(" (deleted)")
    except (OSError, IndexError, ValueError) as error:
        raise MainstayError(f"read process {pid}", error, "run the task on the host of the daemon, as root") from error
    return Process(pid, ticks, time.time() - age, replaced)


def digest(path: str) -> str:
    """Return the SHA-256 of a file; empty if it is not there."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except FileNotFoundError:
        return ""


def unread(paths: t.Iterable[str], process: Process, loaded: Loaded) -> tuple[str, ...]:
    """Name the files that a process has not read in their present form.

    It has read a file whose digest was noted when it was told to read it, and else one that is older than itself.
    """

    def has_read(path: str) -> bool:
        if path in loaded.files:
            return loaded.files[path] == digest(path)
        return not os.path.exists(path) or os.stat(path).st_mtime < process.started

    return tuple(path for path in paths if not has_read(path))


class Records:
    """What was noted of the daemons' processes, one file each in a folder that only root can read."""

    def __init__(self, folder: str) -> None:
        """Keep records in ``folder``."""
        self._folder = folder

    def _path(self, unit: str) -> str:
        return os.path.join(self._folder, f"{unit}.json")

    def read(self, unit: str) -> Loaded:
        """Return what is known of a daemon; nothing if there is no record that can be read."""
        try:
            with open(self._path(unit), encoding="utf-8") as file:
                return Loaded(**json.load(file))
        except (OSError, ValueError, TypeError):
            return Loaded()

    def write(self, unit: str, loaded: Loaded) -> None:
        """Keep what a daemon has read."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        path = self._path(unit)
        with open(os.open(f"{path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(loaded), file)
        os.replace(f"{path}.tmp", path)


class Live:
    """One running daemon, logged in to."""

    def __init__(self, daemon: Daemon, access: Access) -> None:
        """Log in, for as long as it takes to start.

        Raises:
            LoginFailed: no password that is known is right.
            MainstayError: it does not answer in time.
        """
        self.daemon, self._access = daemon, access
        self.server = self._log_in()
        info = self.server.info()
        self.process = process_of(int(info.get("process_id", 0)))
        self.role = {"slave": "replica"}.get(info.get("role", ""), info.get("role", "")) if daemon.kind == "server" else "sentinel"
        self.version = info.get("valkey_version", info.get("redis_version", ""))

    def _log_in(self) -> Server:
        deadline = time.monotonic() + self._access.timeout
        while True:
            for login in self._access.logins(self.daemon.port):
                tried = _try(login)
                if isinstance(tried, Server):
                    return tried
            if isinstance(tried, Refused) or time.monotonic() > deadline:
                raise tried
            time.sleep(POLL_SECONDS)

    def users(self) -> str:
        """Return a digest of the users that it knows."""
        reply = self.server.command("ACL LIST", doing="list the users")
        return hashlib.sha256(b"\n".join(line if isinstance(line, bytes) else str(line).encode() for line in reply)).hexdigest()

    def load_users(self) -> None:
        """Have it read its file of users, and log in again, since the login's own user may be another one now."""
        self.server.command("ACL LOAD", doing=f"read {self.daemon.acl}")
        self.server.close()
        self.server = self._log_in()

    def settings(self, names: t.Iterable[str]) -> dict[str, str]:
        """Return its settings of these names."""
        return self.server.config(*names)

    def monitored(self, name: str) -> dict[str, str]:
        """Return the fields of the master that this Sentinel watches.

        Raises:
            MainstayError: it watches none of that name.
        """
        reply = self.server.command("SENTINEL", "MASTER", name, doing=f"read the master {name}")
        words = [_text(word) for word in reply]
        return dict(zip(words[::2], words[1::2]))


def _try(login: Login) -> Server | MainstayError:
    """Return the server, logged in to, or what kept it from that; one that still loads its data answers ``INFO`` as well."""
    server = Server(login)
    try:
        server.command("INFO", "server", doing="log in")
        return server
    except LoginFailed as error:
        problem: MainstayError = LoginFailed(error.doing, error.cause, "if the password is being changed, give the one before as previous_password too")
    except (Refused, Unreachable) as error:
        problem = error
    server.close()
    return problem


def _text(word: t.Any) -> str:
    return word.decode(errors="replace") if isinstance(word, bytes) else str(word)


@dataclasses.dataclass(frozen=True)
class Host:
    """What is needed of the host: the records of what its processes have read, and what starts its units."""

    records: Records
    systemctl: Systemctl


def ensure(
    daemons: t.Sequence[Daemon], access: t.Callable[[], Access], monitor: Monitor | None, host: Host, check_mode: bool
) -> tuple[Plan, list[Outcome]]:
    """Have the daemons run, with the settings of their files as far as no restart is needed; or only say what that takes.

    A daemon without the file of its own is left alone: it has to be told first whether it is a master or whose replica.

    Args:
        daemons: servers before Sentinels.
        access: tells how they are reached; called if there is one to be reached.
        monitor: what the Sentinels watch.
        host: where they run.
        check_mode: change nothing.

    Raises:
        MainstayError: a unit does not start, or a daemon does not answer, or refuses a setting.
    """
    seeded = [daemon for daemon in daemons if daemon.seeded]
    plan = ensure_units([Wanted(daemon.unit, "started", True) for daemon in seeded], host.systemctl, check_mode)
    starts = {step.name for step in plan.steps if step.verb == "start"}
    outcomes = []
    for daemon in daemons:
        outcome = Outcome(daemon, started=daemon.unit in starts)
        outcomes.append(outcome)
        if daemon.seeded and not (check_mode and outcome.started):
            _settle(outcome, Live(daemon, access()), monitor, host.records, check_mode)
    return plan, outcomes


def _settle(outcome: Outcome, live: Live, monitor: Monitor | None, records: Records, check_mode: bool) -> None:
    """Bring the settings of one running daemon to those of its files."""
    daemon, recorded = outcome.daemon, records.read(outcome.daemon.unit)
    loaded = recorded.of(live.process)
    outcome.role, outcome.version = live.role, live.version
    if live.process.replaced:
        outcome.restart.append("its program was upgraded")
    outcome.restart += [f"{path} has changed" for path in unread(daemon.start_files, live.process, Loaded())]
    wanted = _read(daemon, monitor)
    if outcome.started:
        paths = (daemon.acl, *daemon.config, *_tls_files(wanted).values())
        loaded = dataclasses.replace(loaded, files={path: digest(path) for path in paths})
    users = live.users()
    if unread([daemon.acl], live.process, loaded) or loaded.users not in ("", users):
        _note(outcome, f"read {daemon.acl} again", "users as before", f"users as in {daemon.acl}")
        if not check_mode:
            live.load_users()
            users = live.users()
    if daemon.kind == "server":
        _settle_server(outcome, live, wanted, loaded, check_mode)
        files = {path: digest(path) for path in (daemon.acl, *_tls_files(wanted).values())}
    else:
        files = {daemon.acl: digest(daemon.acl), **_settle_sentinel(outcome, live, wanted, monitor, loaded, check_mode)}
    if not check_mode:
        now = Loaded(live.process.pid, live.process.ticks, files, users)
        if now != recorded:
            records.write(daemon.unit, now)
    live.server.close()


def _tls_files(wanted: ConfigFile) -> dict[str, str]:
    """Return the settings that name files of certificates."""
    return {name: wanted.settings[name] for name in sorted(TLS_FILES & set(wanted.settings))}


def _read(daemon: Daemon, monitor: Monitor | None) -> ConfigFile:
    text = ""
    for path in daemon.config:
        try:
            with open(path, encoding="utf-8") as file:
                text += file.read() + "\n"
        except OSError as error:
            raise InvalidInput(f"read {path}", error.strerror or error, "write it first") from error
    return parse(text, monitor.name if monitor else "", f"read {' and '.join(daemon.config)}")


def _note(outcome: Outcome, action: str, before: str, after: str) -> None:
    outcome.actions.append(f"{outcome.daemon.unit}: {action}")
    outcome.before.append(before)
    outcome.after.append(after)


def _settle_server(outcome: Outcome, live: Live, wanted: ConfigFile, loaded: Loaded, check_mode: bool) -> None:
    """Apply the settings of a server."""
    found = differences(wanted.settings, live.settings(wanted.settings))
    outcome.restart += [f"{difference.name} has changed" for difference in found if difference.at_start]
    files = _tls_files(wanted)
    if stale := unread(files.values(), live.process, loaded):
        _note(outcome, f"read {', '.join(stale)} again", "certificates as before", "certificates as on disk")
        if not check_mode:
            _set(live, files)
    for difference in found:
        if not difference.at_start:
            _set_one(outcome, live, difference, check_mode)


def _set_one(outcome: Outcome, live: Live, difference: Difference, check_mode: bool) -> None:
    """Change one setting; a spelling that the daemon keeps in another form and has already is no change."""
    if not check_mode:
        _set(live, {difference.name: difference.wanted})
        if live.settings([difference.name]).get(difference.name) == difference.live:
            return
    _note(outcome, f"set {difference.name}", *difference.lines())


def _set(live: Live, settings: t.Mapping[str, str]) -> None:
    """Change settings in one command: a certificate and its key are only right together."""
    words = [word for pair in settings.items() for word in pair]
    live.server.command("CONFIG SET", *words, doing=f"set {', '.join(settings)}")


def _settle_sentinel(
    outcome: Outcome, live: Live, wanted: ConfigFile, monitor: Monitor | None, loaded: Loaded, check_mode: bool
) -> dict[str, str]:
    """Apply the settings of a Sentinel; return the digests of what it has read.

    It has no ``CONFIG``, and is told at run time only what it also tells of the master that it watches. A password is never among that: a Sentinel that
    logs in with a new one before another daemon knows it keeps that connection, is answered NOAUTH for ever, and takes the other for down.
    """
    config, rest = outcome.daemon.config, f"{outcome.daemon.unit} at its start"
    told = live.monitored(monitor.name) if monitor is not None else {}
    fields = {**wanted.master, "quorum": str(monitor.quorum)} if monitor is not None else {}
    at_start = [wanted.settings, wanted.sentinel, {name: value for name, value in fields.items() if name not in told}]
    digests = {path: digest(path) for path in _tls_files(wanted).values()}
    digests[rest] = hashlib.sha256(json.dumps(at_start, sort_keys=True).encode()).hexdigest()
    stale = unread(_tls_files(wanted).values(), live.process, loaded)
    changed = unread(config, live.process, loaded)
    if changed and loaded.files.get(rest) != digests[rest]:
        stale = (*stale, *changed)
    outcome.restart += [f"{path} has changed" for path in stale]
    for name, value in fields.items():
        if name in told and told[name] != value:
            _note(outcome, f"set {name} of the master {monitor.name}", f"{name} {told[name]}", f"{name} {value}")
            if not check_mode:
                live.server.command("SENTINEL", "SET", monitor.name, name, value, doing=f"set {name} of the master {monitor.name}")
    # What was not read stays unread until the restart.
    return {**loaded.files, **{path: "unread" for path in stale}} if stale else {**digests, **{path: digest(path) for path in config}}


def diff(plan: Plan, outcomes: t.Sequence[Outcome]) -> list[dict[str, str]]:
    """Return before and after of everything that changes."""
    parts = [
        {
            "before_header": outcome.daemon.unit,
            "after_header": outcome.daemon.unit,
            "before": "".join(f"{line}\n" for line in outcome.before),
            "after": "".join(f"{line}\n" for line in outcome.after),
        }
        for outcome in outcomes
        if outcome.before or outcome.after
    ]
    return diff_of(plan) + parts
