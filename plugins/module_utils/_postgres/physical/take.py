# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a backup: what the server must be set to, which backup is due in which repository, and the run of pgBackRest itself."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shlex
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.catalogue import Catalogue
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres import facts
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import rows
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import BLOCK_SINCE, BUNDLE_SINCE, CONFIG_PATH, STANDBY_PREFER_SINCE
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.engine import ANNOTATION_SINCE, Engine, EngineError, copied_bytes
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.entries import Entry, Holdings, PhysicalBackup
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.repository import STRENGTH, read_repository
from ansible_collections.mainstay.ops.plugins.module_utils._progress import current

TYPES = {"full": "full", "differential": "diff", "incremental": "incr"}
"""pgBackRest's words for the option ``backup_type``."""
NO_STANDBY = 56
"""pgBackRest's error HostInvalid, with which it says that there is no standby to back up from."""

_LABEL = re.compile(r"new backup label = (\S+)")


@dataclasses.dataclass(frozen=True)
class Running:
    """The running server: what it is, how it archives, and what is in it."""

    server: facts.Server
    data_dir: str
    socket_dir: str
    archive_mode: str
    archive_command: str
    lsn: str
    databases: tuple[dict[str, t.Any], ...]

    @property
    def bytes(self) -> int:
        """The bytes of all databases."""
        return sum(database["size_bytes"] for database in self.databases)


def read_running(connection: t.Any) -> Running:
    """Ask a server what a physical backup of it needs to know."""
    row = rows(
        connection,
        """
        SELECT current_setting('data_directory') AS data_dir, current_setting('archive_mode') AS archive_mode,
               current_setting('archive_command') AS archive_command, split_part(current_setting('unix_socket_directories'), ',', 1) AS socket_dir
        """,
    )[0]
    databases = tuple({name: item[name] for name in ("name", "owner", "encoding", "size_bytes")} for item in facts.read_databases(connection))
    return Running(server=facts.read_server(connection), lsn=facts.read_lsn(connection), databases=databases, **row)


def check_archiving(running: Running, stanza: str) -> None:
    """See that the server sends its log to pgBackRest: without that no backup can be taken.

    Raises:
        InvalidInput: it does not, with what to set.
    """
    doing = f"take a physical backup of {stanza}"
    command = f"pgbackrest --stanza={stanza} archive-push %p"
    if running.archive_mode == "off":
        next_step = f"set archive_mode to on and archive_command to '{command}', with {CONFIG_PATH} as the filter mainstay.ops.pgbackrest_conf gives it"
        raise InvalidInput(doing, "the server archives no write-ahead log: archive_mode is off", f"{next_step}, and restart the server")
    said = running.archive_command.strip()
    if "pgbackrest" not in said or "archive-push" not in said:
        raise InvalidInput(doing, f"archive_command does not hand the log to pgBackRest, it is {said!r}", f"set archive_command to '{command}'")
    stanzas = _stanzas(said)
    if stanzas and stanza not in stanzas:
        raise InvalidInput(doing, f"archive_command sends the log to the stanza {', '.join(sorted(stanzas))}", f"set archive_command to '{command}'")


def _stanzas(command: str) -> set[str]:
    """Return the stanzas that an archive_command names."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    found = {word.split("=", 1)[1] for word in words if word.startswith("--stanza=")}
    return found | {after for word, after in zip(words, words[1:]) if word == "--stanza"}


def newest_enough(holdings: Holdings, wanted: str, limit: int, now: datetime.datetime) -> Entry | None:
    """Return the newest good backup of a type, or a stronger one, that ended at most ``limit`` seconds ago; None if there is none, or the limit is 0."""
    for entry in reversed(holdings.entries):
        young = limit and (now - entry.set.stopped).total_seconds() <= limit
        if young and entry.backup.good and STRENGTH[entry.set.type] >= STRENGTH[TYPES[wanted]]:
            return entry
    return None


def type_to_take(holdings: Holdings, wanted: str) -> tuple[str, str]:
    """Return the type of backup that can be taken, and why if it is not the one that is wanted: what has nothing good to stand on becomes a full one."""
    kind = TYPES[wanted]
    if kind == "full":
        return "full", ""
    full = [entry for entry in holdings.entries if entry.set.type == "full"]
    if not full:
        return "full", "there is no full one to base it on"
    base = full[-1] if kind == "diff" else holdings.entries[-1]
    if not base.backup.good:
        return "full", f"{base.backup.id}, on which it would be based, is not good"
    if base.set.system_identifier != holdings.repository.system_identifier:
        return "full", "the newest one is of another cluster"
    return kind, ""


def lacking(engine: Engine) -> list[str]:
    """Return what this version of pgBackRest cannot do, for the user's warnings."""
    known = ((BUNDLE_SINCE, "bundles of small files"), (ANNOTATION_SINCE, "annotations"), (BLOCK_SINCE, "block increments"))
    missing = [f"{what} ({since[0]}.{since[1]})" for since, what in known if engine.version < since]
    return [f"pgBackRest {engine.version_text} lacks {', '.join(missing)}"] if missing else []


