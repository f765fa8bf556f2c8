# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression and encryption: the stock programs ``zstd`` and ``age`` as filters in the pipe."""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.process import Command, run
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

NO_MATCH = "no identity matched"
"""What age says when none of the given keys opens the file."""


@dataclasses.dataclass(frozen=True)
class Compression:
    """How new objects are compressed: ``zstd`` at a level with a number of threads, or ``none``."""

    type: str = "zstd"
    level: int = 3
    threads: int = 2

    @property
    def suffix(self) -> str:
        """What an object's name ends with."""
        return ".zst" if self.type == "zstd" else ""

    def filters(self) -> tuple[Command, ...]:
        """Return the programs that compress."""
        if self.type == "none":
            return ()
        ultra = ("--ultra",) if self.level > 19 else ()
        return (Command(("zstd", "-q", "-c", *ultra, f"-{self.level}", f"-T{self.threads}")),)

    def describe(self) -> dict[str, t.Any]:
        """Return what the manifest says of it."""
        return {"type": self.type} if self.type == "none" else {"type": self.type, "level": self.level}


@dataclasses.dataclass(frozen=True)
class Encryption:
    """How new objects are encrypted: ``age`` for each of some public keys, or ``none``."""

    type: str = "age"
    recipients: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What an object's name ends with."""
        return ".age" if self.type == "age" else ""

    def filters(self) -> tuple[Command, ...]:
        """Return the programs that encrypt.

        Raises:
            InvalidInput: ``age`` without a recipient: backups are left in clear only when that was asked for.
        """
        if self.type == "none":
            return ()
        if not self.recipients:
            raise InvalidInput(
                "encrypt a backup", "encryption.recipients is empty", "name at least one age public key, or ask for clear text by encryption.type=none"
            )
        arguments = [part for recipient in self.recipients for part in ("-r", recipient)]
        return (Command(("age", *arguments)),)

    def check(self) -> None:
        """Encrypt nothing once, so that a malformed recipient is found before anything is read.

        Raises:
            InvalidInput: age refuses a recipient.
        """
        for command in self.filters():
            try:
                run(command, "encrypt to encryption.recipients")
            except MainstayError as error:
                raise InvalidInput(error.doing, error.cause, "check encryption.recipients") from error

    def describe(self) -> dict[str, t.Any]:
        """Return what the manifest says of it; the recipients are public keys."""
        return {"type": self.type} if self.type == "none" else {"type": self.type, "recipients": list(self.recipients)}


class Identity:
    """The private key that opens backups: as text, which never touches a disk, or as the path of a file on this host."""

    def __init__(self, text: str | None = None, path: str | None = None) -> None:
        """Take the key; the text goes into an anonymous memory file that only child processes get."""
        self._path, self._descriptor = path, -1
        if text:
            self._descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
            os.fchmod(self._descriptor, 0o400)
            os.write(self._descriptor, text.strip().encode() + b"\n")

    def command(self) -> Command:
        """Return the program that decrypts.

        Raises:
            InvalidInput: there is no key, or its file cannot be read.
        """
        if self._descriptor >= 0:
            return Command(("age", "-d", "-i", f"/proc/self/fd/{self._descriptor}"), pass_fds=(self._descriptor,))
        if not self._path:
            raise InvalidInput("open an encrypted backup", "there is no private key", "give encryption.identity or encryption.identity_file")
        if not os.access(self._path, os.R_OK):
            raise InvalidInput("open an encrypted backup", f"the private key file {self._path} cannot be read", "check the path and its permissions")
        return Command(("age", "-d", "-i", self._path))


def reading_filters(compression: t.Mapping[str, t.Any], encryption: t.Mapping[str, t.Any], identity: Identity) -> tuple[Command, ...]:
    """Return the programs that turn a stored object back into what the source gave.

    Args:
        compression: what the manifest says of the compression.
        encryption: what the manifest says of the encryption.
        identity: the private key, used if the backup is encrypted.

    Raises:
        InvalidInput: there is no usable key.
        MainstayError: a type that this version does not know.
    """
    filters: list[Command] = []
    for what, known in ((compression, ("zstd", "none")), (encryption, ("age", "none"))):
        if what.get("type") not in known:
            raise MainstayError("open the backup", f"it uses {what.get('type')!r}, known are {', '.join(known)}", "use a newer version of the collection")
    if encryption["type"] == "age":
        filters.append(identity.command())
    if compression["type"] == "zstd":
        filters.append(Command(("zstd", "-q", "-d", "-c")))
    return tuple(filters)


def require_programs(filters: t.Iterable[Command]) -> None:
    """Check that the programs are installed.

    Raises:
        MainstayError: one is not found on the PATH.
    """
    for command in filters:
        if shutil.which(command.argv[0]) is None:
            raise MainstayError(f"run {command.label}", "the program is not installed on this host", f"install the package {command.label}")


def tool_versions(filters: t.Iterable[Command]) -> dict[str, str]:
    """Return the version that each program says it has, by the program's name."""
    versions: dict[str, str] = {}
    for command in filters:
        words = run(Command((command.argv[0], "--version")), f"ask {command.label} for its version").replace("*", " ").replace(",", " ").split()
        versions[command.label] = next((word for word in words if word.lstrip("v")[:1].isdigit()), "unknown")
    return versions
