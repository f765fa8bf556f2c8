# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and its standbys where no consensus decides: what each member says of itself, and what is wrong between them.

Every member is asked by itself, since nobody else knows who the primary is. Positions in the write-ahead log are numbers of bytes here, and text in results.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime
import functools
import socket
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect, execute, postgres_argument_spec, rows, sql

DOING = "look at the members"
REACH_SECONDS = 3.0
"""Patience with a member that does not accept a connection: a host without power answers nothing at all."""
ANSWER_SECONDS = 10
"""Patience with one that does, for each question."""
POLL_SECONDS = 0.5
RECEIVER_PORT = 5432
_NAMED_BY_MEMBERS = ("login_host", "login_port", "login_unix_socket")


def members_argument_spec() -> dict[str, t.Any]:
    """Return the options of all modules that ask several members (fragment ``mainstay.ops.postgres_members``)."""
    member: dict[str, t.Any] = {"name": {"type": "str", "required": True}, "host": {"type": "str"}, "port": {"type": "int", "default": 5432}}
    return {
        **{name: option for name, option in postgres_argument_spec().items() if name not in _NAMED_BY_MEMBERS},
        "members": {"type": "list", "elements": "dict", "required": True, "options": member},
    }


@dataclasses.dataclass(frozen=True)
class Member:
    """A server by its name, and where it is; a host that begins with a slash is the folder of a socket."""

    name: str
    host: str
    port: int


@dataclasses.dataclass(frozen=True)
class Access:
    """The members, and how to log in to each; the address in the login is to be replaced."""

    members: tuple[Member, ...]
    login: Login

    def at(self, member: Member) -> Login:
        """Return the login of one member."""
        return dataclasses.replace(self.login, host=member.host, port=member.port)

    def find(self, name: str) -> Member:
        """Return a member by its name."""
        return next(member for member in self.members if member.name == name)


def access_from(params: t.Mapping[str, t.Any]) -> Access:
    """Build the access from a module's options.

    Raises:
        InvalidInput: there is no member, or two have the same name or address.
        MainstayError: the library is missing.
    """
    sql.SQL("")  # a library that is missing is found here, and makes no member look dead
    members = tuple(Member(entry["name"], entry["host"] or entry["name"], entry["port"]) for entry in params["members"])
    if not members:
        raise InvalidInput(DOING, "members is empty", "name all of them")
    for what, given in (("name", [member.name for member in members]), ("address", [f"{member.host}:{member.port}" for member in members])):
        if twice := sorted({each for each in given if given.count(each) > 1}):
            raise InvalidInput(DOING, f"two members have the {what} {', '.join(twice)}", "name each of them once")
    return Access(members, Login.from_params({**params, "login_host": "", "login_port": 5432, "login_unix_socket": None}))


@dataclasses.dataclass(frozen=True)
class Slot:
    """A replication slot; ``retained`` is bytes of the log that it keeps, None if it keeps none yet."""

    name: str
    kind: str
    active: bool
    active_pid: int | None
    wal_status: str | None
    retained: int | None


@dataclasses.dataclass(frozen=True)
class Follower:
    """A standby as the server that sends to it sees it."""

    pid: int
    application_name: str
    sync_state: str


@dataclasses.dataclass(frozen=True)
class Receiver:
    """What receives the log on a standby: its status, the seconds since it heard of its sender, and where that is; all None if the login may not see it."""

    status: str | None
    heard_seconds: float | None
    host: str | None = None
    port: int | None = None


@dataclasses.dataclass(frozen=True)
class Rights:
    """What the login may do on a member beyond looking; without ``see_log`` a standby's timeline may be older than it is in truth."""

    see_log: bool
    promote: bool
    checkpoint: bool
    make_slots: bool
    repoint: bool


