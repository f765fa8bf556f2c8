# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of PostgreSQL that follow from a host's memory and cores."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.mainstay.ops.plugins.filter.postgres_tuning import postgres_tuning
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.tuning import tune

SMALL = {"shared_buffers": "256MB", "effective_cache_size": "768MB", "maintenance_work_mem": "64MB", "work_mem": "4096kB", "max_worker_processes": 8}
MEDIUM = {"shared_buffers": "1024MB", "effective_cache_size": "3072MB", "maintenance_work_mem": "256MB", "work_mem": "9709kB", "max_parallel_workers": 4}
LARGE = {"shared_buffers": "16384MB", "effective_cache_size": "49152MB", "maintenance_work_mem": "2048MB", "work_mem": "77672kB", "max_worker_processes": 32}


@pytest.mark.parametrize(
    ("gigabytes", "cores", "connections", "expected"),
    [(1, 1, 100, SMALL), (4, 4, 100, MEDIUM), (64, 32, 184, LARGE)],
    ids=["1 GiB", "4 GiB", "64 GiB"],
)
def test_values(gigabytes: int, cores: int, connections: int, expected: dict[str, t.Any]) -> None:
    """The values for hosts of three sizes, as PGTune computes them apart from the documented limits."""
    found = tune(gigabytes * 1024, cores, connections)
    assert {name: found[name] for name in expected} == expected
    assert found["max_connections"] == connections


@pytest.mark.parametrize(("cores", "gather"), [(1, None), (3, None), (4, 2), (5, 3), (16, 4)])
def test_parallel_queries_take_half_of_the_cores(cores: int, gather: int | None) -> None:
    """One query takes half of the cores and four at most; small hosts keep PostgreSQL's defaults."""
    found = tune(4096, cores)
    assert (found.get("max_parallel_workers_per_gather"), found.get("max_parallel_maintenance_workers")) == (gather, gather)
    assert found.get("max_parallel_workers") == (cores if gather else None)


@pytest.mark.parametrize("connections", [20, 100, 1000])
@pytest.mark.parametrize("memory", [1024, 8192, 262144])
def test_memory_suffices(memory: int, connections: int) -> None:
    """All connections with one sort each fit beside the buffers, unless PostgreSQL's default of 4 MB for each is too much for the host."""
    found = tune(memory, 2, connections)
    work = int(found["work_mem"].removesuffix("kB"))
    buffers = int(found["shared_buffers"].removesuffix("MB")) * 1024
    assert work == 4096 or buffers + work * connections <= memory * 1024


@pytest.mark.parametrize(("memory", "cores", "connections"), [(127, 1, 100), (1024, 0, 100), (1024, 1, 0)])
def test_impossible_hosts_are_refused(memory: int, cores: int, connections: int) -> None:
    """A fact that is missing is no host without memory."""
    with pytest.raises(InvalidInput, match="check the facts"):
        tune(memory, cores, connections)


def test_the_filter_takes_text_and_says_what_is_wrong() -> None:
    """Numbers come from YAML as text too."""
    assert postgres_tuning("1024", "2", max_connections="50")["max_connections"] == 50
    with pytest.raises(AnsibleFilterError, match="postgres_tuning: .*many"):
        postgres_tuning("many", 2)
