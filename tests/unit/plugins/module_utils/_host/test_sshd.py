# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""By which settings of sshd an account could not log in."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._host.sshd import shuts_out


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, []),
        ({"AllowUsers": "ada o*"}, []),
        ({"AllowUsers": "ada"}, ["AllowUsers ada"]),
        ({"AllowUsers": ""}, ["AllowUsers "]),
        ({"AllowUsers": "ada eve@192.0.2.*"}, []),
        ({"DenyUsers": "op?"}, ["DenyUsers op?"]),
        ({"DenyUsers": "ada ops@192.0.2.*"}, []),
        ({"allowgroups": "sudo wheel"}, []),
        ({"AllowGroups": "wheel"}, ["AllowGroups wheel"]),
        ({"DenyGroups": "sudo"}, ["DenyGroups sudo"]),
        ({"PermitRootLogin": "no"}, []),
        ({"Port": 22}, []),
        ({"port": "2222", "DenyUsers": "ops"}, ["DenyUsers ops", "Port 2222"]),
    ],
)
def test_who_is_shut_out(settings: dict[str, t.Any], expected: list[str]) -> None:
    """However a keyword is written; what depends on an address is left to the new connection."""
    assert shuts_out(settings, "ops", ["sudo", "ops"], 22) == expected


@pytest.mark.parametrize("way, shut_out", [("no", True), ("forced-commands-only", True), ("prohibit-password", False), ("yes", False)])
def test_root(way: str, shut_out: bool) -> None:
    """Whether root may come in is told by a setting of its own."""
    assert bool(shuts_out({"PermitRootLogin": way}, "root", ["root"], 22)) is shut_out
