# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents tell people to run, taken out of blocks, tables and sentences, and whether it could be run as it stands."""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import re
import shlex
import sys
import typing as t

import yaml
from ansible.cli.adhoc import AdHocCLI
from ansible.cli.doc import DocCLI
from ansible.cli.galaxy import GalaxyCLI
from ansible.cli.inventory import InventoryCLI
from ansible.cli.playbook import PlaybookCLI

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".ci/site"))

from sources import Playbook, read_playbooks, roles_of  # noqa: E402

PLACES = ("*.md", "docs/**/*.md", "examples/**/*.md", "roles/*/README.md", "tests/**/README.md")
DOCUMENTS = sorted(path for pattern in PLACES for path in ROOT.glob(pattern))
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
SHELL = {"", "console", "sh", "bash"}
# What counts as a command where it stands within a sentence or a table.
SPAN = re.compile(
    r"ansible-playbook .*\.yml|(ansible-doc|ansible-galaxy|make|molecule|python3?) .|(\.\.\. )?playbooks/\w+\.yml .|(MAINSTAY_\w+|PYTHONPATH)=.* "
)
# Words in capitals stand for something of the reader's own.
STAND_IN = re.compile(r"[A-Z][A-Z_]*$")
# Inventories that documents speak of, and that the reader makes.
OF_THE_READER = {f"inventories/{name}" for name in ("aws-dr", "clean", "dr", "next", "production")}
# What a command is known by where it is not written in full: "... playbooks/restore.yml -e confirm=restore", or only "playbooks/site.yml".
SHORTENED = re.compile(r"(\.\.\. )?playbooks/\w+\.yml\b")


class Command(t.NamedTuple):
    """A command in a document."""

    where: str
    words: list[str]
    folder: pathlib.Path = ROOT


class Wrong(Exception):
    """A command that could not be run as it stands."""


def blocks(text: str, languages: t.Container[str]) -> t.Iterator[tuple[int, str]]:
    """The fenced blocks in some languages, each with the number of its first line."""
    for match in FENCE.finditer(text):
        if match["language"] in languages:
            yield text.count("\n", 0, match.start("text")) + 1, re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)


def lines_of(block: str) -> t.Iterator[str]:
    """The commands of a block, those over several lines put together, and ``&&`` taken as an end."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in re.split(r"\s(?:&&|;)\s", line.removeprefix("$ ")):
            if part.strip() and not part.lstrip().startswith("#"):
                yield part.strip()


def spans(text: str) -> t.Iterator[tuple[int, str]]:
    """What is set as code within sentences and tables, with the number of its line."""
    prose = FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", prose):
        yield prose.count("\n", 0, match.start()) + 1, " ".join(match[1].replace("\\|", "|").split())


def words_of(line: str) -> list[str]:
    """A command as its words. Brackets around what may be left out are taken away, so that this is checked as well."""
    words = []
    for word in shlex.split(line, comments=True):
        if word.startswith("[-"):
            word = word[1:]
        while word.endswith("]") and word.count("]") > word.count("["):
            word = word[:-1]
        words.append(word)
    return words


def in_full(line: str) -> str:
    """A command that begins with its playbook, or with dots, as it would be typed."""
    if not SHORTENED.match(line):
        return line
    return f"ansible-playbook -i INVENTORY {line.removeprefix('... ')}"


def commands(path: pathlib.Path, text: str) -> list[Command]:
    """All commands of a document."""
    name = path.relative_to(ROOT)
    found = [(number, line) for number, block in blocks(text, SHELL) for line in lines_of(block)]
    found += [(number, span) for number, span in spans(text) if SPAN.match(span)]
    return [Command(f"{name}:{number}", words_of(in_full(line)), path.parent) for number, line in found]


def comment_commands(playbook: Playbook) -> list[Command]:
    """The commands in the comment that a playbook begins with; what is set in deeper goes on with the line before."""
    joined = re.sub(r"\n {4,}", " ", playbook.comment)
    lines = [part.strip() for line in joined.splitlines() for part in re.split(r"\s{3,}", line)]
    return [Command(f"playbooks/{playbook.name}.yml", words_of(line)) for line in lines if re.match(r"([A-Z_]+=\S* )*ansible-playbook ", line)]


@functools.lru_cache
def playbooks() -> dict[str, Playbook]:
    """All playbooks by name."""
    return read_playbooks(ROOT / "playbooks")


@functools.lru_cache
def role_variables(role: str) -> frozenset[str]:
    """The variables that the entry points of a role take."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return frozenset(name for spec in specs.values() for name in spec.get("options", {}))


