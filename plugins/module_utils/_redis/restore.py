# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore by replication: a throwaway server loads the snapshot, the live one replicates from it and is made a master again.

The live server's files are never touched: it replaces its data in one step (``repl-diskless-load swapdb``), rewrites its AOF and serves its
replicas as after any synchronisation. It has the old data until the swap, but while it loads the new, clients get ``LOADING``, also for reads. Writes are
refused from ``REPLICAOF`` to the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import timed
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Interrupted, uninterrupted
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Loading, Login, Refused, Server, is_local
from ansible_collections.mainstay.ops.plugins.module_utils._redis.content import Content, compare
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import ServerFacts, read_facts
from ansible_collections.mainstay.ops.plugins.module_utils._redis.rdb import magic_text, parse_magic, rdb_version, unreadable_because
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import Listen, Throwaway, find_program, free_port, private_folder, throwaway
from ansible_collections.mainstay.ops.plugins.module_utils._redis.verify import check_memory, loaded_keys, stage

CONTACT_SECONDS = 30.0
"""Time for the live server to call the throwaway one; Redis tries once a second."""
REPLICAS_SECONDS = 120.0
"""Patience for the replicas that the live server had; the restore itself is done by then."""
POLL_SECONDS = 0.05
CHILD_AT_WORK = ("already in progress", "can't BGSAVE right now")
"""What a server says to ``BGSAVE`` while another child of it is at work."""
LOOPBACK = "127.0.0.1"
_TLS_SETTINGS = ("tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-ca-cert-file", "tls-ca-cert-dir")
_SETTINGS = ("masteruser", "masterauth", "repl-diskless-load", "replica-read-only", "databases", "save", "appendonly")


@dataclasses.dataclass(frozen=True)
class Target:
    """The live server as it is before the restore, or as it will be when ``left`` has been put right.

    Args:
        left: settings that a restore which was killed has changed, with the values to put back; none if there was no such restore.
        settings: holds a password; it never shows.
    """

    address: str
    local: bool
    facts: ServerFacts
    settings: t.Mapping[str, str] = dataclasses.field(repr=False)
    tls: t.Mapping[str, str] = dataclasses.field(repr=False)
    watched: bool
    left: t.Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a live server has after a restore: its keys per database, and what of its content was compared with the throwaway server's."""

    keys: t.Mapping[str, int]
    content: Content


def look_at(login: Login, work_dir: str) -> Target:
    """Read what a restore must know of its target; nothing is changed.

    Args:
        login: the live server.
        work_dir: where a restore that was killed has left a note.

    Raises:
        Refused: the user may not read the configuration.
        MainstayError: the server could not be reached.
    """
    with Server(login) as server:
        facts = read_facts(server)
        settings = server.config(*_SETTINGS)
        tls = server.config(*_TLS_SETTINGS) if server.config("tls-replication").get("tls-replication") == "yes" else {}
        try:
            watched = any(name.startswith("sentinel-") for name in server.client_names())
        except Refused:
            watched = False
    left = None
    if facts.role != "master" and facts.master.startswith(f"{LOOPBACK}:") and facts.link_status == "down":
        left = _read_note(_note_path(work_dir, login.address), facts.run_id)
    if left is not None:
        facts, settings = dataclasses.replace(facts, role="master", master="", link_status=""), {**settings, **left}
    return Target(login.address, is_local(login), facts, settings, tls, watched, left)


def put_right(login: Login, target: Target, work_dir: str) -> None:
    """Make a server a master again that a restore which was killed has left as a replica, with its settings as they were.

    Raises:
        MainstayError: the server refuses, or cannot be reached.
    """
    with Server(login) as server:
        _promote(server, CONTACT_SECONDS)
        for name, value in (target.left or {}).items():
            server.set_config(name, value)
    os.unlink(_note_path(work_dir, login.address))


def _note_path(work_dir: str, address: str) -> str:
    """Return where the settings of a server are noted while a restore has changed them."""
    return os.path.join(work_dir, f"mainstay-restore-{hashlib.sha256(address.encode()).hexdigest()[:16]}.json")


