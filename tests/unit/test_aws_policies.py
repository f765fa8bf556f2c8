# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies in the page about AWS allow what the modules were seen to call, and nothing else; and what they were seen to call is all that they can."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from policies import BY_HAND, CLIENTS, PAGE, documented, in_code, known, with_policies

INFO = "_info"


def test_each_module_has_its_policy_in_the_page() -> None:
    """As it is made from the recorded calls; ``python tests/policies.py`` writes it."""
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"### Permissions of `(\w+)`", text)) == sorted(known()) and with_policies(text) == text


@pytest.mark.parametrize("module", sorted(BY_HAND))
def test_a_policy_by_hand_has_the_actions_that_were_called(module: str) -> None:
    assert documented(PAGE.read_text(encoding="utf-8"), module) == set(known()[module]) | BY_HAND[module]


@pytest.mark.parametrize("module", sorted(CLIENTS))
def test_a_module_was_seen_to_make_each_call_of_its_code(module: str) -> None:
    """Its info module makes some of them."""
    assert set(known()[module]) == in_code(module)
    assert set(known()[module + INFO]) < in_code(module)
