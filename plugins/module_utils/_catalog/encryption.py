# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compression and encryption: the stock programs ``zstd``, ``age`` and ``gpg`` as filters in the pipe."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import threading
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import gpg
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, run

NO_MATCH = ("no identity matched", "decryption failed: No secret key")
"""What age and gpg say when none of the given keys opens the file."""


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
    """How new objects are encrypted: ``age`` or ``gpg`` for each of some public keys, or ``none``."""

    type: str = "age"
    recipients: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """What an object's name ends with."""
        return {"age": ".age", "gpg": ".gpg"}.get(self.type, "")

    def filters(self) -> tuple[Command, ...]:
        """Return the programs that encrypt.

        Raises:
            InvalidInput: there is no recipient (backups are left in clear only when that was asked for), or for ``gpg`` one is no public key.
            MainstayError: gpg is not installed.
        """
        if self.type == "none":
            return ()
        if not self.recipients:
            raise InvalidInput(
                "encrypt a backup", "encryption.recipients is empty", f"name at least one {self.type} public key, or ask for clear text by encryption.type=none"
            )
        if self.type == "gpg":
            require_programs((Command(("gpg",)), Command(("gpgconf",))))
            return (gpg.recipients(self.recipients)[0],)
        arguments = [part for recipient in self.recipients for part in ("-r", recipient)]
        return (Command(("age", *arguments)),)

    def check(self) -> None:
        """Encrypt nothing once, so that a malformed recipient is found before anything is read.

        Raises:
            InvalidInput: a recipient is refused.
        """
        for command in self.filters():
            try:
                run(command, "encrypt to encryption.recipients")
            except MainstayError as error:
                raise InvalidInput(error.doing, error.cause, "check encryption.recipients") from error

    def describe(self) -> dict[str, t.Any]:
        """Return what the manifest says of it; the recipients are public keys, for ``gpg`` their fingerprints."""
        if self.type == "none":
            return {"type": self.type}
        return {"type": self.type, "recipients": list(gpg.recipients(self.recipients)[1] if self.type == "gpg" else self.recipients)}


class Identity:
    """The private key that opens backups: as text, which never touches a disk, or as the path of a file on this host.

    gpg has no way to use a key without keeping it in its home folder, which is therefore made in memory (where the host has ``/dev/shm``) and
    removed at the end.
    """

    def __init__(self, text: str | None = None, path: str | None = None) -> None:
        """Take the key; the text goes into an anonymous memory file that only child processes get."""
        self._path, self._descriptor = path, -1
        self._gpg: gpg.Home | None = None
        self._lock = threading.Lock()
        if text:
            self._descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
            os.fchmod(self._descriptor, 0o400)
            os.write(self._descriptor, text.strip().encode() + b"\n")

    def command(self, encryption: str = "age") -> Command:
        """Return the program that decrypts.

        Args:
            encryption: ``age`` or ``gpg``.

        Raises:
            InvalidInput: there is no key, it cannot be read, or it is none for this kind of encryption.
        """
        with self._lock, self._open() as key:
            is_gpg = gpg.PRIVATE_MARK in os.pread(key, 1 << 16, 0)
            if is_gpg != (encryption == "gpg"):
                cause = f"the backup is encrypted for {encryption} keys, the private key is {'a gpg key' if is_gpg else 'no armored gpg key'}"
                raise InvalidInput("open an encrypted backup", cause, f"give the {encryption} key in encryption.identity or encryption.identity_file")
            if is_gpg:
                return self._gpg_home(key).command("--decrypt")
        if self._descriptor >= 0:
            return Command(("age", "-d", "-i", f"/proc/self/fd/{self._descriptor}"), pass_fds=(self._descriptor,))
        return Command(("age", "-d", "-i", str(self._path)))

    def _gpg_home(self, key: int) -> gpg.Home:
        if self._gpg is None:
            require_programs((Command(("gpg",)), Command(("gpgconf",))))
            home = gpg.Home()
            home.import_private(key)
            self._gpg = home
        return self._gpg

    @contextlib.contextmanager
    def _open(self) -> t.Iterator[int]:
        """Yield the key as a file that is at its beginning."""
        if self._descriptor >= 0:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            yield self._descriptor
            return
        if not self._path:
            raise InvalidInput("open an encrypted backup", "there is no private key", "give encryption.identity or encryption.identity_file")
        try:
            key = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            cause = f"the private key file {self._path} cannot be read ({error.strerror})"
            raise InvalidInput("open an encrypted backup", cause, "check the path and its permissions") from error
        try:
            yield key
        finally:
            os.close(key)


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
    for what, known in ((compression, ("zstd", "none")), (encryption, ("age", "gpg", "none"))):
        if what.get("type") not in known:
            raise MainstayError("open the backup", f"it uses {what.get('type')!r}, known are {', '.join(known)}", "use a newer version of the collection")
    if encryption["type"] != "none":
        filters.append(identity.command(encryption["type"]))
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
