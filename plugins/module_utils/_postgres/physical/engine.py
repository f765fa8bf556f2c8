# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pgBackRest: with a private configuration that is removed at the end, its progress shown, its errors as sentences."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import shutil
import tempfile
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.account import acting_as
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import Settings, describe_repository, render
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, Process

ANNOTATION_SINCE = (2, 41)
"""The version that brought ``--annotation`` (pgBackRest's release notes)."""
LOCK_PATH = "/tmp/pgbackrest"  # noqa: S108
SPOOL_PATH = "/var/spool/pgbackrest"
"""pgBackRest's defaults. They are kept where they can be written, so that its locks hold against its other runs on the host."""
NEVER = "9999999"
"""The greatest retention: pgBackRest removes nothing by itself."""

_ERROR = re.compile(r"ERROR: \[(\d+)\]: (.*)", re.DOTALL)
_FILE = re.compile(r"(?:backup|restore) file .*\((?:[^()]*, )?(\d+(?:\.\d+)?)(B|KB|MB|GB|TB|PB), (\d+(?:\.\d+)?)%\)")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50}


class EngineError(MainstayError):
    """pgBackRest failed; ``code`` is its own number for the error, 0 if it gave none."""

    def __init__(self, doing: str, cause: object, next_step: str = "", code: int = 0) -> None:
        """Build the error."""
        super().__init__(doing, cause, next_step)
        self.code = code


@dataclasses.dataclass(frozen=True)
class Engine:
    """pgBackRest with one configuration, run as a user (empty for the current one)."""

    program: str
    version: tuple[int, ...]
    version_text: str
    settings: Settings
    config: str
    variables: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    user: str = ""

    @property
    def stanza(self) -> str:
        """pgBackRest's name for the catalogue."""
        return self.settings.name

    def describe(self, number: int) -> str:
        """Return where a repository is, in words."""
        return describe_repository(self.settings.stores[number - 1], self.settings.name)

    def argv(self, command: str, *options: str) -> tuple[str, ...]:
        """Return the command line of a pgBackRest command; it holds no secret."""
        return (self.program, f"--config={self.config}", f"--stanza={self.stanza}", *options, command)

    def run(self, doing: str, command: str, *options: str, arguments: t.Sequence[str] = (), line: t.Callable[[str], None] | None = None) -> bytes:
        """Run a pgBackRest command to its end and return its standard output.

        Args:
            doing: what it is for, as a verb phrase.
            command: such as ``backup``.
            options: further options.
            arguments: what follows the command.
            line: called with each line of its detailed log, which is then its standard output.

        Raises:
            EngineError: it failed.
        """
        level = "detail" if line else "off"
        given = (*options, f"--log-level-console={level}", "--log-level-stderr=warn", "--no-log-timestamp")
        command_line = Command((*self.argv(command, *given), *arguments), {"TZ": "UTC", **self.variables}, self.user, "/", self.pass_fds)
        read_fd, write_fd = os.pipe()
        parts: list[bytes] = []
        with os.fdopen(read_fd, "rb") as output:
            try:
                process = Process(command_line, stdout=write_fd)
            finally:
                os.close(write_fd)
            try:
                for part in output if line else iter(lambda: output.read(1 << 16), b""):
                    if line:
                        line(part.decode(errors="replace").rstrip())
                    else:
                        parts.append(part)
            except BaseException:
                process.stop()
                raise
            if process.join():
                raise _failure(doing, process)
        return b"".join(parts)

    def json(self, doing: str, command: str, *options: str, arguments: t.Sequence[str] = ()) -> t.Any:
        """Run a command with ``--output=json`` and return what it said."""
        text = self.run(doing, command, *options, "--output=json", arguments=arguments).decode(errors="replace")
        try:
            return json.loads(text, strict=False)
        except ValueError as error:
            raise EngineError(doing, f"pgBackRest {self.version_text} answered no JSON ({error})") from error

    def read(self, number: int, path: str) -> bytes:
        """Return a file of a repository, decrypted; the path is below the repository's own."""
        return self.run(f"read {path} from {self.describe(number)}", "repo-get", f"--repo={number}", arguments=(path,))


def _failure(doing: str, process: Process) -> EngineError:
    match = _ERROR.search(process.tail)
    if match is None or process.stopped:
        return EngineError(doing, process.failure)
    text = " ".join(part.strip() for part in match[2].splitlines() if part.strip())
    text = re.sub(r"[^\x20-\x7e]+", "?", text)
    next_step = ""
    if "CryptoError" in text or "is or was the repo encrypted" in text:
        next_step = "give the repository_passphrase that the repository was made with"
    return EngineError(doing, f"pgBackRest says [{match[1]}] {text}", next_step, int(match[1]))


def copied_bytes(line: str) -> int:
    """Return the bytes of the file that a line of the log says was backed up or restored; 0 if it says something else."""
    match = _FILE.search(line)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


@functools.cache
def find_engine() -> tuple[str, tuple[int, ...], str]:
    """Return pgBackRest's path, its version as numbers, and in words; it is asked once.

    Raises:
        MainstayError: it is not installed.
    """
    program = shutil.which("pgbackrest") or ("/usr/bin/pgbackrest" if os.access("/usr/bin/pgbackrest", os.X_OK) else "")
    if not program:
        raise MainstayError("find pgBackRest", "it is not installed on this host", "install the package pgbackrest")
    process_output: list[bytes] = []
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as output:
        try:
            process = Process(Command((program, "version"), cwd="/"), stdout=write_fd)
        finally:
            os.close(write_fd)
        process_output.append(output.read())
        status = process.join()
    text = process_output[0].decode(errors="replace").strip()
    match = re.search(r"(\d+)\.(\d+)\S*", text)
    if status or match is None:
        raise MainstayError("ask pgBackRest for its version", process.failure or f"it answered {text!r}")
    return program, (int(match[1]), int(match[2])), match[0]


@contextlib.contextmanager
def open_engine(settings: Settings, user: str, variables: t.Mapping[str, str] | None = None, pass_fds: tuple[int, ...] = ()) -> t.Iterator[Engine]:
    """Yield pgBackRest with the configuration of some settings, in a private file that is removed at the end.

    Args:
        settings: what is asked for; the version is filled in.
        user: whom to run it as; empty for the current user.
        variables: environment of its runs, such as a PGPASSFILE.
        pass_fds: file descriptors that it inherits.

    Raises:
        InvalidInput: the settings cannot be right.
        MainstayError: pgBackRest is not installed.
    """
    program, version, text = find_engine()
    settings = dataclasses.replace(settings, version=version)
    with acting_as(user):
        folder = tempfile.mkdtemp(prefix="mainstay-pgbackrest-")
    try:
        path = f"{folder}/pgbackrest.conf"
        with acting_as(user):
            content = render(settings, _own_options(len(settings.stores), folder))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
        yield Engine(program, version, text, settings, path, dict(variables or {}), pass_fds, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _own_options(repositories: int, folder: str) -> dict[str, str]:
    """Return what the module's own runs need: no log file, no removal by pgBackRest itself, folders that can be written."""
    own = {"log-level-file": "off", "expire-auto": "n"}
    own.update({f"repo{number}-retention-full": NEVER for number in range(1, repositories + 1)})
    for option, default in (("lock-path", LOCK_PATH), ("spool-path", SPOOL_PATH)):
        if not _writable(default):
            own[option] = f"{folder}/{option}"
    return own


def _writable(folder: str) -> bool:
    """Whether the effective user can write to a folder, or make it."""
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
