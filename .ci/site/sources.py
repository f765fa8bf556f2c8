# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages made from other files of the checkout: the playbooks with the comments that they begin with, and the targets of the Makefile."""

from __future__ import annotations

import pathlib
import re
import typing as t

import yaml


class Playbook(t.NamedTuple):
    """What a playbook says about itself."""

    name: str
    comment: str
    phases: list[str]
    imports: list[str]
    roles: list[str]


def read_playbook(path: pathlib.Path) -> Playbook:
    """Read a playbook: the comment at its top, the names of its plays, the playbooks that it imports, and the roles that it names."""
    text = path.read_text(encoding="utf-8")
    comment = re.match(r"---\n((?:#.*\n)*)", text)
    plays = yaml.safe_load(text)
    return Playbook(
        name=path.stem,
        comment="\n".join(line.removeprefix("#").removeprefix(" ") for line in (comment[1] if comment else "").splitlines()),
        phases=[play["name"] for play in plays if "hosts" in play],
        imports=[pathlib.Path(play["ansible.builtin.import_playbook"]).stem for play in plays if "ansible.builtin.import_playbook" in play],
        roles=sorted(set(re.findall(r"name: mainstay\.ops\.(\w+)", text))),
    )


def read_playbooks(folder: pathlib.Path) -> dict[str, Playbook]:
    """All playbooks of a folder by name."""
    return {path.stem: read_playbook(path) for path in sorted(folder.glob("*.yml"))}


def roles_of(name: str, playbooks: dict[str, Playbook]) -> set[str]:
    """The roles that a playbook runs, those of the playbooks that it imports among them."""
    return set(playbooks[name].roles).union(*(roles_of(imported, playbooks) for imported in playbooks[name].imports))


def comment_as_markdown(comment: str) -> str:
    """The comment of a playbook: lines that are set in are commands or lists, the others are text with names of variables and options."""
    parts: list[str] = []
    for set_in, lines in _runs(comment.splitlines()):
        if set_in:
            parts.append("```text\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```")
        else:
            parts.append(re.sub(r"(?<![\w`/.-])(--[a-z]+|-[a-z] role [\w.]+|[a-z]\w*_\w*[a-z0-9](?:=\w+)?)", r"`\1`", "\n".join(lines)))
    return "\n\n".join(parts)


def _runs(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """Lines put together while they are set in, or not."""
    runs: list[tuple[bool, list[str]]] = []
    for line in lines:
        set_in = line.startswith("  ")
        if not runs or runs[-1][0] != set_in:
            runs.append((set_in, []))
        runs[-1][1].append(line)
    return runs


def playbooks_page(playbooks: dict[str, Playbook]) -> str:
    """The page of all playbooks."""
    parts = ["# Playbooks", "As each one says about itself. With `--check` a playbook prints what it would do."]
    for name, playbook in playbooks.items():
        roles = ", ".join(f"[{role}](roles/{role}.md)" for role in sorted(roles_of(name, playbooks)))
        parts += [f"## {name}", comment_as_markdown(playbook.comment)]
        if playbook.phases:
            parts.append("Phases:\n\n" + "\n".join(f"- {phase}" for phase in playbook.phases))
        if roles:
            parts.append(f"Roles: {roles}")
    return "\n\n".join(parts) + "\n"


def make_page(makefile: pathlib.Path) -> str:
    """The page of the Makefile's targets."""
    rows = re.findall(r"^([a-z0-9-]+):.*?## (.*)$", makefile.read_text(encoding="utf-8"), re.MULTILINE)
    table = "\n".join(f"| `make {target}` | {text} |" for target, text in rows)
    introduction = "`make help` prints them. `make setup` and what needs it work outside the checkout, in `~/.cache/mainstay`."
    return f"# Targets of make\n\n{introduction}\n\n| command | what it does |\n|---|---|\n{table}\n"
