# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters ``traffic_verdict`` and ``probe_verdict``: judge a new release beside the old one."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def traffic_verdict(*given: t.Any, **options: t.Any) -> dict[str, t.Any]:
    """Return the verdict; the arguments are documented in ``traffic_verdict.yml``."""
    return _judged("traffic_verdict", *given, **options)


def probe_verdict(*given: t.Any, **options: t.Any) -> dict[str, t.Any]:
    """Return the verdict; the arguments are documented in ``probe_verdict.yml``."""
    return _judged("probe_verdict", *given, **options)


def _judged(name: str, *given: t.Any, **options: t.Any) -> dict[str, t.Any]:
    from ansible_collections.mainstay.ops.plugins.module_utils._traffic import verdicts

    try:
        return getattr(verdicts, name)(*given, **options)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"traffic_verdict": traffic_verdict, "probe_verdict": probe_verdict}
