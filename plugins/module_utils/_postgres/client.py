# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the installed PostgreSQL programs fits a server."""

from __future__ import annotations

import glob
import os
import re
import shutil
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._process import Command, run

PATTERNS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@*/bin")
"""Where Debian, the PGDG packages for Red Hat, and the source's own installation put the programs of a major version."""


def version_of(program: str) -> str:
    """Return the version of a PostgreSQL program, such as ``15.18``."""
    text = run(Command((program, "--version")), f"ask {program} for its version")
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?\S*)", text)
    if match is None:
        raise MainstayError(f"ask {program} for its version", f"it answered {text.strip()!r}")
    return match[1]


def major_of(version: str) -> int:
    """Return the major version: 15 for ``15.18``."""
    return int(re.match(r"\d+", version)[0])  # type: ignore[index]


def choose(installed: t.Mapping[str, int], major: int) -> str | None:
    """Return the program of the lowest major version that is at least ``major``; None if all are older.

    Args:
        installed: major version by path of the program.
        major: the server's major version.
    """
    fitting = sorted((found, path) for path, found in installed.items() if found >= major)
    return fitting[0][1] if fitting else None


def find_program(name: str, major: int, folder: str | None = None, purpose: str = "the server") -> str:
    """Return the path of a program of a major version, or of the next newer one that is installed.

    Args:
        name: the program, such as ``pg_dump``.
        major: the version that it must have at least. (pg_dump refuses a server newer than itself.)
        folder: where to look; None for the usual places, then the PATH.
        purpose: what has this version, for the message.

    Raises:
        MainstayError: it is not installed, or only too old.
    """
    folders = [folder] if folder else [found for pattern in PATTERNS for found in glob.glob(pattern)]
    programs = [f"{found}/{name}" for found in folders if os.access(f"{found}/{name}", os.X_OK)]
    if not folder and not programs and (on_path := shutil.which(name)):
        programs = [on_path]
    installed = {program: major_of(version_of(program)) for program in programs}
    found = choose(installed, major)
    if found is None:
        have = ", ".join(f"{program} is of {version}" for program, version in sorted(installed.items())) or "none is installed on this host"
        package = f"postgresql-{major}" if name in ("initdb", "pg_ctl") else f"postgresql-client-{major}"
        raise MainstayError(f"find {name} for {purpose}", f"version {major} or newer is needed, {have}", f"install the package {package}")
    return found