def prepare(engine: Engine, running: Running, repositories: t.Mapping[int, bool], system_identifiers: t.Iterable[str]) -> None:
    """Make the stanza where it is missing, and prove then that a segment of the log arrives in every repository.

    Where the stanza exists a backup proves it itself: pgBackRest's option ``archive-check`` (on by default) waits for the segment before the backup's
    start, and nothing is copied until it came.

    Args:
        engine: pgBackRest with all repositories.
        running: the server.
        repositories: whether the stanza exists, by the repository's number.
        system_identifiers: the clusters that the existing ones belong to.

    Raises:
        MainstayError: the repository is another cluster's, or the log does not arrive.
    """
    for found in system_identifiers:
        if found and found != running.server.system_identifier:
            cause = f"its repository belongs to the cluster {found}, and this server is {running.server.system_identifier}"
            raise InvalidInput(f"take a physical backup of {engine.stanza}", cause, "use another name, or run pgbackrest stanza-upgrade after a major upgrade")
    if all(repositories.values()):
        return
    engine.run(f"make the stanza {engine.stanza}", "stanza-create")
    try:
        engine.run("prove that the server's log arrives in the repository", "check")
    except EngineError as error:
        next_step = f"see that {CONFIG_PATH} on the database host is what the filter mainstay.ops.pgbackrest_conf gives, and read the server's log"
        raise MainstayError(error.doing, error.cause, error.next_step or next_step) from error


def take(
    engine: Engine, catalogue: Catalogue, number: int, running: Running, kind: str, labels: t.Mapping[str, str], warnings: list[str]
) -> tuple[Holdings, PhysicalBackup]:
    """Take a backup into one repository and annotate it.

    Args:
        engine: pgBackRest.
        catalogue: where it is annotated.
        number: the repository's.
        running: the server.
        kind: pgBackRest's type.
        labels: what to note with it.
        warnings: gets what the user should know.

    Returns:
        The repository with the new backup, and that.

    Raises:
        MainstayError: it failed; then the repository lists no new backup.
    """
    doing = f"back up {engine.stanza} to {engine.describe(number)}"
    options = [f"--type={kind}", f"--repo={number}"]
    if engine.version >= ANNOTATION_SINCE:
        options += [f"--annotation={name}={text}" for name, text in {"tool": "mainstay.ops", **labels}.items()]
    said: list[str] = []
    total = running.bytes if kind == "full" else None
    with current().phase(f"back up {engine.stanza} ({kind})", total=total) as phase:

        def line(text: str) -> None:
            if amount := copied_bytes(text):
                phase.advance(amount)
            elif match := _LABEL.search(text):
                said.append(match[1])

        _back_up(engine, doing, options, line, warnings)
    after = Holdings(engine, catalogue, read_repository(engine, number))
    new = [entry for entry in after.entries if entry.set.label in said]
    if not new:
        raise MainstayError(doing, f"pgBackRest ended well, but its repository does not list the backup {', '.join(said) or 'it took'}")
    backup = _described(engine, new[-1].backup, running, labels, warnings)
    if backup.problem:
        raise MainstayError(doing, f"backup {backup.id} was taken, but {backup.problem}", "repair that and take another one")
    after.annotate(backup)
    return after, backup


def _back_up(engine: Engine, doing: str, options: t.Sequence[str], line: t.Callable[[str], None], warnings: list[str]) -> None:
    """Run the backup, on a standby where there may be one."""
    if not engine.settings.peers or "backup-standby" in engine.settings.options:
        engine.run(doing, "backup", *options, line=line)
    elif engine.version >= STANDBY_PREFER_SINCE:
        engine.run(doing, "backup", *options, "--backup-standby=prefer", line=line)
    else:
        try:
            engine.run(doing, "backup", *options, "--backup-standby", line=line)
        except EngineError as error:
            if error.code != NO_STANDBY:
                raise
            warnings.append(f"no standby can be reached, so the backup is taken on the primary ({error.cause})")
            engine.run(doing, "backup", *options, line=line)


def _described(engine: Engine, backup: PhysicalBackup, running: Running, labels: t.Mapping[str, str], warnings: t.Sequence[str]) -> PhysicalBackup:
    """Return a new backup with what is known of the server that it comes from."""
    manifest: Manifest = backup.require_manifest()
    level = engine.settings.compression
    described = dataclasses.replace(
        manifest,
        source={**manifest.source, **running.server.describe(manifest.source["lsn"]), "timeline": manifest.source["timeline"]},
        contents={**manifest.contents, "databases": list(running.databases)},
        compression={"type": level["type"]} if level["type"] == "none" else {"type": "zstd", "level": level["level"]},
        tools={**manifest.tools, "pgbackrest": engine.version_text},
        labels=dict(labels),
        warnings=tuple(warnings),
    )
    return dataclasses.replace(backup, manifest=described)
