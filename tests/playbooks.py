# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests know of the playbooks: how they are run, their plays, the roles that they call, the arguments that they take."""

from __future__ import annotations

import functools
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "playbooks"
PROGRAMS = pathlib.Path(sys.executable).parent
"""Where ansible-playbook is: the virtual environment of the tests."""
PLAYBOOKS = sorted(path.stem for path in FOLDER.glob("*.yml"))
ROLE = re.compile(r"^\s+name: mainstay\.ops\.(\w+)$", re.MULTILINE)


def environment(**extra: str) -> dict[str, str]:
    """The environment of a run: the virtual environment's programs first; ``PATH_FIRST`` goes before those."""
    path = os.pathsep.join(part for part in (extra.pop("PATH_FIRST", ""), str(PROGRAMS), os.environ["PATH"]) if part)
    return {**os.environ, "PATH": path, "ANSIBLE_NOCOLOR": "1", **extra}


def run(
    playbook: str | pathlib.Path, *arguments: str, inventory: str | pathlib.Path = "localhost,", timeout: float = 300, cwd: pathlib.Path | None = None,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run a playbook to its end, whatever that is.

    Args:
        playbook: the name of one of the collection, or the path of another one.
        arguments: further ones of ansible-playbook.
        inventory: its inventory.
        timeout: seconds that it may take.
        cwd: the folder that it is run in.
        more: variables of the environment that are added, or replaced.
    """
    path = FOLDER / f"{playbook}.yml" if isinstance(playbook, str) else playbook
    argv = [f"{PROGRAMS}/ansible-playbook", "-i", str(inventory), str(path), *arguments]
    return subprocess.run(argv, cwd=cwd, env=environment(**more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)


@functools.cache
def text(name: str) -> str:
    """The text of a playbook, and of those that it imports."""
    own = (FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    imported = [pathlib.PurePath(play["ansible.builtin.import_playbook"]).stem for play in yaml.safe_load(own) if "ansible.builtin.import_playbook" in play]
    return own + "".join(text(other) for other in imported)


def header(name: str) -> str:
    """The comment at the top of a playbook."""
    lines = (FOLDER / f"{name}.yml").read_text(encoding="utf-8").splitlines()[1:]
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    return "\n".join(comment)


def body(name: str) -> str:
    """The text of a playbook and of those that it imports, without comments."""
    return "\n".join(line for line in text(name).splitlines() if not line.lstrip().startswith("#"))


@functools.cache
def roles(name: str) -> tuple[str, ...]:
    """The roles that a playbook calls."""
    return tuple(sorted({role for role in ROLE.findall(text(name)) if (ROOT / "roles" / role).is_dir()}))


@functools.cache
def role_text(role: str) -> str:
    """The text of the tasks, templates and variables of a role, without its arguments."""
    files = [path for path in sorted((ROOT / "roles" / role).rglob("*")) if path.suffix in (".yml", ".j2") and path.name != "argument_specs.yml"]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@functools.cache
def role_options(role: str) -> dict[str, dict[str, t.Any]]:
    """The options of a role, of all its entry points."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec.get("options", {}).items()}


@functools.cache
def specs() -> dict[str, dict[str, t.Any]]:
    """The arguments of all playbooks."""
    return yaml.safe_load((FOLDER / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]


def options(name: str) -> dict[str, dict[str, t.Any]]:
    """The arguments of a playbook."""
    return specs()[name].get("options", {})