def _read_note(path: str, run_id: str) -> dict[str, str] | None:
    """Return the settings that are noted of this run of a server; none if there is no note, or one of another run."""
    try:
        with open(path, encoding="utf-8") as note:
            noted = json.load(note)
        return {str(name): str(value) for name, value in noted["settings"].items()} if noted["run_id"] == run_id else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_note(path: str, run_id: str, settings: t.Mapping[str, str]) -> None:
    """Note settings for a next run; none of them is a secret, as a password that the server has is never changed.

    Raises:
        MainstayError: it could not be written.
    """
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as note:
            json.dump({"run_id": run_id, "settings": dict(settings)}, note)
    except OSError as error:
        raise MainstayError(f"note the settings that a restore changes in {path}", error.strerror or error, "set work_dir to a larger file system") from error


def check_target(target: Target, manifest: Manifest, force: bool) -> None:
    """Refuse what cannot or must not be restored.

    Raises:
        InvalidInput: with the reason.
    """
    doing = f"restore backup {manifest.id} into Redis at {target.address}"
    facts = target.facts
    if not target.local:
        cause = "the server is on another host, and the throwaway server speaks to it over loopback only"
        raise InvalidInput(doing, cause, "run the task on the host of Redis")
    if facts.mode == "cluster":
        raise InvalidInput(doing, "it is a node of a cluster, which cannot replicate from a server outside it")
    if facts.role != "master" and facts.master.startswith(f"{LOOPBACK}:") and facts.link_status == "down":
        cause = f"it follows {facts.master}, where nobody answers, as after a restore that was killed"
        raise InvalidInput(doing, cause, "make it a master by REPLICAOF NO ONE, and set masterauth as it was")
    if facts.role != "master":
        next_step = f"restore into its master {facts.master}" + (", which Sentinel names" if target.watched else "")
        raise InvalidInput(doing, "it is a replica, whose data its master would replace again", next_step)
    if facts.loading:
        raise InvalidInput(doing, "it is still loading its data", "try again later")
    if reason := unreadable_because(parse_magic(manifest.source["rdb_magic"].encode()), facts.product, facts.version):
        raise InvalidInput(doing, reason, "restore into a server of that version or a later one")
    if {"masterauth", "masteruser"} - set(target.settings):
        raise InvalidInput(doing, "its settings masteruser and masterauth cannot be read", "allow the user CONFIG")
    databases = [int(name[2:]) for name in manifest.contents.get("keys", {})]
    if databases and max(databases) >= int(target.settings.get("databases", 16)):
        raise InvalidInput(doing, f"the backup has database {max(databases)}, the server has {target.settings.get('databases')}", "raise the setting databases")
    if facts.key_count and not force:
        raise InvalidInput(doing, f"it holds {facts.key_count} keys, which would be replaced", "set force=true if they may go")


def check_program(facts: ServerFacts, loaded: ServerFacts, manifest: Manifest) -> None:
    """Refuse a throwaway server whose own format the target cannot read; the target gets the data in that one's format.

    Raises:
        InvalidInput: with the reason.
    """
    magic = magic_text(loaded.product, rdb_version(loaded.product, loaded.version))
    if reason := unreadable_because(parse_magic(magic.encode()), facts.product, facts.version):
        raise InvalidInput(f"restore backup {manifest.id}", f"{loaded.name} of this host sends a newer format: {reason}", f"install {facts.name} on this host")


