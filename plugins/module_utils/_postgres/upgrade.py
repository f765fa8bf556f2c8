# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a move to another server: rehearse, prepare, cut over, and either go back or finish. How far it is stands on the two servers alone."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import facts, upgrade_facts, upgrade_link, upgrade_rules
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, NotFree, connect, execute, rows, sql, value
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.upgrade_link import (
    COPYING,
    DEFINING,
    HELD,
    PREPARED,
    STAGE,
    SWITCHED,
    VERIFIED,
    Side,
    Stream,
)
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

DOING = "move the databases"
REHEARSAL = "_rehearsal"
BACK = "_back"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What the module's options ask for, beside the servers."""

    name: str
    databases: tuple[str, ...]
    way_back: bool
    accept_loss: bool
    sample: int
    max_lag_bytes: int
    seconds: float
    copy_seconds: float
    bin_dir: str | None

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any]) -> Wish:
        """Build it from the module's parameters.

        Raises:
            InvalidInput: an option that cannot be right.
        """
        if params["wait_timeout"] < 1 or params["copy_timeout"] < 1 or params["sample_rows"] < 1 or params["max_lag_bytes"] < 0:
            raise InvalidInput(DOING, "wait_timeout, copy_timeout and sample_rows must be at least 1, and max_lag_bytes not negative")
        name = params["name"]
        if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") or len(name) > 40:
            raise InvalidInput(DOING, f"name is {name!r}", "use up to 40 small letters, digits and underscores")
        return cls(
            name,
            tuple(params["databases"]),
            params["way_back"],
            params["accept_loss"],
            params["sample_rows"],
            params["max_lag_bytes"],
            float(params["wait_timeout"]),
            float(params["copy_timeout"]),
            params["pg_bin_dir"],
        )


@dataclasses.dataclass
class Move:
    """Both servers as they are, and what a run has found and done.

    Args:
        wish: what is asked for.
        source: the old server.
        target: the new one.
        described: the databases that move, as the old server describes them.
        findings: what stands in the way.
        stages: how far each is that has been begun.
        held: those that are held on the old server, with the limit of connections that they had.
        returned: those that are held on the new one, since they go back or have gone.
        limits: of connections, of the databases on the new server.
        phases: seconds of each phase.
        target_server: what the new server is.
        actions: what was done, in words.
        warnings: for the user.
        unwritable: seconds for which neither server took writes.
    """

    wish: Wish
    source: Side
    target: Side
    described: dict[str, dict[str, t.Any]]
    findings: list[upgrade_rules.Finding]
    stages: dict[str, str]
    held: dict[str, str]
    returned: dict[str, str]
    limits: dict[str, int]
    phases: dict[str, float]
    target_server: facts.Server
    actions: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    unwritable: float | None = None

    @property
    def names(self) -> list[str]:
        """The databases that move."""
        return list(self.described)

    @contextlib.contextmanager
    def phase(self, name: str) -> t.Iterator[None]:
        """Measure a phase, which shows itself while it goes on."""
        with timed(self.phases, name), current().phase(name):
            yield

    def stream(self, database: str) -> Stream:
        """Return the changes of a database from the old server to the new one."""
        return Stream(self.source, self.target, database, self.wish.name, f"{self.wish.name}_{self.described[database]['oid']}")

    def back(self, database: str) -> Stream:
        """Return the changes of a database from the new server to the old one."""
        slot = f"{self.wish.name}{BACK}_{self.described[database]['oid']}"
        return Stream(self.target, self.source, database, self.wish.name + BACK, slot)

    def set_stage(self, database: str, stage: str | None) -> None:
        """Note how far a database is."""
        upgrade_link.mark(self.target.login, database, STAGE, stage)