@dataclasses.dataclass(frozen=True)
class State:
    """What a member says of itself.

    Attributes:
        timeline: the one that it writes, or the newest one that a standby has received something of.
        written: position up to which a primary has written; None on a standby.
        received: position up to which a standby has the log on its disk; after a promotion it stays what it was.
        replayed: position up to which a standby has applied it; after a promotion it stays where the new timeline began. None if nothing was replayed.
        paused: whether replaying is paused.
        last_commit: time of the last commit that was replayed, in seconds since the epoch; None if there was none since the start.
        clock: the member's own time.
        settings: those of its settings that matter here and that the login may see.
        conninfo: how it reaches its sender; it may hold a password.
    """

    version: str
    in_recovery: bool
    system_identifier: str
    timeline: int
    written: int | None
    received: int
    replayed: int | None
    paused: bool
    last_commit: float | None
    clock: float
    settings: t.Mapping[str, str]
    rights: Rights
    receiver: Receiver | None = None
    slots: tuple[Slot, ...] = ()
    followers: tuple[Follower, ...] = ()
    conninfo: str | None = dataclasses.field(default=None, repr=False)

    @property
    def position(self) -> int:
        """How far its log reaches."""
        return self.received if self.written is None else self.written

    @property
    def streams(self) -> bool | None:
        """Whether a standby receives the log; None if the login may not see it, or on a primary."""
        if not self.in_recovery:
            return None
        return False if self.receiver is None else (None if self.receiver.status is None else self.receiver.status == "streaming")


@dataclasses.dataclass(frozen=True)
class Seen:
    """A member and its state, or why there is none.

    Attributes:
        upstream: names of the members that it is told to receive from.
        strangers: addresses of no member that it is told to receive from.
        sender: the one that its receiver is connected to, by name or else by address; empty if there is none.
    """

    member: Member
    state: State | None = None
    error: str = ""
    upstream: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    sender: str = ""

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name


@dataclasses.dataclass(frozen=True)
class View:
    """All members as they were seen at about the same time."""

    seen: tuple[Seen, ...]

    @property
    def primaries(self) -> tuple[Seen, ...]:
        """Those that take writes."""
        return tuple(each for each in self.seen if each.state is not None and not each.state.in_recovery)

    @property
    def primary(self) -> Seen | None:
        """The only one that takes writes."""
        return self.primaries[0] if len(self.primaries) == 1 else None

    @property
    def standbys(self) -> tuple[Seen, ...]:
        """Those that answer and are in recovery."""
        return tuple(each for each in self.seen if each.state is not None and each.state.in_recovery)

    @property
    def silent(self) -> tuple[Seen, ...]:
        """Those that do not answer."""
        return tuple(each for each in self.seen if each.state is None)

    def find(self, name: str) -> Seen | None:
        """Return a member by its name, if there is such a one."""
        return next((each for each in self.seen if each.name == name), None)

    def systems(self) -> dict[str, list[str]]:
        """Return the system identifiers, each with the names of its members."""
        found: dict[str, list[str]] = {}
        for each in self.seen:
            if each.state is not None:
                found.setdefault(each.state.system_identifier, []).append(each.name)
        return found


_STATE = """
    SELECT current_setting('server_version_num')::int AS version_num, current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,
           (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
           CASE WHEN pg_is_in_recovery()
                THEN (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline, (SELECT received_tli FROM pg_stat_wal_receiver))
                        FROM pg_control_checkpoint() c, pg_control_recovery() r)
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline,
           CASE WHEN NOT pg_is_in_recovery() THEN (pg_current_wal_lsn() - '0/0')::bigint END AS written,
           coalesce((greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint, 0) AS received,
           (pg_last_wal_replay_lsn() - '0/0')::bigint AS replayed,
           CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS paused,
           extract(epoch FROM pg_last_xact_replay_timestamp())::float8 AS last_commit, extract(epoch FROM clock_timestamp())::float8 AS clock
"""
_RECEIVER = """
    SELECT status, extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 AS heard_seconds, sender_host AS host, sender_port AS port
      FROM pg_stat_wal_receiver
"""
_SLOTS = """
    SELECT slot_name AS name, slot_type AS kind, active, active_pid, wal_status,
           (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END - restart_lsn)::bigint AS retained
      FROM pg_replication_slots ORDER BY slot_name
"""
_FOLLOWERS = "SELECT pid, application_name, coalesce(sync_state, '') AS sync_state FROM pg_stat_replication ORDER BY pid"
_SETTINGS = """
    SELECT name, reset_val AS setting FROM pg_settings WHERE name IN ('primary_conninfo', 'primary_slot_name', 'recovery_target_timeline',
           'synchronous_standby_names', 'cluster_name', 'default_transaction_read_only')
"""
_RIGHTS = """
    SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS see_log, has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE') AS promote,
           r.rolsuper AS checkpoint, r.rolsuper OR r.rolreplication AS make_slots, r.rolsuper AS repoint
      FROM pg_roles r WHERE r.rolname = current_user
"""
_RIGHTS_SINCE_15 = """
    SELECT has_function_privilege('pg_ls_waldir()', 'EXECUTE') AS see_log, has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE') AS promote,
           r.rolsuper OR pg_has_role('pg_checkpoint', 'USAGE') AS checkpoint, r.rolsuper OR r.rolreplication AS make_slots,
           has_parameter_privilege('primary_conninfo', 'ALTER SYSTEM') AND has_function_privilege('pg_reload_conf()', 'EXECUTE') AS repoint
      FROM pg_roles r WHERE r.rolname = current_user
"""


