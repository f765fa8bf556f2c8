# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GnuPG as a filter: a private home folder per set of keys, in memory where the host has ``/dev/shm``, gone with its agent when the module ends.

gpg ends with status 0 on a message that is cut off before its first whole packet (2.2.40), so its status alone proves nothing about the length:
that is what the hash in the manifest is for, which is checked before gpg sees the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import glob
import os
import re
import shutil
import socket
import tempfile
import threading
import time
import typing as t
import weakref

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, run

PRIVATE_MARK = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
_PREFIX = "mainstay-gpg-"
_UNLOCKED = "mainstay-new-gpg-"
"""What the name begins with until the folder is locked, so that nobody takes it for an abandoned one."""
_LOCK = "in-use"
_MEMORY = "/dev/shm"  # noqa: S108
_AGENT_SECONDS = 3.0
_OPEN_KEY = re.compile(r"skey\[\d+\]: \[\d+ bits\]")
_kept: list[Home] = []
_recipients_lock = threading.Lock()


class Home:
    """A GnuPG home folder (mode 0700) that is removed, with its agent, at the end of the process at the latest.

    One that a killed process left is removed by the next one of the same user: a lock tells whether somebody uses it.
    """

    def __init__(self) -> None:
        """Make it.

        Raises:
            MainstayError: there is no place for it.
        """
        place = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else tempfile.gettempdir()
        _remove_abandoned(place)
        try:
            made = tempfile.mkdtemp(prefix=_UNLOCKED, dir=place)
            lock = os.open(os.path.join(made, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.path = os.path.join(place, _PREFIX + os.path.basename(made).removeprefix(_UNLOCKED))
            os.rename(made, self.path)
        except OSError as error:
            raise MainstayError("make a private folder for gpg", error.strerror or error) from error
        self._sockets = [os.path.join(self.path, "S.gpg-agent")]
        self.close = weakref.finalize(self, _remove, self.path, self._sockets, lock)
        _kept.append(self)

    def command(self, *arguments: str) -> Command:
        """Return gpg with this home and no other configuration, asking nobody anything."""
        fixed = ("--no-options", "--batch", "--no-tty", "--quiet", "--no-random-seed-file", "--pinentry-mode", "error")
        return Command(("gpg", "--homedir", self.path, *fixed, *arguments))

    def write(self, name: str, text: str) -> str:
        """Write a file into the folder; return its path."""
        path = os.path.join(self.path, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as target:
            target.write(text)
        return path

    def import_private(self, descriptor: int) -> None:
        """Import a private key from an open file. From here on there is an agent.

        The agent keeps an imported key as it came and writes it in its own form at the first use, in place, so that whoever uses it at that moment
        is told that there is no key (2.2.40: one of 80 first readings, with six at once). An export is a use of each key in it.

        Raises:
            InvalidInput: it is no private key, or protected by a passphrase.
        """
        doing = "import the private key into a private folder of gpg"
        address = run(Command(("gpgconf", "--homedir", self.path, "--list-dirs", "agent-socket")), "find the socket of gpg's agent").strip()
        if address not in self._sockets:
            self._sockets.append(address)
        try:
            packets = run(self.command("--list-packets"), doing, stdin=descriptor)
            if "skey[" in packets and not _OPEN_KEY.search(packets):
                cause = "it is protected by a passphrase, which nobody can enter here"
                raise InvalidInput(doing, cause, "export the key without a passphrase and keep it as a secret")
            os.lseek(descriptor, 0, os.SEEK_SET)
            run(self.command("--import"), doing, stdin=descriptor)
            run(self.command("--output", os.devnull, "--yes", "--export-secret-keys"), doing)
        except InvalidInput:
            raise
        except MainstayError as error:
            raise InvalidInput(doing, error.cause, "give the armored output of gpg --export-secret-keys") from error


def recipients(keys: tuple[str, ...]) -> tuple[Command, tuple[str, ...]]:
    """Return the program that encrypts for some public keys, and their fingerprints.

    Args:
        keys: armored public keys.

    Raises:
        InvalidInput: one of them is not exactly one public key.
    """
    with _recipients_lock:
        return _recipients(keys)


@functools.lru_cache
def _recipients(keys: tuple[str, ...]) -> tuple[Command, tuple[str, ...]]:
    home = Home()
    files, fingerprints = [], []
    for position, key in enumerate(keys, 1):
        path = home.write(f"recipient-{position}.asc", key.strip() + "\n")
        fingerprints.append(_fingerprint(home, path, f"read number {position} of encryption.recipients"))
        files += ["--recipient-file", path]
    return home.command("--trust-model", "always", "-z", "0", *files, "--encrypt"), tuple(fingerprints)


def _fingerprint(home: Home, path: str, doing: str) -> str:
    hint = "give the armored output of gpg --export for one key"
    try:
        records = [line.split(":") for line in run(home.command("--show-keys", "--with-colons", path), doing).splitlines()]
    except MainstayError as error:
        raise InvalidInput(doing, "it is no armored public key", hint) from error
    found = [record[0] for record in records if record[0] in ("pub", "sec")]
    if found != ["pub"]:
        raise InvalidInput(doing, "it is a private key" if "sec" in found else f"it holds {len(found)} public keys", hint)
    return next(record[9] for record in records if record[0] == "fpr")


def _remove(path: str, sockets: t.Sequence[str], lock: int) -> None:
    """End the agent and remove the folder; at the end of the interpreter neither processes nor threads can be started, hence the agent's own protocol."""
    for address in sockets:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(_AGENT_SECONDS)
            agent.connect(address)
            agent.recv(1024)
            agent.sendall(b"KILLAGENT\n")
            agent.recv(1024)
        deadline = time.monotonic() + _AGENT_SECONDS
        while os.path.exists(address) and time.monotonic() < deadline:
            time.sleep(0.01)
        if os.path.basename(os.path.dirname(address)).startswith("d."):
            shutil.rmtree(os.path.dirname(address), ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


def _remove_abandoned(place: str) -> None:
    for path in glob.glob(os.path.join(place, f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            if os.lstat(path).st_uid != os.geteuid():
                continue
            lock = os.open(os.path.join(path, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            _remove(path, [os.path.join(path, "S.gpg-agent")], lock)
