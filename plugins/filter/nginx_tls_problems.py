# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``nginx_tls_problems``: what cannot be right in the variables of the role nginx_tls."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def nginx_tls_problems(request: t.Mapping[str, t.Any]) -> list[str]:
    """Return what cannot be right; the argument is documented in ``nginx_tls_problems.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._nginx.problems import problems

    if not isinstance(request, t.Mapping):
        raise AnsibleFilterError("nginx_tls_problems: the variables must be a dictionary")
    return problems(request)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"nginx_tls_problems": nginx_tls_problems}
