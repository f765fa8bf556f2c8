# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``hide_secrets``: a program's output without what must not be in a message."""

from __future__ import annotations

import typing as t

SHORTEST = 4
"""Characters of the shortest secret that is looked for: a shorter one is part of too many words."""


def hide_secrets(text: str, known: t.Sequence[str] = ()) -> str:
    """Return the text; the arguments are documented in ``hide_secrets.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils import _systemd

    for secret in sorted({str(one).strip() for one in known}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, "********")
    return _systemd.hide_secrets(text)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filter by name."""
        return {"hide_secrets": hide_secrets}
