# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A runtime on a host: a virtual environment with one version of ansible-core and of this collection.

Layout below the runtime's root::

    runtime-<id>/               complete once it has its stamp; the id follows from what is in it
    runtime-<id>/runtime.json   the stamp, written last
    venv -> runtime-<id>        what services use; swapped by one rename, so that a run which goes on keeps its own
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import typing as t
import zipfile

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

LINK = "venv"
STAMP = "runtime.json"
PREFIX = "runtime-"
Runner = t.Callable[[t.List[str], t.Dict[str, str]], t.Tuple[int, str, str]]
"""Runs a program with additions to its environment, and returns its exit status, its output and its errors."""


@dataclasses.dataclass(frozen=True)
class Runtime:
    """What a runtime is made of; another Python, as after an upgrade of the host, makes another runtime.

    Args:
        ansible_core: version of ansible-core.
        wheel_sha256: SHA-256 of its wheel.
        collection_sha256: SHA-256 of the collection's content.
        python: version of the host's Python, such as ``3.13``.
    """

    ansible_core: str
    wheel_sha256: str
    collection_sha256: str
    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"

    @property
    def id(self) -> str:
        """The digits in its folder's name."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"ansible-core {self.ansible_core} and mainstay.ops {self.collection_sha256[:12]} on Python {self.python}"


@dataclasses.dataclass(frozen=True)
class Home:
    """The folder that holds the runtimes."""

    root: str

    def path(self, runtime: Runtime) -> str:
        """Folder of a runtime."""
        return os.path.join(self.root, PREFIX + runtime.id)

    @property
    def link(self) -> str:
        """The link to the one in use."""
        return os.path.join(self.root, LINK)

    def current(self) -> str:
        """Name of the folder in use; empty if there is none that is complete."""
        try:
            name = os.readlink(self.link)
        except OSError:
            return ""
        return name if os.path.exists(os.path.join(self.root, name, STAMP)) else ""

    def complete(self, runtime: Runtime) -> bool:
        """Whether it is there in full."""
        return os.path.exists(os.path.join(self.path(runtime), STAMP))

    def others(self, runtime: Runtime) -> list[str]:
        """Names of the folders of other runtimes, newest first."""
        try:
            names = [name for name in os.listdir(self.root) if name.startswith(PREFIX) and name != PREFIX + runtime.id]
        except OSError:
            return []
        return sorted(names, key=lambda name: os.stat(os.path.join(self.root, name)).st_mtime, reverse=True)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done, in this order."""

    install: bool
    switch: bool
    remove: tuple[str, ...]

    def actions(self, runtime: Runtime) -> list[str]:
        """The plan in words."""
        return [
            *([f"install {runtime.words}"] if self.install else []),
            *([f"use {PREFIX}{runtime.id}"] if self.switch else []),
            *(f"remove {name}" for name in self.remove),
        ]


def plan(home: Home, runtime: Runtime, keep: int) -> Plan:
    """Return what is to be done.

    Args:
        home: where the runtimes are.
        runtime: which one is wanted.
        keep: how many others stay when a new one comes; one that is incomplete never does.

    Raises:
        InvalidInput: ``keep`` is negative.
    """
    if keep < 0:
        raise InvalidInput("keep old runtimes", f"keep is {keep}")
    install = not home.complete(runtime)
    switch = home.current() != PREFIX + runtime.id
    others = home.others(runtime) if install or switch else []
    complete = [name for name in others if os.path.exists(os.path.join(home.root, name, STAMP))]
    return Plan(install, switch, tuple(name for name in others if name not in complete[:keep]))


def apply(home: Home, runtime: Runtime, planned: Plan, wheel: str, bundle: str, run: Runner) -> None:
    """Do what was planned. Until the link is swapped the old runtime stays as it was.

    Args:
        home: where the runtimes are.
        runtime: which one is wanted.
        planned: what is to be done.
        wheel: ansible-core's wheel, on this host.
        bundle: the collection's bundle, on this host.
        run: how programs are run.

    Raises:
        MainstayError: it could not be done.
    """
    try:
        if planned.install:
            _install(home, runtime, wheel, bundle, run)
        if planned.switch:
            _switch(home, PREFIX + runtime.id)
        for name in planned.remove:
            shutil.rmtree(os.path.join(home.root, name))
    except OSError as exc:
        raise MainstayError(f"install {runtime.words} in {home.root}", exc) from exc


def _install(home: Home, runtime: Runtime, wheel: str, bundle: str, run: Runner) -> None:
    """Make the virtual environment where it stays, since its scripts name that path; the stamp comes last."""
    path = home.path(runtime)
    _check_hash(wheel, runtime.wheel_sha256)
    os.umask(0o022)
    os.makedirs(home.root, exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    environment = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "HOME": path}
    python = os.path.join(path, "bin", "python3")
    _run(run, [sys.executable, "-m", "venv", "--system-site-packages", path], environment, "make the virtual environment", "install python3-venv")
    # What ansible-core needs comes from the host's packages: pip refuses if something is missing, and reaches no index.
    _run(run, [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-cache-dir", wheel], environment, "install ansible-core", "install what it needs")
    target = os.path.join(path, "lib", f"python{runtime.python}", "site-packages", "ansible_collections", "mainstay", "ops")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(target)
    # Settings of the host's own Ansible, if it has one, must not decide.
    settings = os.path.join(path, "ansible.cfg")
    with open(settings, "w", encoding="utf-8"):
        pass
    found = {**environment, "ANSIBLE_CONFIG": settings, "ANSIBLE_HOME": os.path.join(path, ".ansible"), "LC_ALL": "C.UTF-8"}
    _run(run, [os.path.join(path, "bin", "ansible-doc"), "--snippet", "mainstay.ops.pg_backup"], found, "find the collection", "")
    shutil.rmtree(os.path.join(path, ".ansible"), ignore_errors=True)
    with open(os.path.join(path, STAMP), "w", encoding="utf-8") as stream:
        json.dump(dataclasses.asdict(runtime), stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())


def _run(run: Runner, argv: list[str], environment: dict[str, str], doing: str, next_step: str) -> None:
    """Run a program that must succeed."""
    status, out, err = run(argv, environment)
    if status != 0:
        said = " ".join((err or out).split("\n")[-4:]).strip()[-500:]
        raise MainstayError(doing, f"{os.path.basename(argv[0])} ended with {status}: {said}", next_step)


def _check_hash(path: str, wanted: str) -> None:
    """Refuse a file that is not the one that was pinned."""
    with open(path, "rb") as stream:
        found = hashlib.sha256(stream.read()).hexdigest()
    if found != wanted:
        raise InvalidInput(f"install {os.path.basename(path)}", f"its SHA-256 is {found}, not {wanted}", "fetch it anew, or correct the hash")


def _switch(home: Home, name: str) -> None:
    """Let the link lead to another folder, in one step."""
    fresh = f"{home.link}.new"
    if os.path.lexists(fresh):
        os.unlink(fresh)
    os.symlink(name, fresh)
    os.replace(fresh, home.link)
