# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform costs: each line by hand, and the role's own table."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.mainstay.ops.plugins.module_utils._aws.costs import Line, Wishes, estimate, total
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

TABLE = yaml.safe_load((pathlib.Path(__file__).resolve().parents[5] / "roles/aws_platform/vars/main/sizes.yml").read_text(encoding="utf-8"))
SIZES, PRICES = TABLE["__aws_platform_sizes"], TABLE["__aws_platform_prices"]


def monthly(lines: t.Sequence[Line], beginning: str) -> float:
    """Return what one line costs."""
    return next(line.monthly for line in lines if line.what.startswith(beginning))


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        ("2 tasks", 2 * (0.25 * 0.04048 + 0.5 * 0.004445) * 730),
        ("1 NAT", 0.05 * 730 + 50 * 0.045),
        ("database", 2 * (0.065 * 730 + 50 * 0.115)),
        ("cache", 2 * 0.032 * 0.8 * 730),
        ("load balancer", (0.0225 + 0.008 + 3 * 0.005) * 730),
        ("firewall", 5 + 5 + 5 * 0.6),
        ("100 GB", 100 * 0.09),
        ("logs", 10 * 0.5 + 6 * 0.1 + 3 * 0.4 + 1),
    ],
)
def test_a_line_of_the_small_size(beginning: str, expected: float) -> None:
    """By hand, from the same prices."""
    assert monthly(estimate(SIZES["small"], PRICES, Wishes()), beginning) == pytest.approx(expected, abs=0.01)


def test_wishes_cost_what_they_add() -> None:
    """A second region is a database in one zone, its copies and a key; Redis costs a fourth more than Valkey."""
    plain, standby = (estimate(SIZES["medium"], PRICES, Wishes(standby=wish)) for wish in (False, True))
    assert total(standby) - total(plain) == pytest.approx(monthly(plain, "database") / 2 + monthly(plain, "500 GB") + 1, abs=0.02)
    redis = estimate(SIZES["medium"], PRICES, Wishes(engine="redis"))
    assert monthly(redis, "cache") == pytest.approx(monthly(plain, "cache") / 0.8, abs=0.01)
    distributed = estimate(SIZES["medium"], PRICES, Wishes(distribution=True))
    assert {line.what for line in distributed} - {line.what for line in plain} == {"distribution of 1000 GB", "firewall of the distribution"}


def test_sizes_grow() -> None:
    """Each size costs more than the one before, and every class in it has a price."""
    sums = [total(estimate(SIZES[name], PRICES, Wishes(distribution=True, standby=True))) for name in ("small", "medium", "large")]
    assert sums == sorted(sums)
    assert sums[0] < sums[1] < sums[2]


def test_a_missing_price_is_named() -> None:
    """Not a traceback."""
    size = {**SIZES["small"], "database": {**SIZES["small"]["database"], "class": "db.unknown"}}
    with pytest.raises(InvalidInput, match=r"lacks 'db\.unknown'"):
        estimate(size, PRICES, Wishes())
