# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of PostgreSQL that follow from a host's memory and cores.

The formulas are those of PGTune (https://pgtune.leopard.in.ua, type "web", disks without moving parts) where no other source is named.
"""

from __future__ import annotations

import math
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

KIB = 1024
"""Kilobytes in a megabyte."""

LEAST_MEMORY_MB = 128
MAX_MAINTENANCE_MB = 2048
"""Each autovacuum worker may take this much, and before PostgreSQL 17 VACUUM uses no more than 1 GB of it (its documentation, "Resource Consumption")."""

LEAST_WORK_KB = 4 * KIB
"""PostgreSQL's default."""

DEFAULT_CONNECTIONS = 100
"""PostgreSQL's default."""

DEFAULT_WORKERS = 8
"""PostgreSQL's default. It is not lowered on small hosts: extensions and logical replication take workers too."""

PARALLEL_CORES = 4
"""Below that PostgreSQL's defaults for parallel queries stay."""

MAX_GATHER = 4
"""More workers for one query take cores from the others."""


def tune(memory_mb: int, cores: int, max_connections: int = DEFAULT_CONNECTIONS) -> dict[str, t.Any]:
    """Return the parameters.

    What PostgreSQL's own defaults do well is left to them: ``wal_buffers`` is 1/32 of ``shared_buffers`` up to 16 MB, ``huge_pages`` are tried,
    ``checkpoint_completion_target`` is 0.9, and with ``checkpoint_timeout`` at 5 minutes a server that crashed is back soon.

    Args:
        memory_mb: megabytes that PostgreSQL and the cache of its files may count on.
        cores: processors of the host.
        max_connections: how many clients there may be at once.

    Raises:
        InvalidInput: a host that cannot be.
    """
    if memory_mb < LEAST_MEMORY_MB or cores < 1 or max_connections < 1:
        cause = f"there are {memory_mb} MB, {cores} cores and {max_connections} connections; it takes {LEAST_MEMORY_MB} MB, 1 and 1 at least"
        raise InvalidInput("compute the parameters of PostgreSQL", cause, "check the facts of the hosts and the share of their memory")
    # A quarter (PostgreSQL's documentation, "shared_buffers"): its files are in the system's cache as well.
    buffers_mb = memory_mb // 4
    workers = max(DEFAULT_WORKERS, cores)
    # A connection may sort or hash several times at once, so a third of its part.
    work_kb = (memory_mb - buffers_mb) * KIB // ((max_connections + workers) * 3)
    parameters: dict[str, t.Any] = {
        "max_connections": max_connections,
        "shared_buffers": f"{buffers_mb}MB",
        "effective_cache_size": f"{memory_mb * 3 // 4}MB",
        "maintenance_work_mem": f"{min(memory_mb // 16, MAX_MAINTENANCE_MB)}MB",
        "work_mem": f"{max(work_kb, LEAST_WORK_KB)}kB",
        "min_wal_size": "1GB",
        "max_wal_size": "4GB",
        "max_worker_processes": workers,
        "random_page_cost": 1.1,
        "effective_io_concurrency": 200,
    }
    if cores >= PARALLEL_CORES:
        gather = min(math.ceil(cores / 2), MAX_GATHER)
        parameters |= {"max_parallel_workers": cores, "max_parallel_workers_per_gather": gather, "max_parallel_maintenance_workers": gather}
    return parameters
