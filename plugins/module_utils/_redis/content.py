# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server holds: how many keys of which type, and the digest of all of it; and the comparison of two servers after a restore."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._redis.connection import Login, LoginFailed, Refused, Server
from ansible_collections.mainstay.ops.plugins.module_utils._redis.facts import data_digest
from ansible_collections.mainstay.ops.plugins.module_utils._redis.wire import Wire, encode

DIGEST_KEYS = 500_000
"""A live server with more keys is not asked for its digest, during which it answers nobody: about two seconds for so many."""
COMPARED_KEYS = 5_000_000
"""A live server with more keys is not read key by key while it takes no writes: about ten seconds for so many."""

COUNTS = 3
"""``SCAN`` may give a key twice while the server's table shrinks, so a difference counts when it was seen so many times."""


class ContentDiffers(MainstayError):
    """A restored server has other data than the backup."""


@dataclasses.dataclass(frozen=True)
class Content:
    """Keys per type, without those whose time to live is over, and the digest of the data. Empty where they were not read; ``warnings`` say why."""

    types: t.Mapping[str, int]
    digest: str
    warnings: tuple[str, ...] = ()


def survey(login: Login, timeout: float) -> Content:
    """Read the types and the digest of a throwaway server.

    Raises:
        MainstayError: it could not be read.
    """
    return Content(count_types(login, timeout), _digest(login, timeout))


def compare(source: Login, live: Login, keys: int, timeout: float) -> Content:
    """Compare a live server with the throwaway one that it has replicated from; neither is written to meanwhile.

    The digest is compared where the live server permits ``DEBUG`` and has few enough keys, the types where it permits ``SCAN`` and ``TYPE``. Keys whose
    time to live ends meanwhile are no difference: the throwaway server is counted before and after the live one.

    Args:
        source: the throwaway server; it must not remove keys by itself.
        live: the live server.
        keys: how many it has.
        timeout: seconds for each command.

    Raises:
        ContentDiffers: they differ.
        MainstayError: one of them could not be read.
    """
    doing = f"restore into Redis at {live.address}"
    warnings = []
    digest, types = "", {}
    if keys <= DIGEST_KEYS and (digest := _digest(live, timeout)) and (expected := _digest(source, timeout)) != digest:
        raise ContentDiffers(doing, f"the digest of its data is {digest}, that of the backup {expected}", "restore again, or another backup")
    if keys > COMPARED_KEYS:
        warnings.append(f"the types of the keys were not compared, as there are more than {COMPARED_KEYS}; their numbers per database were")
        return Content(types, digest, tuple(warnings))
    before = count_types(source, timeout)
    for attempt in range(COUNTS):
        try:
            types = count_types(live, timeout)
        except LoginFailed:
            raise
        except Refused as error:
            warnings.append(f"the types of the keys were not compared: {error.cause}")
            break
        after = before if types == before else count_types(source, timeout)
        if not (wrong := _other_types(before, types, after)):
            break
        if attempt == COUNTS - 1:
            raise ContentDiffers(doing, wrong, "restore again, or another backup")
        before = after
    return Content(types, digest, tuple(warnings))


def _other_types(before: t.Mapping[str, int], types: t.Mapping[str, int], after: t.Mapping[str, int]) -> str:
    """Say which types a server has more or fewer keys of than another had before and after it was counted."""
    wrong = []
    for name in sorted({*before, *types, *after}):
        low, high = sorted((before.get(name, 0), after.get(name, 0)))
        if not low <= types.get(name, 0) <= high:
            wrong.append(f"it has {types.get(name, 0)} keys of the type {name}, the backup {high}")
    return "; ".join(wrong)


def count_types(login: Login, timeout: float) -> dict[str, int]:
    """Count the keys of each type in all databases by ``SCAN`` and ``TYPE``; keys whose time to live is over are not counted.

    Raises:
        Refused: the user may not run one of these.
        MainstayError: the server could not be read.
    """
    found: collections.Counter[str] = collections.Counter()
    with Wire(login, f"count the keys of Redis at {login.address}", timeout) as wire:
        for number in wire.databases():
            for keys in wire.keys(number):
                wire.send(encode(b"TYPE", key) for key in keys)
                found.update(t.cast(bytes, name).decode() for name in wire.replies(len(keys)))
    found.pop("none", None)
    return dict(sorted(found.items()))


def _digest(login: Login, timeout: float) -> str:
    """Return the digest of a server's data; empty if it does not permit that."""
    try:
        with Server(login, timeout=timeout) as server:
            return data_digest(server)
    except LoginFailed:
        raise
    except Refused:
        return ""
