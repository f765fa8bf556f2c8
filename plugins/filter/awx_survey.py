# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``awx_survey``: questions of AWX, made of the arguments of a playbook."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def awx_survey(options: dict[str, t.Any], variables: list[str], requires: list[str] | None = None) -> dict[str, t.Any]:
    """Return the survey; its form is documented in ``awx_survey.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._awx import survey_of

    if not isinstance(options, dict):
        raise AnsibleFilterError(f"awx_survey: the arguments must be a dictionary, not {type(options).__name__}")
    try:
        return {"name": "", "description": "", "spec": survey_of(options, list(variables), list(requires or []))}
    except MainstayError as error:
        raise AnsibleFilterError(f"awx_survey: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"awx_survey": awx_survey}
