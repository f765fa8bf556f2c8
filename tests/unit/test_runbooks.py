# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a runbook says to type at night exists: playbooks, their variables with values that they take, modules and their options, alerts, links."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
import shlex
import typing as t

import pytest
from test_house_rules import ROOT, check_arguments, documented_options, load_yaml

FOLDER = ROOT / "docs/runbooks"
RUNBOOKS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
SECTIONS = ["Noticed by", "Run", "Verified", "Go back"]
FLAGS = {"--check", "--diff"}
ALERT = re.compile(r"(?:Host|Disk|Postgres|Redis|Nginx|Certificate|Application|Backup|Wal|Drill)[A-Z]\w+")


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line of a runbook."""

    words: tuple[str, ...]

    def after(self, *names: str) -> list[str]:
        """What is given for an option."""
        return [self.words[place + 1] for place, word in enumerate(self.words) if word in names]

    @property
    def variables(self) -> dict[str, t.Any]:
        """What is given by -e, without files."""
        found: dict[str, t.Any] = {}
        for given in self.after("-e"):
            if given.startswith("{"):
                found.update(json.loads(given))
            elif not given.startswith("@"):
                assert "=" in given, f"-e {given} is neither NAME=VALUE nor a dictionary"
                found.update([given.split("=", 1)])
        return found


def lines_of(text: str) -> t.Iterator[str]:
    """What is set as code: the lines of the blocks, and what stands between backquotes."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        yield from block.replace("\\\n", " ").splitlines()
    yield from (code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))


def commands(path: pathlib.Path, program: str) -> list[Command]:
    """The command lines of a program in a runbook."""
    return [Command(tuple(shlex.split(line, comments=True))) for line in lines_of(path.read_text(encoding="utf-8")) if line.startswith(f"{program} ")]


def code_of(path: pathlib.Path) -> str:
    """A YAML file without its comments, which may name what is gone."""
    return re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


@functools.cache
def sources(playbook: str) -> tuple[str, frozenset[str]]:
    """The code of a playbook with the playbooks that it imports, and the names of the roles that they use, with those that these use."""
    text, waiting, roles = "", [ROOT / playbook], set()
    while waiting:
        path = waiting.pop()
        found = code_of(path)
        text += found
        waiting += [path.parent / name for name in re.findall(r"import_playbook: *(\S+)", found)]
        for role in set(re.findall(r"mainstay\.ops\.(\w+)", found)) - roles:
            if (ROOT / "roles" / role).is_dir():
                roles.add(role)
                waiting += sorted((ROOT / "roles" / role / "tasks").rglob("*.yml"))
    return text, frozenset(roles)


