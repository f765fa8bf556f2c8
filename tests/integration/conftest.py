# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers of tests/servers.py, under the name that the tests use."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
pytest.register_assert_rewrite("servers")

from servers import (
    SENTINEL,
    AgeKey,
    AgeKeys,
    HostileS3,
    PostgresServer,
    Run,
    Runner,
    S3Server,
    age_keys,
    as_server_user,
    closed_port,
    free_port,
    hostile,
    hostile_server,
    newest_postgresql,
    postgres_server,
    postgresql,
    run_module,
    s3_server,
    server_root,
)


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks: ``make integration`` runs the tests beside each other, file by file, and those that measure time or memory afterwards."""
    config.addinivalue_line("markers", "alone: the test needs the machine for itself")
    config.addinivalue_line("markers", "long: the test takes minutes, and is begun first, so that the others end beside it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long ones first."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


__all__ = [
    "SENTINEL",
    "AgeKey",
    "AgeKeys",
    "HostileS3",
    "PostgresServer",
    "Run",
    "Runner",
    "S3Server",
    "age_keys",
    "as_server_user",
    "closed_port",
    "free_port",
    "hostile",
    "hostile_server",
    "newest_postgresql",
    "postgres_server",
    "postgresql",
    "run_module",
    "s3_server",
    "server_root",
]
