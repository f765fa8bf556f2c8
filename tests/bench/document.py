# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page docs/benchmarks.md: each benchmark writes its own section, between markers, and leaves the others as they are."""

from __future__ import annotations

import os
import pathlib
import platform
import statistics
import typing as t

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/benchmarks.md"


def replace_section(page: str, name: str, section: str) -> str:
    """Return the page with a section in place of the one of the same name, or after the others if there is none yet.

    Raises:
        ValueError: the section is begun but not ended.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    block = f"{begin}\n{section.strip()}\n{end}"
    if begin not in page:
        return f"{page.rstrip()}\n\n{block}\n"
    head, _marker, rest = page.partition(begin)
    _old, marker, tail = rest.partition(end)
    if not marker:
        raise ValueError(f"{name} is begun but not ended")
    return head + block + tail


def write_section(name: str, section: str) -> None:
    """Put a section into the page."""
    PAGE.write_text(replace_section(PAGE.read_text(encoding="utf-8"), name, section), encoding="utf-8")


def table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def spread(figures: t.Sequence[float], digits: int = 1) -> str:
    """Return the median, and the lowest and the highest if there is more than one figure."""
    middle = f"{statistics.median(figures):.{digits}f}"
    return f"{middle} ({min(figures):.{digits}f} to {max(figures):.{digits}f})" if len(figures) > 1 else middle


def machine() -> str:
    """Say what machine this is."""
    return f"a machine with {os.cpu_count()} cores ({platform.machine()})"
