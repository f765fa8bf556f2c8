# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``pg_advisor_report``: what ``pg_advisor_info`` found on all members, as one report."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def pg_advisor_report(results: dict[str, dict[str, t.Any]], *, finished: str = "") -> dict[str, t.Any]:
    """Return the report; the arguments are documented in ``pg_advisor_report.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.advisor.report import combine

    if not isinstance(results, dict) or not results or not all(isinstance(result, dict) for result in results.values()):
        raise AnsibleFilterError("pg_advisor_report: give a dictionary of results by member, with one at least")
    return combine(results, finished)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"pg_advisor_report": pg_advisor_report}
