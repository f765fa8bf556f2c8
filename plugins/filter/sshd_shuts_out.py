# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``sshd_shuts_out``: by which settings of sshd an account could not log in."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def sshd_shuts_out(settings: t.Any, *, user: t.Any, groups: t.Any = (), port: t.Any = 22) -> list[str]:
    """Return the settings; the arguments are documented in ``sshd_shuts_out.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._host.sshd import shuts_out

    if not isinstance(settings, t.Mapping):
        raise AnsibleFilterError("sshd_shuts_out: give a dictionary of settings by keyword")
    return shuts_out(settings, str(user), [str(group) for group in groups], int(port))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"sshd_shuts_out": sshd_shuts_out}
