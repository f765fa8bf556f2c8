# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents: each command could be run as it stands, each variable is one, and what they name and link to is there."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from documents import (
    DOCUMENTS,
    OF_THE_READER,
    ROOT,
    Wrong,
    blocks,
    check_command,
    commands,
    comment_commands,
    exists,
    playbooks,
    role_variables,
    spans,
    words_of,
)

# Pages that are made while the site is built; whether links to them arrive is found out there (make docs).
MADE = ("docs/reference/", "docs/project/")
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def name_of(path: pathlib.Path) -> str:
    """The name of a test case."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_can_be_run_as_they_stand(path: pathlib.Path) -> None:
    wrong = []
    for command in commands(path, path.read_text(encoding="utf-8")):
        try:
            check_command(command.words, command.folder)
        except Wrong as error:
            wrong.append(f"{command.where}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(playbooks()))
def test_a_playbook_begins_with_commands_that_can_be_run(name: str) -> None:
    given = comment_commands(playbooks()[name])
    assert given, "no command in the comment that it begins with"
    for command in given:
        check_command(command.words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_names_of_the_collection_exist(path: pathlib.Path) -> None:
    named = set(re.findall(r"(?<!group/)\bmainstay\.ops\.(?!git\b)([a-z]\w*)", path.read_text(encoding="utf-8")))
    assert not {name for name in named if not exists(name)}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_paths_that_are_named_exist(path: pathlib.Path) -> None:
    """Those of the checkout, as a table of tests names them; a star stands for several."""
    named = {span.rstrip("/") for dummy, span in spans(path.read_text(encoding="utf-8"))}
    paths = {span for span in named if re.fullmatch(r"(tests|docs|roles|plugins|molecule|playbooks|inventories|requirements|\.ci)/[\w./*-]+", span)}
    assert not {span for span in paths - OF_THE_READER if not list(ROOT.glob(span))}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_lead_to_files(path: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            there = (path.parent / target).resolve()
            assert there.exists() or there.relative_to(ROOT).as_posix().startswith(MADE), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_variables_in_yaml_are_ones_of_their_role(path: pathlib.Path) -> None:
    for line, block in blocks(path.read_text(encoding="utf-8"), {"yaml"}):
        for name in re.findall(r"^([a-z]\w*):", block, re.MULTILINE):
            role = max((role for role in ROLES if name.startswith(f"{role}_")), key=len, default=None)
            assert role is None or name in role_variables(role), f"{name_of(path)}:{line}: {role} has no variable {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_yaml_can_be_read(path: pathlib.Path) -> None:
    for line, block in blocks(path.read_text(encoding="utf-8"), {"yaml"}):
        try:
            list(yaml.safe_load_all(block))
        except yaml.YAMLError as error:
            raise AssertionError(f"{name_of(path)}:{line}: {error}") from error


def test_figures_of_the_promises_are_those_of_the_pages_that_they_name() -> None:
    """A page whose figures were measured anew takes these along."""
    page = ROOT / "docs/explanation/promises.md"
    cells = [line.split("|")[3] for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "](" in line.split("|")[3]]
    assert len(cells) > 10
    for cell in cells:
        text, linked = re.fullmatch(r"\s*(.*) \(\[[^\]]*\]\(([^)]*)\).*\)\s*", cell).groups()
        known = {number.replace(",", "") for number in re.findall(r"\d[\d.,]*\d|\d", (page.parent / linked).read_text(encoding="utf-8"))}
        assert not set(re.findall(r"\d[\d.]*\d|\d", text)) - known - {"0"}, cell


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_page_and_metadata(role: str) -> None:
    """Galaxy refuses a collection whose roles have none."""
    missing = [name for name in ("README.md", "meta/main.yml") if not (ROOT / "roles" / role / name).exists()]
    assert not missing, f"python .ci/role_pages.py writes roles/{role}: {', '.join(missing)}"
    readme = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load((ROOT / "roles" / role / "meta/main.yml").read_text(encoding="utf-8"))
    assert readme.startswith(f"# mainstay.ops.{role}\n") and metadata["galaxy_info"]["description"]


@pytest.mark.parametrize(
    ("line", "because"),
    [
        ("ansible-playbook -i INVENTORY playbooks/nothing.yml", "no playbook"),
        ("ansible-playbook -i inventories/nowhere playbooks/site.yml", "no inventory"),
        ("ansible-playbook -i INVENTORY playbooks/site.yml --chek", "unrecognized"),
        ("ansible-playbook -i INVENTORY playbooks/restore.yml -e backup_target_tim=2026-11-22T17:42:00Z", "backup_target_tim"),
        ("""ansible-playbook -i INVENTORY playbooks/restore.yml [-e '{"backup_pats": ["files"]}']""", "backup_pats"),
        ("make demonstration", "no target"),
        ("make bench-deploy RUN=3", "RUN"),
        ("make molecule s=nothing", "no scenario"),
        ("ansible-doc -t role mainstay.ops.pg_backup", "no role"),
        ("ansible-doc mainstay.ops.backup", "no module"),
        ("ansible-galaxy collection instal mainstay.ops", "instal"),
        ("ansible-galaxy collection install mainstay.op", "no collection"),
        ("ansible-galaxy collection install -r requirements/nothing.yml", "no file"),
        ("ansible -i inventories/nowhere lb1 -m ansible.builtin.ping", "no inventory"),
        ("ansible-inventory -i inventories/lab --graphs", "graphs"),
        ("MAINSTAY_LAB_IMAGE=debian12 molecule test -s nothing", "no scenario"),
        ("python3 tests/fixtures/app/built.py --release 1", "no program"),
        ("python3 tests/fixtures/app/build.py --relase 1", "--relase"),
        ("PYTHONPATH=tests python -m drills.postgres --loopbck", "--loopbck"),
    ],
)
def test_a_wrong_command_is_found(line: str, because: str) -> None:
    with pytest.raises(Wrong, match=because):
        check_command(words_of(line))


def test_commands_are_found_in_blocks_tables_and_sentences() -> None:
    text = """Run `playbooks/site.yml --check`, or

| to | run |
|---|---|
| deploy | `ansible-playbook -i INVENTORY playbooks/deploy.yml [-e app_release=2]` |

- in a list:

  ```console
  make lab && make demo     # nine hosts
  ansible-doc -t role \\
    mainstay.ops.base
  ```

```yaml
make: no command
```
"""
    assert [command.words for command in commands(ROOT / "README.md", text)] == [
        ["make", "lab"],
        ["make", "demo"],
        ["ansible-doc", "-t", "role", "mainstay.ops.base"],
        ["ansible-playbook", "-i", "INVENTORY", "playbooks/site.yml", "--check"],
        ["ansible-playbook", "-i", "INVENTORY", "playbooks/deploy.yml", "-e", "app_release=2"],
    ]
