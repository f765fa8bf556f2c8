# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``report_html``: a report as a page for a person."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def report_html(report: dict[str, t.Any]) -> str:
    """Return the page; its form is documented in ``report_html.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._report import render_html

    if not isinstance(report, dict):
        raise AnsibleFilterError(f"report_html: the report must be a dictionary, not {type(report).__name__}")
    try:
        return render_html(report)
    except MainstayError as error:
        raise AnsibleFilterError(f"report_html: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"report_html": report_html}
