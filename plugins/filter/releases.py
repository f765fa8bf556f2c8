# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters ``release_batches``, ``release_serving`` and ``release_unproven``: which hosts take a release first, and what serves."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError


def release_batches(hosts: t.Sequence[str], sizes: t.Sequence[int | str]) -> list[list[str]]:
    """Return the batches; the arguments are documented in ``release_batches.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._release.rollout import batches

    try:
        return batches([str(host) for host in hosts], [size if isinstance(size, int) else str(size) for size in sizes])
    except MainstayError as exc:
        raise AnsibleFilterError(f"release_batches: {exc}") from None


def release_serving(
    balancers: t.Mapping[str, t.Collection[str]], *, slots: t.Sequence[str], recorded: t.Sequence[str] = (), interrupted: bool = False,
) -> dict[str, t.Any]:
    """Return which slot serves; the arguments are documented in ``release_serving.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._release.rollout import serving

    return dataclasses.asdict(serving(slots, balancers, recorded, bool(interrupted)))


def release_unproven(hosts: t.Sequence[t.Sequence[t.Mapping[str, t.Any]]]) -> bool:
    """Return whether a deployment was cut off that no host has recorded; the arguments are documented in ``release_unproven.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._release.rollout import unproven

    return unproven([(host[0], host[1]) for host in hosts])


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"release_batches": release_batches, "release_serving": release_serving, "release_unproven": release_unproven}
