# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting the configuration on disk into service: reload, prove, and go back to the former one if it does not hold."""

from __future__ import annotations

import dataclasses
import os
import posixpath

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.apply import Store
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.restore import restore_generation
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.process import Master, Run, find_program
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.proof import Site, prove

_PROVED = "proved"


@dataclasses.dataclass(frozen=True)
class Service:
    """What a reload needs to know.

    Attributes:
        master: the process.
        sites: what must answer afterwards.
        config: the configuration file.
        timeout: seconds for each of the steps.
        run: runs a program.
    """

    master: Master
    sites: tuple[Site, ...]
    config: str
    timeout: float
    run: Run

    def put_in_service(self) -> frozenset[int]:
        """Reload and prove.

        Returns:
            The workers of before, which finish what they have.

        Raises:
            MainstayError: nginx refuses the configuration or goes on with the former one, or a site does not answer.
        """
        rc, out, err = self.run([find_program() or "nginx", "-t", "-q", "-c", self.config])
        if rc != 0:
            raise MainstayError("test the configuration of nginx", (err or out).strip())
        leaving = self.master.reload(self.timeout)
        prove(self.sites, self.timeout)
        return leaving


def _proved_file(store: Store) -> str:
    return posixpath.join(store.root, _PROVED)


def proved_generation(store: Store) -> int:
    """The number of the newest generation when the configuration was last seen in service, 0 if it never was."""
    try:
        with open(_proved_file(store), encoding="ascii") as stream:
            return int(stream.read().strip() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def record_proof(store: Store) -> None:
    """Write down that the configuration on disk is in service.

    Raises:
        MainstayError: it cannot be written.
    """
    path = _proved_file(store)
    try:
        os.makedirs(store.generations, mode=0o700, exist_ok=True)
        with open(f"{path}.new", "w", encoding="ascii") as stream:
            stream.write(f"{store.latest()}\n")
        os.replace(f"{path}.new", path)
    except OSError as exc:
        raise MainstayError(f"write {path}", exc.strerror or exc, "nginx serves with the new configuration; make room and run again") from exc


def unproved_generations(store: Store) -> list[int]:
    """What was changed since the configuration was last seen in service, newest first.

    Where it never was, because an earlier version of the role wrote it, the newest change alone is taken for new.
    """
    proved, numbers = proved_generation(store), store.numbers()
    newer = [number for number in reversed(numbers) if number > proved]
    return newer if proved else newer[:1]


def go_back(service: Service, store: Store) -> str:
    """Put the files of the last configuration that was seen in service back, and use them.

    Returns:
        What became of that, for the end of a sentence.
    """
    numbers = unproved_generations(store)
    if not numbers:
        return "nginx goes on with what it had loaded, but the files are the same as before: look at them"
    try:
        for number in numbers:
            restore_generation(store, number)
    except MainstayError as exc:
        return f"the former files could not be put back: {exc}"
    try:
        service.put_in_service()
        record_proof(store)
    except MainstayError as exc:
        return f"the former files are back, but: {exc}"
    return "the former configuration is back and serves"


def ensure_in_service(service: Service, store: Store, force: bool, check_mode: bool) -> list[str]:
    """Reload nginx if its configuration was not seen in service yet.

    Args:
        service: how to reload and what to ask.
        store: the tree of the configuration.
        force: reload in any case, because files that are not in the tree changed.
        check_mode: whether to say only what would be done.

    Returns:
        What was done, in words.

    Raises:
        MainstayError: the configuration does not hold; the former one is back in service if that could be.
    """
    if not force and store.latest() == proved_generation(store):
        return []
    actions = ["reload nginx", *(f"see the site {site.name} answer" for site in service.sites)]
    if check_mode:
        return actions
    try:
        service.put_in_service()
    except MainstayError as exc:
        raise MainstayError("put the new configuration of nginx into service", exc, go_back(service, store)) from exc
    record_proof(store)
    return actions
