# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each option of the modules of blue/green deployments is used by their tests on the cloud of the tests, and each value that they return is looked at."""

from __future__ import annotations

import ast
import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ("tests/bluegreen.py", "tests/integration/test_ecs_bluegreen.py", "tests/faults/test_ecs_bluegreen_faults.py")
TEXT = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in TESTS)
MODULES = ("ecs_bluegreen", "ecs_bluegreen_info")


def documented(module: str, constant: str) -> dict[str, t.Any]:
    """Return what a constant of a module says."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8"))
    text = next(node.value.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == constant)
    return dict(yaml.safe_load(text))


def names_of(options: dict[str, t.Any]) -> set[str]:
    """Return the names of options and of those within them."""
    return set(options).union(*(names_of(option.get("suboptions", {})) for option in options.values()))


@pytest.mark.parametrize("module", MODULES)
def test_every_option_is_used(module: str) -> None:
    """As a keyword, or as a key of a dictionary."""
    unused = {name for name in names_of(documented(module, "DOCUMENTATION")["options"]) if not re.search(rf'"{name}"|\b{name}=', TEXT)}
    assert unused == set()


@pytest.mark.parametrize("module", MODULES)
def test_every_returned_value_is_looked_at(module: str) -> None:
    """By its name."""
    unseen = {name for name in documented(module, "RETURN") if not re.search(rf'\["{name}"\]', TEXT)}
    assert unseen == set()
