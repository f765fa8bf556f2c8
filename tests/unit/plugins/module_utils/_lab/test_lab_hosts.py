# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of the machine that many hosts of a lab need."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._lab import hosts


@pytest.mark.parametrize(("count", "instances", "actions"), [(12, 128, []), (13, 128, ["raise limit fs.inotify.max_user_instances"]), (41, 269, [])])
def test_the_limit_is_raised_where_the_hosts_need_more(count: int, instances: int, actions: list[str]) -> None:
    assert [str(action) for action in hosts.plan_limit(count, instances)] == actions


def test_a_limit_is_set_or_named(tmp_path: pathlib.Path) -> None:
    limit = tmp_path / "limit"
    hosts.raise_limit(limit, 269)
    assert limit.read_text() == "269"
    with pytest.raises(MainstayError, match="could not raise fs.inotify.max_user_instances to 269: .*set it with sysctl"):
        hosts.raise_limit(tmp_path / "none" / "limit", 269)