def side(given: t.Mapping[str, t.Any]) -> tuple[Side, facts.Server]:
    """Return a server from the module's option, and what it is."""
    login = Login(
        host=given["login_unix_socket"] or given["login_host"],
        port=given["login_port"],
        user=given["login_user"],
        password=given["login_password"],
        ssl_mode=given["ssl_mode"],
        ca_cert=given["ca_cert"],
    )
    with connect(login) as connection:
        server = facts.read_server(connection)
    return Side(login, server.major, given["replication_conninfo"] or ""), server


def look(params: t.Mapping[str, t.Any]) -> Move:
    """Look at both servers and at the databases that are to move.

    Raises:
        InvalidInput: a database does not exist.
        MainstayError: a server cannot be reached.
    """
    wish, phases = Wish.of(params), dict[str, float]()
    with timed(phases, "look"), current().phase("look"):
        (source, _unused), (target, target_server) = side(params["source"]), side(params["target"])
        stages = upgrade_link.marks(target.login, STAGE)
        with connect(source.login) as connection:
            present = facts.read_databases(connection)
            oids = {row["datname"]: row["oid"] for row in rows(connection, "SELECT datname, oid::bigint FROM pg_database")}
            old = upgrade_facts.read_server(connection)
        with connect(target.login) as connection:
            new = upgrade_facts.read_server(connection)
        empty = [row["name"] for row in present if row["name"] == "postgres" and _is_empty(source.login, "postgres")]
        names = facts.select_databases(present, wish.databases, (), empty)
        described, inside = {}, []
        for row in (row for row in present if row["name"] in names):
            with connect(source.login, row["name"]) as connection:
                described[row["name"]] = {**row, **facts.read_contents(connection, count_rows=False), "oid": oids[row["name"]]}
                stale = facts.stale_collations(connection)
                inside.append(upgrade_facts.read_database(connection, described[row["name"]], stale, wish.name))
        ours = tuple(slot for slot in old.consumers if not slot.startswith(f"{wish.name}_"))
        old = dataclasses.replace(old, consumers=ours)
        vacant = [name for name in names if name in new.databases and name not in stages and _is_empty(target.login, name)]
        findings = upgrade_rules.judge(old, new, inside, list(stages), vacant)
        held, returned, limits = upgrade_link.marks(source.login, HELD), upgrade_link.marks(target.login, HELD), upgrade_link.limits(target.login)
    begun = {name: stage for name, stage in stages.items() if name in described}
    move = Move(wish, source, target, described, findings, begun, held, returned, limits, phases, target_server)
    left = [name for name in move.names if begun.get(name) != SWITCHED]
    move.findings += upgrade_rules.dropped_slots("old", old, {move.stream(name).slot: name for name in left})
    if wish.way_back:
        move.findings += upgrade_rules.judge_way_back(new, {move.back(name).slot: name for name in left})
    return move


def _is_empty(login: Login, database: str) -> bool:
    with connect(login, database) as connection:
        return facts.is_empty(connection)


@contextlib.contextmanager
def locked(move: Move) -> t.Iterator[None]:
    """Hold a lock on the new server, so that one run at a time works on the move.

    Raises:
        NotFree: another run holds it.
    """
    with connect(move.target.login) as connection:
        if not value(connection, "SELECT pg_try_advisory_lock(hashtext('mainstay.pg_major_upgrade'), hashtext(%s))", [move.wish.name]):
            raise NotFree(DOING, "another run holds the lock on the new server", "wait for it to end")
        yield