@functools.lru_cache
def inventory_variables() -> frozenset[str]:
    """What the inventory of the lab lets be chosen, such as ``lab_app_celery``."""
    found: set[str] = set()
    for path in (ROOT / "inventories/lab/group_vars").rglob("*.yml"):
        found |= (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).keys()
    return frozenset(found)


def words_in(path: pathlib.Path) -> set[str]:
    """All words of a file that could be the name of a variable, but for those in comments."""
    return set(re.findall(r"\b[a-z]\w*\b", re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)))


@functools.lru_cache
def playbook_variables(name: str) -> frozenset[str]:
    """What a playbook reads: its own variables, those of the playbooks that it imports, and those of their roles."""
    found = words_in(ROOT / f"playbooks/{name}.yml")
    for imported in playbooks()[name].imports:
        found |= playbook_variables(imported)
    return frozenset(found.union(*(role_variables(role) for role in roles_of(name, playbooks()))))


def variables_given(given: str) -> set[str]:
    """The names of the variables in a value of ``-e``. Those of a file are the reader's own."""
    if given.startswith("@"):
        return set()
    if given.lstrip().startswith("{"):
        return set(json.loads(given))
    return {word.partition("=")[0] for word in shlex.split(given) if "=" in word}


def check_inventory(program: type, words: list[str]) -> argparse.Namespace:
    """Any of Ansible's commands that take an inventory: its options, and that the inventory exists."""
    options = parsed(program, words)
    for inventory in options.inventory or []:
        if not (STAND_IN.match(inventory) or inventory.rstrip("/") in OF_THE_READER or (ROOT / inventory).exists()):
            raise Wrong(f"there is no inventory {inventory}")
    return options


def check_playbook(words: list[str]) -> None:
    """A command of ``ansible-playbook``: its options, its inventory, its playbook, and the variables that it gives."""
    options = check_inventory(PlaybookCLI, words)
    for path in options.args:
        name = pathlib.Path(path).stem
        if STAND_IN.match(name):
            continue
        if not (ROOT / path).is_file():
            raise Wrong(f"there is no playbook {path}")
        known = playbook_variables(name) if path.startswith("playbooks/") else words_in(ROOT / path)
        for given in options.extra_vars or []:
            unknown = variables_given(given) - known - inventory_variables()
            if unknown:
                raise Wrong(f"{path} knows nothing of {', '.join(sorted(unknown))}")


def parsed(program: type, words: list[str]) -> argparse.Namespace:
    """The arguments of one of Ansible's programs, as it reads them itself."""
    cli = program(words)
    cli.init_parser()
    cli.parser.exit_on_error = False
    cli.parser.error = functools.partial(_refuse, " ".join(words))
    try:
        return cli.parser.parse_args(words[1:])
    except argparse.ArgumentError as error:  # from Python 3.12 on, of an argument that there is not
        raise Wrong(f"{' '.join(words)}: {error}") from error
    except SystemExit as error:  # by a parser of a subcommand, which has said why
        raise Wrong(f"{' '.join(words)}: {words[0]} does not take these arguments") from error


def _refuse(command: str, message: str) -> t.NoReturn:
    raise Wrong(f"{command}: {message}")


def check_doc(words: list[str]) -> None:
    """A command of ``ansible-doc``: what it is asked about exists."""
    options = parsed(DocCLI, words)
    for name in options.args:
        if not STAND_IN.match(name) and not exists(name, options.type):
            raise Wrong(f"there is no {options.type} {name}")


