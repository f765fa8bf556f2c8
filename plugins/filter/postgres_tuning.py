# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``postgres_tuning``: parameters of PostgreSQL for a host's memory and cores."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.tuning import DEFAULT_CONNECTIONS, tune


def postgres_tuning(memory_mb: t.Any, cores: t.Any, *, max_connections: t.Any = DEFAULT_CONNECTIONS) -> dict[str, t.Any]:
    """Return the parameters; the arguments are documented in ``postgres_tuning.yml``."""
    try:
        return tune(int(memory_mb), int(cores), int(max_connections))
    except (MainstayError, ValueError, TypeError) as error:
        raise AnsibleFilterError(f"postgres_tuning: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"postgres_tuning": postgres_tuning}
