# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions of the collection, installed beside each other as Galaxy would; ``make test-upgrade`` makes and names them."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
import typing as t

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "integration")]
pytest.register_assert_rewrite("servers")

from servers import PostgresServer, Run, Runner, age_keys, postgres_server, run_module, server_root


@dataclasses.dataclass(frozen=True)
class Version:
    """An installed version of the collection."""

    folder: str

    @property
    def environment(self) -> dict[str, str]:
        """What makes Ansible find this version first, and the collections that it depends on after it."""
        return {"ANSIBLE_COLLECTIONS_PATH": self.folder}

    def needs(self, path: str) -> None:
        """Skip the test if this version does not have a file yet."""
        if not pathlib.Path(self.folder, "ansible_collections/mainstay/ops", path).exists():
            pytest.skip(f"the version to come from has no {path}")

    def tasks(self, runner: Runner, *tasks: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """Run tasks by this version and return their results; none may fail."""
        run: Run = runner.tasks(tasks, **self.environment)
        assert run.status == 0 and len(run.results) == len(tasks), run.output
        return run.results


def installed(name: str) -> Version:
    """A version by the variable that names its folder; it is proven that Ansible takes it from there."""
    if name not in os.environ:
        pytest.skip(f"{name} does not name an installed version; run make test-upgrade")
    version = Version(os.environ[name])
    program = pathlib.Path(sys.executable).parent / "ansible-doc"
    argv = [str(program), "-F", "-t", "module", "mainstay.ops"]
    listed = subprocess.run(argv, env={**os.environ, **version.environment}, capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.splitlines() if line.startswith("mainstay.ops.pg_backup ")]
    assert len(lines) == 1 and lines[0].split()[1].startswith(version.folder), lines
    return version


@pytest.fixture(scope="session")
def old() -> Version:
    """The version to come from."""
    return installed("UPGRADE_OLD")


@pytest.fixture(scope="session")
def new() -> Version:
    """The version of this checkout."""
    return installed("UPGRADE_NEW")


__all__ = ["PostgresServer", "Runner", "Version", "age_keys", "new", "old", "postgres_server", "run_module", "server_root"]
