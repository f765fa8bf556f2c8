# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``security_report``: what was found on all hosts, judged, as one report."""

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def security_report(
    hosts: dict[str, dict[str, t.Any]], *, accept: list[dict[str, t.Any]] | None = None, fail_on: str = "high", now: str = ""
) -> dict[str, t.Any]:
    """Return the report; the arguments are documented in ``security_report.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._security.model import SEVERITIES
    from ansible_collections.mainstay.ops.plugins.module_utils._security.report import combine

    if not isinstance(hosts, dict) or not all(isinstance(facts, dict) for facts in hosts.values()):
        raise AnsibleFilterError("security_report: give a dictionary of what was found by host")
    if fail_on not in SEVERITIES:
        raise AnsibleFilterError(f"security_report: fail_on is {fail_on}; it must be one of {', '.join(SEVERITIES)}")
    moment = datetime.datetime.fromisoformat(now) if now else datetime.datetime.now(datetime.timezone.utc)
    try:
        return combine(hosts, accept or [], fail_on, moment)
    except MainstayError as error:
        raise AnsibleFilterError(f"security_report: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"security_report": security_report}