def exists(name: str, kind: str | None = None) -> bool:
    """Whether the collection has something of a full name, of one kind or of any."""
    short = name.removeprefix("mainstay.ops.")
    places = {"module": [f"plugins/modules/{short}.py"], "role": [f"roles/{short}"], "filter": [f"plugins/filter/{short}.py", f"plugins/filter/{short}.yml"]}
    places["playbook"] = [f"playbooks/{short}.yml"]
    return any((ROOT / place).exists() for place in (places[kind] if kind else sum(places.values(), [])))


def check_galaxy(words: list[str]) -> None:
    """A command of ``ansible-galaxy``: its options, and that a requirements file or a collection of our own that it names exists."""
    options = parsed(GalaxyCLI, words)
    requirements = getattr(options, "requirements", None)
    if requirements and not (ROOT / requirements).is_file():
        raise Wrong(f"there is no file {requirements}")
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    for name in getattr(options, "args", None) or []:
        if name.startswith(f"{galaxy['namespace']}.") and name.partition(":")[0] != f"{galaxy['namespace']}.{galaxy['name']}":
            raise Wrong(f"there is no collection {name}")


def check_make(words: list[str]) -> None:
    """A command of ``make``: its targets and variables are in the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words[1:]:
        variable, mark, dummy = word.partition("=")
        if mark and not re.search(rf"\$\({variable}\)|^{variable} \?=|\(or \$\({variable}\)|,\$\({variable}\)", makefile, re.MULTILINE):
            raise Wrong(f"the Makefile knows nothing of {variable}")
        if not mark and not word.startswith("-") and not re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE):
            raise Wrong(f"there is no target {word}")
        if variable == "s":
            check_scenario(dummy)


def check_scenario(name: str) -> None:
    """The name of a scenario of Molecule."""
    if not STAND_IN.match(name) and not (ROOT / "molecule" / name / "molecule.yml").exists():
        raise Wrong(f"there is no scenario {name}")


def check_molecule(words: list[str]) -> None:
    """A command of ``molecule``: its scenario exists."""
    for option, name in zip(words, words[1:]):
        if option in ("-s", "--scenario-name"):
            check_scenario(name)


def check_python(words: list[str], folder: pathlib.Path) -> None:
    """A program of the checkout, by its path or by ``-m``: it is there, and its options stand in its code."""
    name = words[2].replace(".", "/") if words[1:2] == ["-m"] else words[1]
    found = [place / ending for place in (ROOT, ROOT / "tests", ROOT / "tests/bench", folder) for ending in (name, f"{name}.py") if (place / ending).exists()]
    if not found:
        raise Wrong(f"there is no program {name}")
    sources = {*found[0].parent.glob("*.py"), *(found[0].rglob("*.py") if found[0].is_dir() else found[:1])}
    code = "".join(source.read_text(encoding="utf-8") for source in sources)
    for option in [word.partition("=")[0] for word in words if word.startswith("--")]:
        if f'"{option}"' not in code:
            raise Wrong(f"{name} has no option {option}")


def check_command(words: list[str], folder: pathlib.Path = ROOT) -> None:
    """A command of a document, if it is one that can be judged without running it.

    :param folder: where the document lies, and so the programs that it speaks of, if they are not below the checkout's root.
    :raises Wrong: it could not be run as it stands.
    """
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    checks: dict[str, t.Callable[[list[str]], t.Any]] = {
        "ansible": functools.partial(check_inventory, AdHocCLI),
        "ansible-doc": check_doc,
        "ansible-galaxy": check_galaxy,
        "ansible-inventory": functools.partial(check_inventory, InventoryCLI),
        "ansible-playbook": check_playbook,
        "make": check_make,
        "molecule": check_molecule,
        "python": functools.partial(check_python, folder=folder),
        "python3": functools.partial(check_python, folder=folder),
    }
    if words and words[0] in checks:
        checks[words[0]](words)
