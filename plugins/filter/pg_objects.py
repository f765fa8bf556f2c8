# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters ``pg_objects_problems`` and ``pg_objects_plan``: what :mod:`pg_objects` would refuse or do, said without a server."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

Entries = t.Sequence[t.Mapping[str, t.Any]]


def _lists(name: str, *given: object) -> None:
    if not all(isinstance(one, (list, tuple)) for one in given):
        raise AnsibleFilterError(f"{name}: roles and databases must be lists")


def pg_objects_problems(roles: Entries, databases: Entries = (), *, passwords: bool = False, reserved: t.Sequence[str] = ()) -> list[str]:
    """Return what cannot be right; the arguments are documented in ``pg_objects_problems.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import problems

    _lists("pg_objects_problems", roles, databases)
    return problems(roles, databases, bool(passwords), reserved)


def pg_objects_plan(roles: Entries, databases: Entries = (), *, version: int | str) -> list[str]:
    """Return what would be done on a new server; the arguments are documented in ``pg_objects_plan.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.run import plan_for_new
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.objects.wishes import parse

    _lists("pg_objects_plan", roles, databases)
    return [step.words for step in plan_for_new(parse(roles, databases), int(version) * 10000)]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"pg_objects_problems": pg_objects_problems, "pg_objects_plan": pg_objects_plan}
