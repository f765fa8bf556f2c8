# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies in the page about AWS allow what the modules call, and nothing else; the integration tests compare them with the calls that were made."""

from __future__ import annotations

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from policies import CLIENTS, NO_CALLS, in_code, policies


@pytest.mark.parametrize("module", sorted(CLIENTS))
def test_a_policy_allows_what_the_module_calls(module: str) -> None:
    """Exactly."""
    assert policies()[module] - NO_CALLS == in_code(module)
