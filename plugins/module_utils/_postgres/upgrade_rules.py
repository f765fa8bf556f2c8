# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of moving databases to another server by logical replication, and what has to be known about it. Nothing here speaks to a server.

The rules come from PostgreSQL's documentation, "Logical Replication": what is not replicated (definitions, sequences, large objects, unlogged and foreign
tables, materialized views), that an update needs a replica identity, and how many slots and workers both sides need.
"""

from __future__ import annotations

import dataclasses
import typing as t

OLDEST = 13
"""Oldest major version of the source whose logical replication this was made for."""

SPARE = 2
"""Slots, senders and workers beyond one for each database: tables are copied at the start through further ones (max_sync_workers_per_subscription)."""

BLOCKS, WARNS = "blocks", "warns"


@dataclasses.dataclass(frozen=True)
class Server:
    """A server, as far as the move depends on it.

    Args:
        version_num: its version as a number.
        in_recovery: whether it is a standby.
        system_identifier: which cluster it is.
        superuser: whether the login is a superuser.
        wal_level: ``logical`` is needed on the source.
        free: how many are free of ``slots``, ``senders``, ``workers`` and ``origins``.
        prepared: number of prepared transactions.
        consumers: names of logical replication slots of others.
        extensions: version by name of what can be installed.
        settings: names of all parameters.
        databases: names of its databases.
        ignored_slots: what Patroni's ``ignore_slots`` says; none if it is not under Patroni.
    """

    version_num: int
    in_recovery: bool
    system_identifier: str
    superuser: bool
    wal_level: str
    free: t.Mapping[str, int]
    prepared: int = 0
    consumers: tuple[str, ...] = ()
    extensions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: frozenset[str] = frozenset()
    databases: frozenset[str] = frozenset()
    ignored_slots: tuple[t.Mapping[str, str], ...] | None = None

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_num // 10000


@dataclasses.dataclass(frozen=True)
class Database:
    """A database of the source.

    Args:
        name: its name.
        without_identity: tables whose rows cannot be told apart when they change.
        unlogged: unlogged tables.
        foreign: foreign tables.
        materialized: materialized views.
        eager_triggers: triggers that would fire for replicated rows too (``ENABLE ALWAYS`` or ``REPLICA``).
        event_triggers: names of event triggers.
        large_objects: how many there are.
        extensions: version by name.
        set_parameters: names of parameters that it or roles in it have a setting of.
        publications: names of publications of others.
        subscriptions: names of subscriptions.
        collations: what is to be said of collations whose library has changed.
    """

    name: str
    without_identity: tuple[str, ...] = ()
    unlogged: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    materialized: tuple[str, ...] = ()
    eager_triggers: tuple[str, ...] = ()
    event_triggers: tuple[str, ...] = ()
    large_objects: int = 0
    extensions: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    set_parameters: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    collations: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that stands in the way, or that has to be known.

    Args:
        weight: :data:`BLOCKS` or :data:`WARNS`.
        database: which one it concerns; empty for the servers.
        text: a sentence without a final stop.
        next_step: what can be done about it.
    """

    weight: str
    database: str
    text: str
    next_step: str = ""

    def __str__(self) -> str:
        """It in words."""
        where = f"{self.database}: " if self.database else ""
        return f"{where}{self.text}" + (f"; {self.next_step}" if self.next_step else "")

    def plain(self) -> dict[str, t.Any]:
        """Return it as modules return it."""
        return dataclasses.asdict(self)


def judge(
    source: Server, target: Server, databases: t.Sequence[Database], made: t.Collection[str] = (), vacant: t.Collection[str] = ()
) -> list[Finding]:
    """Return what blocks the move and what is to be known, servers first.

    Args:
        source: the old server.
        target: the new one.
        databases: those that move.
        made: databases that an earlier run has made on the target, so that their slots and workers are in use already.
        vacant: databases on the target with nothing in them, which may be replaced.
    """
    found = [*_between(source, target), *_resources(source, target, len([each for each in databases if each.name not in made]))]
    for database in databases:
        if database.name in target.databases and database.name not in made and database.name not in vacant:
            text = "the new server has a database of this name, which no earlier run made and which is not empty"
            found.append(Finding(BLOCKS, database.name, text, "rename or drop it"))
        found.extend(_of_database(target, database))
    return found


def judge_way_back(target: Server, slots: t.Mapping[str, str]) -> list[Finding]:
    """Return what blocks the replication back to the old server.

    Args:
        target: the new server.
        slots: names of the replication slots there, with their databases.
    """
    found = dropped_slots("new", target, slots)
    if target.wal_level != "logical":
        text = f"wal_level of the new server is {target.wal_level}, and the way back needs logical"
        found.append(Finding(BLOCKS, "", text, "set it and restart the new server, or say way_back=false"))
    return found


def dropped_slots(which: str, server: Server, slots: t.Mapping[str, str]) -> list[Finding]:
    """Return that Patroni would drop replication slots of the move, if it would: it drops each one that it does not know while nobody reads from it.

    Args:
        which: ``old`` or ``new``.
        server: that server.
        slots: names of its slots, with their databases.
    """
    if server.ignored_slots is None:
        return []
    dropped = []
    for slot, database in slots.items():
        ours = {"name": slot, "type": "logical", "database": database, "plugin": "pgoutput"}
        # As Patroni compares: what an entry does not say fits everything.
        if not any(all(entry.get(part) in (None, "", text) for part, text in ours.items()) for entry in server.ignored_slots):
            dropped.append(slot)
    if not dropped:
        return []
    text = f"the {which} server is under Patroni, whose ignore_slots does not name the slots {listed(dropped)}, so that it drops them when nobody reads"
    return [Finding(BLOCKS, "", text, "add {type: logical, plugin: pgoutput} to ignore_slots of its dynamic configuration")]


