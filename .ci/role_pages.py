# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the README.md and meta/main.yml of each role that has none, from its argument spec: Galaxy refuses roles without them."""

from __future__ import annotations

import pathlib
import re
import sys
import textwrap
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
WIDTH = 158

README = """# mainstay.ops.{role}

{description}

All entry points and variables: `ansible-doc -t role mainstay.ops.{role}`.{page}
"""
METADATA = """---
galaxy_info:
  author: Mainstay Operations
  description: >-
{description}
  license: GPL-3.0-or-later
  min_ansible_version: "2.18"
  platforms:
    - name: Debian
      versions: [bookworm, trixie]
dependencies: []
"""


def description_of(spec: dict[str, t.Any]) -> str:
    """The first paragraph of what a role says about itself, without the markup of documentation."""
    said = spec.get("description") or spec["short_description"]
    first = said if isinstance(said, str) else said[0]
    return re.sub(r"\b[A-Z]+\(([^)#]*)(?:#[^)]*)?\)", r"\1", first)


def pages_of(role: str, spec: dict[str, t.Any], docs: pathlib.Path) -> dict[str, str]:
    """The two files of a role by their paths below it.

    :param spec: its entry point ``main``.
    :param docs: where the documents lie; one that is called like the role is linked.
    """
    description = description_of(spec)
    document = docs / f"{role}.md"
    page = f"\nRead on: [{document.read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')}](../../docs/{role}.md)." if document.exists() else ""
    return {
        "README.md": README.format(role=role, description="\n".join(textwrap.wrap(description, WIDTH, break_on_hyphens=False)), page=page),
        "meta/main.yml": METADATA.format(description=textwrap.indent("\n".join(textwrap.wrap(description, WIDTH - 8, break_on_hyphens=False)), "    ")),
    }


def main() -> int:
    """Write what is missing, and say so."""
    for folder in sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()):
        spec = yaml.safe_load((folder / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        for name, text in pages_of(folder.name, spec.get("main") or next(iter(spec.values())), ROOT / "docs").items():
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8")
                print(f"wrote {(folder / name).relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
