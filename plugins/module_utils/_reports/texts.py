# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all reports need of times, limits and secrets."""

from __future__ import annotations

import datetime
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.masking import mask

Kind = t.TypeVar("Kind")


def iso(moment: float) -> str:
    """Return a Unix time as ISO 8601, in UTC and whole seconds."""
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat(timespec="seconds")


def day(moment: float) -> str:
    """Return the day of a Unix time, in UTC."""
    return iso(moment)[:10]


def limits_of(kind: type[Kind], given: t.Mapping[str, t.Any], doing: str) -> Kind:
    """Return limits from the option of that name.

    Args:
        kind: the class of the limits.
        given: the option.
        doing: what they are for, as a verb phrase.

    Raises:
        InvalidInput: one is negative.
    """
    negative = sorted(name for name, number in given.items() if number < 0)
    if negative:
        raise InvalidInput(doing, f"the limit {negative[0]} is negative", "give a number from 0 up")
    return kind(**given)


def masked(value: t.Any, secrets: t.Sequence[str] = ()) -> t.Any:
    """Return data with asterisks in the place of secrets, in all of its texts and keys.

    Args:
        value: the data.
        secrets: those that are known, beside what is named or placed like one.
    """
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, dict):
        return {masked(name, secrets): masked(inner, secrets) for name, inner in value.items()}
    return [masked(inner, secrets) for inner in value] if isinstance(value, (list, tuple)) else value