def run(params: t.Mapping[str, t.Any], check_mode: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Bring the move to the state that the module's options ask for.

    Returns:
        The module's result, and warnings for the user.

    Raises:
        MainstayError: it could not be done.
    """
    started = time.monotonic()
    move = look(params)
    step = {"rehearsed": rehearse, "prepared": prepare, "switched": cut_over, "abandoned": abandon, "finished": finish}[params["state"]]
    with locked(move) if not check_mode else contextlib.nullcontext():
        step(move, check_mode)
    return _result(move, params["state"], time.monotonic() - started), move.warnings


def refuse_blocked(move: Move, *passing: str) -> None:
    """Refuse what the findings block.

    Args:
        move: what was found.
        passing: words of findings that do not count for this step.

    Raises:
        MainstayError: something blocks it.
    """
    blocking = [str(finding) for finding in upgrade_rules.blockers(move.findings) if not any(word in finding.text for word in passing)]
    if blocking:
        raise MainstayError(DOING, "; ".join(blocking), "put that right and run it again", findings=[finding.plain() for finding in move.findings])


def rehearse(move: Move, check_mode: bool) -> None:
    """Copy each database to the new server under another name, compare it, gather statistics, and drop it; the old server only reads.

    Raises:
        MainstayError: it did not come out the same.
    """
    # The old server need not be ready to send changes for that.
    refuse_blocked(move, "wal_level", "are needed", "cannot be told apart", "ignore_slots")
    move.actions += [f"rehearse {name}: copy it to {name}{REHEARSAL} on the new server, compare, and drop it" for name in move.names]
    if check_mode:
        return
    with move.phase("make the roles"):
        made = upgrade_link.copy_roles(move.source, move.target, move.wish.bin_dir, check_mode)
    if made:
        move.actions.insert(0, f"make the roles {', '.join(made)} on the new server")
    for name, described in move.described.items():
        copy = name + REHEARSAL
        clear(move, copy)
        try:
            _rehearse_one(move, described, copy)
        finally:
            upgrade_link.drop(move.target.login, copy)


def clear(move: Move, name: str) -> None:
    """Drop a database on the new server that a run before was cut off with, or that has nothing in it.

    Raises:
        MainstayError: it is somebody else's.
    """
    with connect(move.target.login) as connection:
        if not rows(connection, "SELECT FROM pg_database WHERE datname = %s", [name]):
            return
    if name not in upgrade_link.marks(move.target.login, STAGE) and not _is_empty(move.target.login, name):
        raise MainstayError(f"make {name} on the new server", "there is one, which no earlier run made and which is not empty", "rename or drop it")
    upgrade_link.drop(move.target.login, name)


def _rehearse_one(move: Move, described: t.Mapping[str, t.Any], copy: str) -> None:
    name = described["name"]
    upgrade_link.create(move.target, move.target_server, described, copy)
    move.set_stage(copy, DEFINING)
    with connect(move.source.login, name) as connection:
        execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = value(connection, "SELECT pg_export_snapshot()")
        with move.phase(f"copy {name}"):
            upgrade_link.copy(move.source, move.target, name, copy, move.wish.bin_dir, f"--snapshot={snapshot}")
        with move.phase(f"compare {name}"):
            tables = upgrade_facts.countable(connection)
            old = {**upgrade_facts.definitions(connection), **upgrade_facts.contents(connection, tables, move.wish.sample)}
            with connect(move.target.login, copy) as other:
                new = {**upgrade_facts.definitions(other), **upgrade_facts.contents(other, tables, move.wish.sample)}
        execute(connection, "ROLLBACK")
    with move.phase(f"analyze {name}"), connect(move.target.login, copy) as connection:
        execute(connection, "ANALYZE")
    if wrong := upgrade_rules.differences(old, new):
        raise MainstayError(f"rehearse {name}", "; ".join(wrong), "find out why before anything is moved")


def prepare(move: Move, check_mode: bool) -> None:
    """Make roles and databases on the new server, let changes flow, and wait until everything has been copied.

    Raises:
        MainstayError: something blocks it, or it takes too long.
    """
    refuse_blocked(move)
    fresh = [name for name in move.names if move.stages.get(name, DEFINING) == DEFINING]
    waiting = [name for name in move.names if name in fresh or move.stages[name] == COPYING]
    for name in fresh:
        _try_way_back(move, name, move.target.login.database)
    move.actions += [f"make {name} on the new server, and replicate to it" for name in fresh]
    move.actions += [f"wait until {name} has been copied, and gather its statistics" for name in waiting]
    if check_mode:
        return
    if fresh:
        with move.phase("make the roles"):
            made = upgrade_link.copy_roles(move.source, move.target, move.wish.bin_dir, check_mode)
        if made:
            move.actions.insert(0, f"make the roles {', '.join(made)} on the new server")
    for name in fresh:
        with move.phase(f"make {name}"):
            _begin(move, name)
    for name in waiting:
        stream = move.stream(name)
        with move.phase(f"copy {name}"):
            stream.await_copy(move.wish.copy_seconds)
            stream.await_end(move.wish.copy_seconds, move.wish.max_lag_bytes)
        with move.phase(f"analyze {name}"), connect(move.target.login, name) as connection:
            execute(connection, "ANALYZE")
        move.set_stage(name, PREPARED)


def _try_way_back(move: Move, name: str, database: str) -> None:
    """See that the old server reaches the new one, while one of them takes writes yet.

    Raises:
        MainstayError: it does not.
    """
    back = move.back(name)
    if move.wish.way_back and not back.exists():
        back.try_out(database)


def _begin(move: Move, name: str) -> None:
    stream = move.stream(name)
    stream.unsubscribe()  # of a run that was cut off
    clear(move, name)
    upgrade_link.create(move.target, move.target_server, move.described[name], name)
    move.set_stage(name, DEFINING)
    upgrade_link.copy(move.source, move.target, name, name, move.wish.bin_dir, "--schema-only")
    upgrade_link.apply_properties(move.target, move.described[name])
    stream.publish()
    stream.subscribe(copy=True)
    move.set_stage(name, COPYING)


def cut_over(move: Move, check_mode: bool) -> None:
    """Hold the writes on the old server, let the rest arrive, compare, and let everybody use the new one.

    Raises:
        MainstayError: it cannot be done; the old server takes writes as before.
    """
    left = [name for name in move.names if move.stages.get(name) != SWITCHED]
    lacking = [name for name in left if move.stages.get(name) not in (PREPARED, VERIFIED)]
    if lacking:
        raise MainstayError("cut over", f"{', '.join(lacking)} has not been prepared", "reach the state prepared first")
    _refuse_returning(move)
    if left:
        refuse_blocked(move)
    # What is verified and no longer held may have been written to since.
    waiting = [name for name in left if move.stages[name] == PREPARED or name not in move.held]
    for name in waiting:
        _check_ready(move, name)
    for name in left:
        _try_way_back(move, name, name)
    views = {name: found for name in move.names if (found := _unfilled(move, name))}
    move.actions += [
        *(f"hold the writes of {name} on the old server" for name in waiting),
        *(f"compare {name}, and bring its sequences along" for name in waiting),
        *(f"let everybody use {name} on the new server" for name in left),
        *(f"replicate {name} back to the old server" for name in left if move.wish.way_back),
        *(f"fill the materialized view {view} of {name}" for name, found in views.items() for view in found),
    ]
    if check_mode:
        return
    if left:
        _switch(move, waiting, left)
    with move.phase("fill materialized views"):
        for name, found in views.items():
            _refresh(move, name, found)


def _refuse_returning(move: Move) -> None:
    """Refuse to go on with a move that a run which was cut off was about to abandon.

    Raises:
        MainstayError: it goes back.
    """
    # After the cutover the old one is closed: held, or for ever by a run that was finishing.
    closed = [name for name in move.names if name in move.held or move.described[name]["connection_limit"] == 0]
    going = [name for name in move.names if name in move.returned or (move.stages.get(name) == SWITCHED and name not in closed)]
    if going:
        raise MainstayError("use the new server", f"{', '.join(going)} is on its way back to the old one", "reach the state abandoned")


def _switch(move: Move, waiting: t.Sequence[str], left: t.Sequence[str]) -> None:
    started = time.monotonic()
    try:
        _bring_along(move, waiting)
    except BaseException:  # a signal too
        for name in waiting:
            # If the new server does not answer: one that is not held does not count as verified.
            with contextlib.suppress(MainstayError):
                move.set_stage(name, PREPARED)
            upgrade_link.release(move.source.login, name)
        raise
    with move.phase("open the new server"):
        for name in left:
            _open(move, name)
    move.unwritable = round(time.monotonic() - started, 3)


def _check_ready(move: Move, name: str) -> None:
    """Refuse a cutover for which writes would be held long, or that would lose something.

    Raises:
        MainstayError: see there.
    """
    doing = f"cut {name} over"
    behind = move.stream(name).behind()
    if behind is None or behind > move.wish.max_lag_bytes:
        state = "replication has ended" if behind is None else f"{behind} bytes are missing on the new server, more than {move.wish.max_lag_bytes}"
        raise MainstayError(doing, state, "see the log of the new server, and wait until it has caught up")
    with connect(move.source.login, name) as old, connect(move.target.login, name) as new:
        wrong = upgrade_rules.differences(upgrade_facts.definitions(old), upgrade_facts.definitions(new))
        prepared = value(old, "SELECT count(*) FROM pg_prepared_xacts WHERE database = %s", [name])
    if wrong:
        raise MainstayError(doing, f"definitions have changed since it was prepared: {'; '.join(wrong)}", "reach the state abandoned, and prepare it anew")
    if prepared:
        raise MainstayError(doing, f"there are {prepared} prepared transactions", "commit them or roll them back")


def _bring_along(move: Move, names: t.Sequence[str]) -> None:
    with move.phase("hold the writes"):
        for name in names:
            # From now on it is held, and what a run before has verified no longer holds.
            move.set_stage(name, PREPARED)
            upgrade_link.hold(move.source.login, name, move.wish.seconds)
    with move.phase("let the rest arrive"):
        for name in names:
            move.stream(name).await_end(move.wish.seconds)
    for name in names:
        with move.phase(f"compare {name}"):
            _take_state(move.source, move.target, name, move.wish.sample)
    for name in names:
        move.set_stage(name, VERIFIED)


def _take_state(source: Side, target: Side, name: str, sample: int) -> None:
    """Give the sequences of one server to the other, and see that the rows are the same.

    Raises:
        MainstayError: they are not.
    """
    with connect(source.login, name) as old, connect(target.login, name) as new:
        upgrade_facts.set_sequences(new, upgrade_facts.sequences(old))
        tables = upgrade_facts.countable(old)
        wrong = upgrade_rules.differences(upgrade_facts.contents(old, tables, sample), upgrade_facts.contents(new, tables, sample))
        wrong += upgrade_rules.differences(upgrade_facts.sequences(old), upgrade_facts.sequences(new))
    if wrong:
        raise MainstayError(f"cut {name} over", "; ".join(wrong), "the old server takes writes as before; abandon it, and prepare it anew")


def _open(move: Move, name: str) -> None:
    move.stream(name).unsubscribe()
    back = move.back(name)
    if move.wish.way_back and not back.exists():
        back.publish()
        back.subscribe(copy=False)
    upgrade_link.open_up(move.target.login, name, move.described[name]["connection_limit"] if name not in move.held else int(move.held[name]))
    move.set_stage(name, SWITCHED)


def _unfilled(move: Move, name: str) -> list[str]:
    """Return the materialized views that are filled on the old server and not on the new one, by their quoted names, the oldest first."""
    statement = """
        SELECT format('%%I.%%I', n.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind = 'm' AND c.relispopulated = %s ORDER BY c.oid
    """
    with connect(move.source.login, name) as connection:
        filled = [row["name"] for row in rows(connection, statement, [True])]
    with connect(move.target.login, name) as connection:
        empty = [row["name"] for row in rows(connection, statement, [False])]
    return [view for view in filled if view in empty]


def _refresh(move: Move, name: str, views: t.Sequence[str]) -> None:
    with connect(move.target.login, name) as connection:
        for view in views:
            execute(connection, sql.SQL("REFRESH MATERIALIZED VIEW ") + sql.SQL(view))


def abandon(move: Move, check_mode: bool) -> None:
    """Go back to the old server, with what was written to the new one if there is a way back, and remove everything.

    Raises:
        MainstayError: what was written to the new server would be lost, or cannot be brought back.
    """
    begun = [name for name in move.names if name in move.stages]
    opened = [name for name in begun if _may_be_open(move, name)]
    returning = [name for name in opened if move.back(name).exists()]
    # What is held on the new server without a way back has been brought back by a run that was cut off.
    lost = [name for name in opened if name not in returning and name not in move.returned]
    if lost and not move.wish.accept_loss:
        cause = f"{', '.join(lost)} has no way back, and what was written to the new server would be lost"
        raise MainstayError("go back to the old server", cause, "give it up by accept_loss=true")
    released = [name for name in move.names if name in move.held]
    move.actions += [
        *(f"bring the changes of {name} back to the old server" for name in returning),
        *(f"let everybody use {name} on the old server" for name in released),
        *(f"remove {name} from the new server" for name in begun),
    ]
    if check_mode:
        return
    started = time.monotonic()
    if returning:
        with move.phase("bring the changes back"):
            _return(move, returning)
    with move.phase("open the old server"):
        for name in released:
            upgrade_link.release(move.source.login, name)
    if opened:
        move.unwritable = round(time.monotonic() - started, 3)
    with move.phase("remove what was made"):
        for name in begun:
            move.stream(name).unsubscribe()
            move.back(name).unsubscribe()
            upgrade_link.drop(move.target.login, name)
        for name in move.names:
            move.stream(name).unpublish()


def _may_be_open(move: Move, name: str) -> bool:
    """Whether clients may have written to a database on the new server: it was opened, perhaps by a run that was cut off before it noted that."""
    if move.stages[name] == VERIFIED:
        return move.limits[name] != 0 or move.back(name).exists()
    return move.stages[name] == SWITCHED


def _return(move: Move, names: t.Sequence[str]) -> None:
    try:
        for name in names:
            upgrade_link.hold(move.target.login, name, move.wish.seconds)
        for name in names:
            move.back(name).await_end(move.wish.seconds)
            _take_state(move.target, move.source, name, move.wish.sample)
    except BaseException:  # a signal too
        for name in names:
            upgrade_link.release(move.target.login, name)
        raise
    for name in names:
        move.back(name).unsubscribe()


def finish(move: Move, check_mode: bool) -> None:
    """Give the way back up. The old server keeps its data, and nobody but superusers gets in.

    Raises:
        MainstayError: it has not been cut over.
    """
    begun = [name for name in move.names if name in move.stages]
    lacking = [name for name in begun if move.stages[name] != SWITCHED]
    if lacking:
        raise MainstayError("finish the move", f"{', '.join(lacking)} has not been cut over", "reach the state switched first, or abandoned")
    _refuse_returning(move)
    move.actions += [f"end the replication of {name}" for name in begun]
    if check_mode:
        return
    for name in begun:
        back = move.back(name)
        back.unsubscribe()
        back.unpublish()
        move.stream(name).unpublish()
        # It stays closed, and no later run takes it for one that may be released: so this comes before the new server forgets the move.
        upgrade_link.mark(move.source.login, name, HELD, None)
        move.set_stage(name, None)


def _result(move: Move, state: str, seconds: float) -> dict[str, t.Any]:
    changed = bool(move.actions) and state != "rehearsed"
    before = {name: move.stages.get(name, "not begun") for name in move.names}
    after = {**before, **({name: state for name in before} if changed else {})}
    return {
        "changed": changed,
        "state": state,
        "actions": move.actions,
        "databases": move.names,
        "ready": not upgrade_rules.blockers(move.findings),
        "findings": [finding.plain() for finding in move.findings],
        "unwritable_seconds": move.unwritable,
        "phases": move.phases,
        "seconds": round(seconds, 3),
        "diff": {"before": before, "after": after},
    }
