# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the folder ``awx`` has, as tests read it."""

from __future__ import annotations

import functools
import pathlib
import typing as t

import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "awx"


class Loader(yaml.SafeLoader):
    """Reads texts that ansible-core must not template as texts."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


@functools.cache
def of(kind: str) -> list[dict[str, t.Any]]:
    """The objects of one kind, such as ``job_templates``."""
    return file(kind)[f"awx_{kind}"]


def file(kind: str) -> dict[str, t.Any]:
    """The file of one kind."""
    return yaml.load((FOLDER / f"{kind}.yml").read_text(encoding="utf-8"), Loader)  # noqa: S506


def names(kind: str) -> list[str]:
    """The names of the objects of one kind."""
    return [entry["name"] for entry in of(kind)]