def restore(
    login: Login,
    target: Target,
    catalogue: Catalogue,
    backup: Backup,
    identity: Identity,
    work_dir: str,
    wait_timeout: float,
    phases: dict[str, float],
    before_change: t.Callable[[], None],
) -> tuple[Restored, tuple[str, ...]]:
    """Replace the data of the live server by that of a backup. Call :func:`check_target` first.

    Args:
        login: the live server.
        target: as :func:`look_at` saw it.
        catalogue: holds the backup.
        backup: what is restored.
        identity: the private key.
        work_dir: folder below which the private folder is made.
        wait_timeout: seconds that loading, and then replicating, may take.
        phases: filled with seconds: ``fetch``, ``load``, ``replicate`` and in it ``compare``, ``persist``, ``replicas``.
        before_change: called when the backup has proven good and the live server is about to change; an error of it stops everything.

    Returns:
        What the live server has now, and warnings.

    Raises:
        ContentDiffers: the live server has other data than the throwaway one that it replicated from.
        MainstayError: it failed; the live server is a master with its settings as before, or ``warnings`` in the error's details say what could not be put
            back. The message says which data it has.
    """
    manifest = backup.require_manifest()
    products = ("valkey-server", "redis-server") if target.facts.product == "valkey" else ("redis-server", "valkey-server")
    program = find_program(products)
    check_memory(manifest, copies=2)
    with private_folder(work_dir) as folder:
        with timed(phases, "fetch"):
            stage(catalogue, backup, identity, folder)
        user, password = target.settings["masteruser"], target.settings["masterauth"]
        listen = Listen(free_port(), target.tls, user if password else "", password)
        with throwaway(program, folder, listen) as source:
            with timed(phases, "load"), current().phase("load the snapshot into a throwaway server"):
                loaded = source.wait_loaded(wait_timeout)
                check_program(target.facts, loaded, manifest)
                source.forget_history()
                source.freeze()
            before_change()
            with timed(phases, "replicate"), current().phase(f"replicate to {target.address}"), Server(login, timeout=max(60.0, wait_timeout)) as server:
                restored = _replicate(server, target, source, wait_timeout, phases, _note_path(work_dir, login.address))
    with timed(phases, "persist"), current().phase("save the restored data"), Server(login) as server:
        _persist(server, target, wait_timeout)
    with timed(phases, "replicas"), current().phase("wait for the replicas"), Server(login) as server:
        warnings = _wait_replicas(server, target, min(wait_timeout, REPLICAS_SECONDS))
    return restored, (*restored.content.warnings, *warnings)


def _replicate(server: Server, target: Target, source: Throwaway, timeout: float, phases: dict[str, float], note: str) -> Restored:
    """Make the live server a replica until it is level and has been compared, and a master again whatever happens."""
    doing = f"restore into Redis at {target.address}"
    settings = {"repl-diskless-load": "swapdb", "replica-read-only": "yes"}
    if not target.settings["masterauth"]:
        settings |= {"masteruser": "", "masterauth": source.password}
    with _temporary(server, target, settings, note):
        with _at_the_end(lambda: _promote(server, timeout)):
            server.command("REPLICAOF", LOOPBACK, source.port, doing="begin to replicate from the throwaway server")
            keys = _wait_level(server, source, doing, timeout)
            with timed(phases, "compare"):
                content = compare(source.login, server.login, sum(keys.values()), timeout)
    facts = read_facts(server)
    if facts.role != "master":
        raise MainstayError(doing, f"it is a {facts.role} of {facts.master} after the restore", "see whether Sentinel has moved the master meanwhile")
    return Restored(keys, content)