def read_state(connection: t.Any) -> State:
    """Ask a member what it is."""
    row = rows(connection, _STATE)[0]
    rights = Rights(**rows(connection, _RIGHTS_SINCE_15 if row.pop("version_num") >= 150000 else _RIGHTS)[0])
    if rights.see_log and row["in_recovery"]:
        row["timeline"] = max(row["timeline"], _newest_segment(connection))
    settings = {each["name"]: each["setting"] or "" for each in rows(connection, _SETTINGS)}
    conninfo = settings.pop("primary_conninfo", None)
    receivers = [Receiver(**each) for each in rows(connection, _RECEIVER)]
    return State(
        **row,
        settings=settings,
        rights=rights,
        receiver=receivers[0] if receivers else None,
        slots=tuple(Slot(**each) for each in rows(connection, _SLOTS)),
        followers=tuple(Follower(**each) for each in rows(connection, _FOLLOWERS)),
        conninfo=conninfo,
    )


def _newest_segment(connection: t.Any) -> int:
    """Return the newest timeline that a standby has a file of the log of.

    What pg_control says is of the last restartpoint, and the receiver, which knows better, is gone when its sender is.
    """
    newest = rows(connection, "SELECT max(left(name, 8)) AS timeline FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'")[0]["timeline"]
    return int(newest or "0", 16)


def look(access: Access) -> View:
    """Ask all members at the same time; one that does not answer is part of what is seen."""
    with concurrent.futures.ThreadPoolExecutor(len(access.members)) as pool:
        return View(tuple(pool.map(lambda member: look_at(access, member), access.members)))


def look_at(access: Access, member: Member) -> Seen:
    """Ask one member."""
    try:
        _reach(member)
        with connect(access.at(member)) as connection:
            execute(connection, f"SET statement_timeout = '{ANSWER_SECONDS}s'")
            state = read_state(connection)
    except MainstayError as error:
        return Seen(member, error=" ".join(error.cause.split()))
    upstream, strangers = _names(access, targets_of(state.conninfo or "") if state.in_recovery else [])
    receiver = state.receiver
    known, unknown = _names(access, [(receiver.host, receiver.port)] if receiver and receiver.host and receiver.port else [])
    return Seen(member, state, "", upstream, strangers, next(iter((*known, *unknown)), ""))


def _reach(member: Member) -> None:
    """Find out soon whether anything is there.

    Raises:
        MainstayError: nothing is.
    """
    if member.host.startswith("/"):
        return
    try:
        with contextlib.closing(socket.create_connection((member.host, member.port), REACH_SECONDS)):
            pass
    except OSError as error:
        raise MainstayError(DOING, error.strerror or error) from error


