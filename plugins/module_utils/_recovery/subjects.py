# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill restores: the newest good backup of a catalogue, into something throwaway that stays until the drill ends."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import random
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import spec
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Backup, Catalogue, Verification
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import ObjectRecord, to_text
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.verify import Targets, verify
from ansible_collections.mainstay.ops.plugins.module_utils._files.verify import FilesChecks
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical import account, restore
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical import verify as physical
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import open_engine
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Entry, Holdings
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import read_repository
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.states import settings_of
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.throwaway import PostgresChecks, Query
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command
from ansible_collections.mainstay.ops.plugins.module_utils._redis.throwaway import Listen, free_port
from ansible_collections.mainstay.ops.plugins.module_utils._redis.verify import RedisChecks

WITHOUT_RESTORE = "content"
"""How far a drill of the level ``verify`` opens a backup."""
Places = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Restored:
    """A backup that was restored, or opened.

    Args:
        backup_id: which one.
        recoverable_to: the moment whose data it brings back.
        result: what its verification says.
        places: how what was restored is reached, by the names that commands and checks may use.
        landed_at: for a moment in between, which one.
    """

    backup_id: str
    recoverable_to: datetime.datetime
    result: Verification
    places: Places
    landed_at: str = ""


@dataclasses.dataclass(frozen=True)
class Subject:
    """A catalogue whose newest backup is drilled.

    Args:
        part: the part of the policy.
        kind: ``postgres``, ``redis`` or ``files``.
        name: name of the catalogue.
        options: ``store``, ``encryption``, ``method``, ``point``, ``queries``, ``repository_passphrase``, ``pgbackrest_options``, ``wait_timeout``.
    """

    part: str
    kind: str
    name: str
    options: t.Mapping[str, t.Any]

    @property
    def words(self) -> str:
        """What it is called in sentences."""
        return f"{self.part} ({self.kind} {self.name})"

    @property
    def is_physical(self) -> bool:
        """Whether pgBackRest holds it."""
        return self.kind == "postgres" and self.options["method"] == "physical"

    def catalogue(self) -> Catalogue:
        """Open the catalogue.

        Raises:
            MainstayError: the store cannot be used.
        """
        methods = ("logical",) if self.kind == "postgres" and not self.is_physical else ()
        return spec.open_catalogue({"store": self.options["store"], "name": self.name}, self.kind, methods)

    def restore(self, level: str, work_dir: str, keep: contextlib.ExitStack) -> Restored:
        """Restore the newest good backup, or at the level ``verify`` open it, and note the result beside it, also that it is at fault.

        Args:
            level: ``verify`` or ``restore``.
            work_dir: folder for what is restored.
            keep: holds it; it is removed when that is left.

        Raises:
            BackupNotFound: there is no good one (any more).
            VerificationFailed: the backup is at fault; from now on it is not good, and the next call takes the one before.
            MainstayError: it could not be tried.
        """
        if self.is_physical:
            return self._physical(level, work_dir, keep)
        catalogue, identity = self.catalogue(), spec.identity_of(self.options)
        kept = _Kept(self._checks(catalogue, identity, work_dir), keep)
        backup = verify(catalogue, catalogue.choose("latest"), level if level == "restore" else WITHOUT_RESTORE, identity, kept)
        return Restored(backup.id, backup.require_manifest().recoverable_to, backup.verifications[-1], kept.places)

    def _checks(self, catalogue: Catalogue, identity: Identity, work_dir: str) -> t.Any:
        if self.kind == "postgres":
            return PostgresChecks(catalogue, identity, _queries(self.options), None, work_dir)
        if self.kind == "redis":
            return RedisChecks(catalogue, identity, work_dir, float(self.options["wait_timeout"]))
        return FilesChecks(catalogue, identity, work_dir)

    def _physical(self, level: str, work_dir: str, keep: contextlib.ExitStack) -> Restored:
        store = self.options["store"]
        local = [f"{store['path']}/pgbackrest/{self.name}"] if store["type"] == "local" else []
        engine = keep.enter_context(open_engine(settings_of({**self.options, "name": self.name}), account.owner_of(*local)))
        catalogue = self.catalogue()
        holdings = Holdings(engine, catalogue, read_repository(engine, 1))
        entry = holdings.choose("latest")
        keeper = physical.Keeper(keep, _moment(holdings, entry) if self.options["point"] == "random" else ())
        trial = physical.Trial(holdings, entry, _queries(self.options), None, work_dir, "postgres")
        backup = physical.verify(trial, level if level == "restore" else WITHOUT_RESTORE, Targets(), keeper)
        result = backup.verifications[-1]
        places = {} if keeper.login is None else _of_postgres(keeper.login)
        return Restored(backup.id, backup.require_manifest().recoverable_to, result, places, result.details.get("landed_at", ""))


def _queries(options: t.Mapping[str, t.Any]) -> tuple[Query, ...]:
    return tuple(Query(item["database"], item["query"], item["expect"]) for item in options["queries"])


def _moment(holdings: Holdings, entry: Entry) -> tuple[str, ...]:
    """Return pgBackRest's options for a random moment between the end of a backup and that of the log; without any where there is none in between."""
    end = entry.backup.require_manifest().recoverable_to
    seconds = (end - entry.set.stopped).total_seconds()
    if seconds <= 0:
        return ()
    moment = entry.set.stopped + datetime.timedelta(seconds=random.uniform(0, seconds))
    choice = restore.choose(holdings, entry.backup.id, restore.Target("time", to_text(moment)))
    return tuple(option for option in choice.options("") if not option.startswith("--recovery-option="))


def _of_postgres(login: t.Any) -> Places:
    return {"host": login.host, "port": str(login.port), "user": login.user}


class _Kept:
    """What verification knows of a kind of backup, with what it restores kept; see ``_catalog.verify.KindChecks``."""

    def __init__(self, checks: t.Any, stack: contextlib.ExitStack) -> None:
        self._checks, self._stack = checks, stack
        self.places: Places = {}

    def content(self, backup: Backup, record: ObjectRecord) -> Command | t.Callable[[t.BinaryIO], object]:
        """Return who parses an object in full."""
        return self._checks.content(backup, record)

    def restore(self, backup: Backup, phases: dict[str, float]) -> dict[str, t.Any]:
        """Restore the backup, check it, and keep it."""
        with contextlib.ExitStack() as stack:
            if isinstance(self._checks, RedisChecks):
                server, details = stack.enter_context(self._checks.restored(backup, phases, Listen(free_port())))
                # It was loaded as a replica, which forgets no key; from now on it is a server to work with.
                server.server.command("REPLICAOF", "NO", "ONE", doing="prepare the throwaway server")
                self.places = {"host": "127.0.0.1", "port": str(server.port), "password": server.password}
            else:
                found, details = stack.enter_context(self._checks.restored(backup, phases))
                if isinstance(self._checks, FilesChecks):
                    os.chmod(found, 0o711)  # the application runs as another user; what is below has its own modes
                    self.places = {"dir": os.fspath(found)}
                else:
                    self.places = _of_postgres(found)
            self._stack.push(stack.pop_all())
        return details