def _promote(server: Server, timeout: float) -> None:
    """Make the live server a master again; it does not listen to that while it is loading."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            server.command("REPLICAOF", "NO", "ONE", doing="make it a master again")
            return
        except Loading:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _at_the_end(put_back: t.Callable[[], None]) -> t.Iterator[None]:
    """Put something back at the end, whatever happens. That it fails after an error is a warning beside that error, which is the cause more often than not.

    Raises:
        MainstayError: what was raised within, or else that it could not be put back.
    """
    try:
        yield
    except BaseException as raised:
        error = raised.error if isinstance(raised, Interrupted) else raised
        try:
            with uninterrupted():
                put_back()
        except MainstayError as second:
            if isinstance(error, MainstayError):
                error.details["warnings"] = [*error.details.get("warnings", []), str(second)]
        raise
    with uninterrupted():
        put_back()


@contextlib.contextmanager
def _temporary(server: Server, target: Target, settings: t.Mapping[str, str], note: str) -> t.Iterator[None]:
    """Change settings of the running server and put them back; nothing is written to its configuration file. A note is kept for the case of a kill."""
    changed = {name: value for name, value in settings.items() if name in target.settings and target.settings[name] != value}

    def put_back() -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)
        for name in changed:
            server.set_config(name, target.settings[name])

    with _at_the_end(put_back):
        _write_note(note, target.facts.run_id, {name: target.settings[name] for name in changed})
        for name, value in changed.items():
            server.set_config(name, value)
        yield


def _wait_level(server: Server, source: Throwaway, doing: str, timeout: float) -> dict[str, int]:
    """Wait until the live server has everything the throwaway one has; return its keys per database."""
    started = time.monotonic()
    while True:
        if not source.running:
            raise MainstayError(doing, f"the throwaway server ended: {source.last_words()}", "the server kept the data it had")
        theirs, ours = read_facts(source.server), read_facts(server)
        level = ours.link_status == "up" and not ours.sync_in_progress and ours.offset == theirs.offset and ours.replication_id == theirs.replication_id
        if level and loaded_keys(ours) == loaded_keys(theirs):
            return loaded_keys(ours)
        waited = time.monotonic() - started
        if waited > CONTACT_SECONDS and not theirs.replicas and not ours.sync_in_progress and ours.link_status != "up":
            cause = f"it has not called the throwaway server within {CONTACT_SECONDS:g} seconds"
            raise MainstayError(doing, cause, "look at its log; the server kept the data it had, and must be able to reach loopback on this host")
        if waited > timeout:
            state = f"link {ours.link_status}, offset {ours.offset} of {theirs.offset}"
            raise MainstayError(doing, f"it has not become level after {timeout:g} seconds ({state})", "raise wait_timeout")
        time.sleep(POLL_SECONDS)


def _persist(server: Server, target: Target, timeout: float) -> None:
    """Wait until the restored data is in the server's own files: the AOF it rewrites by itself, or the RDB if it keeps one."""
    deadline = time.monotonic() + timeout
    has_aof = target.settings.get("appendonly") == "yes"
    if not has_aof and not target.settings.get("save"):
        return
    if not has_aof:
        _begin_save(server, deadline)
    waiting = ("aof_rewrite_in_progress", "aof_rewrite_scheduled") if has_aof else ("rdb_bgsave_in_progress",)
    status = "aof_last_bgrewrite_status" if has_aof else "rdb_last_bgsave_status"
    while True:
        info = server.info()
        if all(info.get(name, "0") == "0" for name in waiting):
            if info.get(status) != "ok":
                raise MainstayError(f"save the restored data of Redis at {target.address}", "the server could not write its files", "look at its log")
            return
        if time.monotonic() > deadline:
            raise MainstayError(f"save the restored data of Redis at {target.address}", f"it has not ended after {timeout:g} seconds")
        time.sleep(POLL_SECONDS)


def _begin_save(server: Server, deadline: float) -> None:
    """Let the server save in the background; a child that feeds a replica or began before the restore is no such save, so its end is waited for.

    Raises:
        MainstayError: the server does not permit it, or the child does not end in time.
    """
    while True:
        try:
            server.command("BGSAVE", doing="save the restored data")
            return
        except Refused as error:
            if not any(words in error.cause for words in CHILD_AT_WORK) or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def _wait_replicas(server: Server, target: Target, timeout: float) -> tuple[str, ...]:
    """Wait until as many replicas as before have the restored data; with fewer the server may refuse writes (``min-replicas-to-write``)."""
    wanted = sum(replica.state == "online" for replica in target.facts.replicas)
    deadline = time.monotonic() + timeout
    while True:
        online = sum(replica.state == "online" for replica in read_facts(server).replicas)
        if online >= wanted:
            return ()
        if time.monotonic() > deadline:
            return (f"{online} of {wanted} replicas are back after {timeout:g} seconds",)
        time.sleep(POLL_SECONDS)