def _between(source: Server, target: Server) -> t.Iterator[Finding]:
    if source.in_recovery or target.in_recovery:
        which = "old" if source.in_recovery else "new"
        yield Finding(BLOCKS, "", f"the {which} server is a standby", "name the primary")
    if source.system_identifier == target.system_identifier:
        yield Finding(BLOCKS, "", "both are the same cluster (one system identifier)", "name the new server as the target")
    if target.major < source.major:
        yield Finding(BLOCKS, "", f"the new server has PostgreSQL {target.major}, the old one {source.major}", "the new one must not be older")
    if source.major < OLDEST:
        yield Finding(BLOCKS, "", f"the old server has PostgreSQL {source.major}, and at least {OLDEST} is needed", "use a dump, or pg_upgrade")
    for which, server in (("old", source), ("new", target)):
        if not server.superuser:
            yield Finding(BLOCKS, "", f"the login on the {which} server is no superuser", "log in as postgres")
    if source.wal_level != "logical":
        step = "set wal_level to logical (postgres_replication_parameters) and restart it (playbooks/postgres_restart.yml)"
        yield Finding(BLOCKS, "", f"wal_level of the old server is {source.wal_level}", step)
    if source.prepared:
        yield Finding(WARNS, "", f"the old server has {source.prepared} prepared transactions", "commit them or roll them back before the cutover")
    if source.consumers:
        text = f"others read the old server's changes through the slots {', '.join(source.consumers)}"
        yield Finding(WARNS, "", text, "point them to the new server yourself")


def _resources(source: Server, target: Server, number: int) -> t.Iterator[Finding]:
    if not number:
        return
    needed = number + SPARE
    for server, which, kind, parameter in (
        (source, "old", "slots", "max_replication_slots"),
        (source, "old", "senders", "max_wal_senders"),
        (target, "new", "workers", "max_logical_replication_workers and max_worker_processes"),
        (target, "new", "origins", "max_replication_slots"),
    ):
        if server.free[kind] < needed:
            yield Finding(BLOCKS, "", f"the {which} server has {server.free[kind]} {kind} free, and {needed} are needed", f"raise {parameter}")


def _of_database(target: Server, database: Database) -> t.Iterator[Finding]:
    name = database.name
    if database.without_identity:
        text = f"rows of {listed(database.without_identity)} cannot be told apart, and once published these tables would refuse UPDATE and DELETE"
        yield Finding(BLOCKS, name, text, "add a primary key, or say ALTER TABLE ... REPLICA IDENTITY FULL")
    if database.large_objects:
        yield Finding(BLOCKS, name, f"{database.large_objects} large objects are not replicated", "move them into tables, or use a dump")
    missing = sorted(set(database.extensions) - set(target.extensions))
    if missing:
        yield Finding(BLOCKS, name, f"the new server lacks the extensions {', '.join(missing)}", "install their packages")
    gone = sorted(set(database.set_parameters) - target.settings)
    if gone:
        yield Finding(BLOCKS, name, f"the new server knows no {', '.join(gone)}, which ALTER DATABASE or ALTER ROLE sets", "reset it on the old server")
    for extension, version in sorted(database.extensions.items()):
        if target.extensions.get(extension, version) != version:
            yield Finding(WARNS, name, f"the extension {extension} goes from {version} to {target.extensions[extension]}", "read its notes")
    for names, text in (
        (database.unlogged, "rows of the unlogged tables {} are not moved"),
        (database.foreign, "foreign tables {} keep their servers and user mappings, see that the new host reaches them"),
        (database.eager_triggers, "the triggers {} fire for replicated rows too, and may do their work twice"),
        (database.event_triggers, "the event triggers {} fire on the new server while definitions are made"),
        (database.publications, "the publications {} are not moved"),
        (database.subscriptions, "the subscriptions {} are not moved"),
        (database.materialized, "the materialized views {} are filled anew after the cutover"),
    ):
        if names:
            yield Finding(WARNS, name, text.format(listed(names)))
    for text in database.collations:
        yield Finding(WARNS, name, text, "indexes are built anew on the new server")


def listed(names: t.Sequence[str], most: int = 8) -> str:
    """Return names as a list that stays readable."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def blockers(findings: t.Iterable[Finding]) -> list[Finding]:
    """Return those that block."""
    return [finding for finding in findings if finding.weight == BLOCKS]


def differences(old: t.Mapping[str, t.Any], new: t.Mapping[str, t.Any], most: int = 5) -> list[str]:
    """Say what differs between the contents of two databases.

    Args:
        old: what each thing is on the old server, by its name.
        new: the same on the new one.
        most: so many are named.
    """
    found = []
    for name in sorted({*old, *new}):
        if name not in new:
            found.append(f"{name} is missing on the new server")
        elif name not in old:
            found.append(f"{name} is on the new server alone")
        elif old[name] != new[name]:
            found.append(f"{name} is {old[name]} on the old server and {new[name]} on the new one")
    return [*found[:most], *([f"and {len(found) - most} more"] if len(found) > most else [])]