def targets_of(conninfo: str) -> list[tuple[str, int]]:
    """Return the hosts and ports that a connection string names."""
    from psycopg2.extensions import parse_dsn

    given = parse_dsn(conninfo)
    hosts = (given.get("hostaddr") or given.get("host") or "").split(",")
    ports = (given.get("port") or "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [(host, int(port or RECEIVER_PORT)) for host, port in zip(hosts, ports) if host]


@functools.lru_cache(maxsize=256)
def _addresses(host: str) -> frozenset[str]:
    """Return the addresses of a host, or its name where it has none here."""
    if not host.startswith("/"):
        with contextlib.suppress(OSError):
            return frozenset(str(entry[4][0]) for entry in socket.getaddrinfo(host, None))
    return frozenset([host])


def _names(access: Access, targets: t.Iterable[tuple[str, int]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return who is at these hosts and ports: names of members, and addresses that are of none."""
    names, strangers = list[str](), list[str]()
    for host, port in targets:
        found = [member.name for member in access.members if member.port == port and _addresses(member.host) & _addresses(host)]
        names += found
        strangers += [] if found else [f"{host}:{port}"]
    return tuple(names), tuple(strangers)


def lsn(position: int | None) -> str:
    """Return a position as PostgreSQL writes it; empty if there is none."""
    return "" if position is None else f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def parse_lsn(text: str, doing: str) -> int:
    """Return a position such as ``0/1A2B3C4`` as a number.

    Raises:
        InvalidInput: it is none.
    """
    try:
        high, low = text.split("/")
        return int(high, 16) << 32 | int(low, 16)
    except ValueError:
        raise InvalidInput(doing, f"{text} is no position in the log", "give it as PostgreSQL writes it, such as 0/1A2B3C4") from None


def moment(epoch: float | None) -> str:
    """Return a time in UTC as text; empty if there is none."""
    return "" if epoch is None else datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def lag_bytes(view: View, seen: Seen) -> int | None:
    """Return how much of the primary's log a standby has not applied; None without a primary."""
    primary, state = view.primary, seen.state
    if primary is None or primary.state is None or state is None or not state.in_recovery:
        return None
    return max(0, primary.state.position - (state.replayed or 0))


def lag_seconds(view: View, seen: Seen) -> float | None:
    """Return how old what a standby shows is: 0 if it has everything, None if that is not known."""
    lag = lag_bytes(view, seen)
    if not lag or seen.state is None:
        return None if lag is None else 0.0
    return None if seen.state.last_commit is None else round(max(0.0, seen.state.clock - seen.state.last_commit), 3)


def application_name(state: State) -> str:
    """Return the name under which a standby shows at its sender, as libpqwalreceiver chooses it."""
    from psycopg2.extensions import parse_dsn

    return parse_dsn(state.conninfo or "").get("application_name") or state.settings.get("cluster_name") or "walreceiver"


def sync_state(view: View, seen: Seen) -> str:
    """Return what the primary says of a standby: ``async``, ``potential``, ``sync`` or ``quorum``; empty if it is not to be told apart."""
    primary, state = view.primary, seen.state
    if primary is None or primary.state is None or state is None or not state.in_recovery:
        return ""
    pids = {slot.active_pid for slot in primary.state.slots if slot.active and slot.name == state.settings.get("primary_slot_name")}
    name = application_name(state)
    found = {each.sync_state for each in primary.state.followers if (each.pid in pids if pids else each.application_name == name)}
    return found.pop() if len(found) == 1 else ""


def judge(view: View, max_lag_bytes: int) -> list[str]:
    """Say what is wrong, in sentences without a final stop.

    Args:
        view: what was seen.
        max_lag_bytes: a standby may be so far behind.
    """
    found = [f"{each.name} does not answer ({each.error})" for each in view.silent]
    systems = view.systems()
    if len(systems) > 1:
        said = ", ".join(f"{' and '.join(names)} to {identifier}" for identifier, names in systems.items())
        found.append(f"the members belong to different clusters: {said}")
    if len(view.primaries) > 1:
        said = " and ".join(f"{each.name} (timeline {each.state.timeline})" for each in view.primaries if each.state)
        found.append(f"{said} take writes at the same time; stop the one that clients should not use, and rejoin it")
    if not view.primaries:
        found.append("no member takes writes")
    for each in view.standbys:
        found += _problems_of_standby(view, each, max_lag_bytes)
    for each in view.primaries:
        found += _problems_of_primary(each)
    return found


def _problems_of_standby(view: View, seen: Seen, max_lag_bytes: int) -> t.Iterator[str]:
    state, primary = t.cast(State, seen.state), view.primary
    if state.paused:
        yield f"{seen.name} has paused replaying"
    if state.streams is False:
        yield f"{seen.name} does not stream"
    if primary is None or primary.state is None:
        return
    if state.timeline < primary.state.timeline and state.rights.see_log:
        yield f"{seen.name} is on timeline {state.timeline}, {primary.name} on {primary.state.timeline}"
    if state.timeline > primary.state.timeline:
        yield f"{seen.name} is on timeline {state.timeline}, newer than that of {primary.name} ({primary.state.timeline}): another primary was promoted"
    lag = lag_bytes(view, seen)
    if lag is not None and lag > max_lag_bytes:
        yield f"{seen.name} is {lag} bytes behind {primary.name}, more than {max_lag_bytes}"


def _problems_of_primary(seen: Seen) -> t.Iterator[str]:
    state = t.cast(State, seen.state)
    for slot in state.slots:
        if slot.wal_status in ("unreserved", "lost"):
            yield f"the slot {slot.name} of {seen.name} has lost what it kept ({slot.wal_status})"
        elif not slot.active and slot.retained is not None:
            yield f"nobody uses the slot {slot.name} of {seen.name}, which keeps {slot.retained} bytes of the log"
    if state.settings.get("synchronous_standby_names") and not any(each.sync_state in ("sync", "quorum") for each in state.followers):
        yield f"synchronous_standby_names of {seen.name} is set and no standby is synchronous, so that commits wait"
    if state.settings.get("default_transaction_read_only") == "on":
        yield f"default_transaction_read_only is on at {seen.name}, so that its clients cannot write"


def plain(view: View, seen: Seen) -> dict[str, t.Any]:
    """Return a member as modules return it."""
    state = seen.state
    role = "" if state is None else "standby" if state.in_recovery else "primary"
    return {
        "name": seen.name,
        "host": seen.member.host,
        "port": seen.member.port,
        "reachable": state is not None,
        "error": seen.error,
        "role": role,
        "version": state.version if state else "",
        "system_identifier": state.system_identifier if state else "",
        "timeline": state.timeline if state else None,
        "written_lsn": lsn(state.written) if state else "",
        "received_lsn": lsn(state.received) if state and role == "standby" else "",
        "replayed_lsn": lsn(state.replayed) if state and role == "standby" else "",
        "last_commit": moment(state.last_commit) if state and role == "standby" else "",
        "lag_bytes": lag_bytes(view, seen),
        "lag_seconds": lag_seconds(view, seen),
        "streams": state.streams if state else None,
        "upstream": [*seen.upstream, *seen.strangers],
        "replay_paused": bool(state and state.paused),
        "sync_state": sync_state(view, seen),
        "slots": [
            {"name": slot.name, "type": slot.kind, "active": slot.active, "wal_status": slot.wal_status or "", "retained_bytes": slot.retained}
            for slot in (state.slots if state else ())
        ],
    }


def run(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the members, once they are as the module's options want them.

    Raises:
        MainstayError: they were not so within the time.
    """
    if params["wait_timeout"] < 0 or params["max_lag_bytes"] < 0:
        raise InvalidInput(DOING, "wait_timeout and max_lag_bytes must not be negative")
    access, started = access_from(params), time.monotonic()
    while True:
        view = look(access)
        problems = judge(view, params["max_lag_bytes"])
        waits = {"none": False, "primary": view.primary is None, "healthy": bool(problems)}[params["wait_for"]]
        if not waits:
            return _result(view, problems, time.monotonic() - started)
        if time.monotonic() + POLL_SECONDS > started + params["wait_timeout"]:
            what = "a primary" if params["wait_for"] == "primary" else "healthy replication"
            cause = f"within {params['wait_timeout']} seconds this did not pass: {'; '.join(problems)}"
            raise MainstayError(f"see {what}", cause, "look at the logs of PostgreSQL on the members")
        time.sleep(POLL_SECONDS)


def _result(view: View, problems: list[str], seconds: float) -> dict[str, t.Any]:
    primary, systems = view.primary, view.systems()
    return {
        "healthy": not problems,
        "problems": problems,
        "primary": primary.name if primary else "",
        "primaries": [each.name for each in view.primaries],
        "standbys": [each.name for each in view.standbys],
        "timeline": primary.state.timeline if primary and primary.state else None,
        "system_identifier": next(iter(systems)) if len(systems) == 1 else "",
        "members": [plain(view, each) for each in view.seen],
        "seconds": round(seconds, 3),
    }
