# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``preflight_report``: what was seen before or after a deployment, judged, as one report."""

from __future__ import annotations

import datetime
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def preflight_report(
    seen: dict[str, dict[str, t.Any]],
    *,
    parts: list[str],
    controller: dict[str, t.Any] | None = None,
    services: dict[str, t.Any] | None = None,
    limits: dict[str, t.Any] | None = None,
    fail_on: str = "fail",
    now: str = "",
) -> dict[str, t.Any]:
    """Return the report; the arguments are documented in ``preflight_report.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._preflight.judge import limits_of
    from ansible_collections.mainstay.ops.plugins.module_utils._preflight.report import combine

    if not isinstance(seen, dict):
        raise AnsibleFilterError(f"preflight_report: give a dictionary of what was seen by host, not {type(seen).__name__}")
    if fail_on not in ("fail", "warn", "never"):
        raise AnsibleFilterError(f"preflight_report: fail_on is {fail_on}; it can be fail, warn or never")
    moment = now or datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    try:
        return combine(seen, controller or {}, services or {}, parts, limits_of(limits or {}), fail_on, moment)
    except MainstayError as error:
        raise AnsibleFilterError(f"preflight_report: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"preflight_report": preflight_report}