@functools.cache
def options_of(role: str) -> dict[str, t.Any]:
    """All options of a role's entry points."""
    options: dict[str, t.Any] = {}
    for spec in load_yaml(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"].values():
        options.update(spec.get("options", {}))
    return options


def check_variable(playbooks: t.Iterable[str], name: str, given: t.Any) -> None:
    """Fail unless one of the playbooks, or a role of it, takes the variable with this value."""
    for playbook in playbooks:
        text, roles = sources(playbook)
        for role in roles:
            if name in options_of(role):
                option = options_of(role)[name]
                for part in given if isinstance(given, list) else [given]:
                    assert "choices" not in option or part in option["choices"], f"{name} cannot be {part}"
                return
        if re.search(rf"\b{name}\b", text):
            return
    raise AssertionError(f"nobody reads {name}")


def check_playbook(command: Command) -> None:
    """Fail unless the playbook exists and reads what it is given."""
    playbooks = [word for word in command.words if word.startswith("playbooks/")]
    assert len(playbooks) == 1 and (ROOT / playbooks[0]).is_file(), f"there is no {playbooks}"
    assert command.after("-i"), f"no inventory: {command.words}"
    options = {word for word in command.words if word.startswith("-")}
    assert options <= FLAGS | {"-i", "-e", "--limit"}, options
    for name, given in command.variables.items():
        check_variable(playbooks, name, given)


def check_module(command: Command) -> None:
    """Fail unless the module exists and has the options."""
    for module in command.after("-m"):
        path = ROOT / "plugins/modules" / f"{module.removeprefix('mainstay.ops.')}.py"
        assert module.startswith("mainstay.ops.") and path.is_file(), f"there is no module {module}"
        for arguments in command.after("-a"):
            check_arguments(json.loads(arguments), documented_options(path), module)


def anchors(path: pathlib.Path) -> set[str]:
    """What links may point to in a page, as GitHub makes it of the headings."""
    headings = re.findall(r"^#+ +(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links(path: pathlib.Path) -> None:
    """Fail unless each link within the collection leads somewhere."""
    for link in re.findall(r"\]\(([^)#]*(?:#[^)]*)?)\)", path.read_text(encoding="utf-8")):
        if "://" not in link:
            name, _unused, anchor = link.partition("#")
            target = path.parent / name if name else path
            assert target.exists(), f"{path.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{path.name}: {link}"


@pytest.mark.parametrize("path", [*RUNBOOKS, FOLDER / "README.md"], ids=lambda path: path.stem)
def test_commands_exist(path: pathlib.Path) -> None:
    """Each command names what there is."""
    played = commands(path, "ansible-playbook")
    assert played
    for command in played:
        check_playbook(command)
    for command in commands(path, "ansible"):
        check_module(command)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_arguments_that_are_added_exist(path: pathlib.Path) -> None:
    """What the text says to add is taken by a playbook of the same page."""
    playbooks = {word for command in commands(path, "ansible-playbook") for word in command.words if word.startswith("playbooks/")}
    for line in lines_of(path.read_text(encoding="utf-8")):
        if line.startswith("-e "):
            for name, given in Command(tuple(shlex.split(line))).variables.items():
                check_variable(sorted(playbooks), name, given)


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_form(path: pathlib.Path) -> None:
    """How it is noticed, what is run, what is verified, how to go back; alerts and links lead somewhere."""
    text = path.read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [section for section in sections if section in SECTIONS] == SECTIONS
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles/prometheus/templates/rules").glob("*.j2"))
    known = set(re.findall(r"^ +- alert: (\w+)$", rules, re.MULTILINE))
    named = {code for code in lines_of(text) if ALERT.fullmatch(code)}
    assert named <= known, named - known
    check_links(path)


def test_index() -> None:
    """The index has each runbook, and there is one for each of the twelve disasters."""
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", (FOLDER / "README.md").read_text(encoding="utf-8")))
    assert linked == {path.name for path in RUNBOOKS}
    assert len(RUNBOOKS) == 12
    check_links(FOLDER / "README.md")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ansible-playbook -i INVENTORY playbooks/restor.yml", "there is no"),
        ("ansible-playbook playbooks/restore.yml", "no inventory"),
        ("ansible-playbook -i INVENTORY playbooks/restore.yml --force", "--force"),
        ("ansible-playbook -i INVENTORY playbooks/restore.yml -e backup_targettime=now", "nobody reads backup_targettime"),
        ("ansible-playbook -i INVENTORY playbooks/restore.yml -e backup_on_existing=overwrite", "cannot be overwrite"),
        ("ansible-playbook -i INVENTORY playbooks/restore.yml -e '{\"backup_parts\": [\"cache\"]}'", "cannot be cache"),
        ("ansible-playbook -i INVENTORY playbooks/rollback.yml -e backup_max_age=0", "nobody reads backup_max_age"),
    ],
)
def test_a_wrong_command_is_found(line: str, cause: str) -> None:
    """The checks of this file see what they are for."""
    with pytest.raises(AssertionError, match=cause):
        check_playbook(Command(tuple(shlex.split(line))))


def test_a_wrong_module_is_found() -> None:
    """So do those of modules."""
    with pytest.raises(AssertionError, match="there is no option activ"):
        check_module(Command(("ansible", "localhost", "-m", "mainstay.ops.route53_failover", "-a", json.dumps({"name": "a", "activ": "b"}))))
    with pytest.raises(AssertionError, match="there is no module"):
        check_module(Command(("ansible", "localhost", "-m", "mainstay.ops.route53_fail")))
