# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``playbooks/meta/argument_specs.yml`` says what the playbooks really take, and says the same as the roles."""

from __future__ import annotations

import ast
import pathlib
import re
import sys
import typing as t

import jinja2
import jinja2.meta
import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import playbooks

TYPES = {"str", "bool", "int", "float", "path", "list", "dict"}
# Of ansible-core; and the switch of the whole collection.
MAGIC = re.compile(
    r"^(ansible_\w+|mainstay_no_log|playbook_dir|groups|group_names|hostvars|inventory_hostname|inventory_dir|lookup|query|now|item|omit|play_hosts"
    r"|dict|range|namespace|_)$"
)
# What stands in a sentence, or as a pattern of hosts, where nothing was given.
PLACEHOLDERS = {"missing", "localhost", "SITE"}
# Names that tasks give to results and facts, and plays and tasks to variables.
NAMED = re.compile(r"^\s*(?:- )?(?:register|loop_var|index_var): *(\w+)", re.MULTILINE)
KEY = re.compile(r"^\s*(?:- )?(\w+):", re.MULTILINE)


@pytest.fixture(params=playbooks.PLAYBOOKS)
def name(request: pytest.FixtureRequest) -> str:
    """Each playbook, by its name."""
    return request.param


def strings(content: t.Any) -> t.Iterator[str]:
    """All strings within plays; a condition is one without its braces."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for element in content:
            yield from strings(element)
    elif isinstance(content, dict):
        for key, element in content.items():
            if key in ("when", "that", "failed_when", "changed_when", "until"):
                for condition in element if isinstance(element, list) else [element]:
                    yield "{{ %s }}" % condition
            else:
                yield from strings(element)


def names_read(source: str) -> set[str]:
    """The variables that Jinja reads in a text of YAML."""
    environment = jinja2.Environment()
    environment.filters = AnyName()
    environment.tests = AnyName()
    found: set[str] = set()
    for string in strings(yaml.safe_load(source)):
        if "{{" in string or "{%" in string:
            found |= jinja2.meta.find_undeclared_variables(environment.parse(string))
    return found


class AnyName(dict):
    """Filters and tests of ansible-core and of collections, which Jinja alone does not know."""

    def get(self, key: t.Any, default: t.Any = None) -> t.Any:
        return lambda content, *args, **kwargs: content


def names_set(source: str) -> set[str]:
    """The names that a text of YAML may give to results, facts and variables."""
    return set(NAMED.findall(source)) | set(KEY.findall(source))


def variables_read(name: str) -> set[str]:
    """The variables that a playbook reads and that neither it nor a role of its own sets: they come from whoever runs it."""
    own = (playbooks.FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    given = names_set(own)
    for role in playbooks.roles(name):
        text = playbooks.role_text(role)
        given |= names_set(text) | set(playbooks.role_options(role))
    if "include_vars" in own:
        for path in sorted((playbooks.ROOT / "awx").glob("*.yml")):
            given |= names_set(path.read_text(encoding="utf-8"))
    return {variable for variable in names_read(own) - given if not MAGIC.match(variable)}


def documented(name: str) -> set[str]:
    """The variables that the comment at the top of a playbook tells to give by -e, or names where the playbook itself reads them."""
    comment = playbooks.header(name)
    by_option = set(re.findall(r"-e ['\"]?(\w+)=", comment))
    for found in re.findall(r"-e '(\{.*?\})'", comment):
        by_option |= set(ast.literal_eval(found.replace("true", "True").replace("false", "False")))
    words = set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", comment))
    return by_option | (words & variables_read(name))


def test_every_playbook_has_a_spec() -> None:
    """And no spec is of a playbook that is gone."""
    assert sorted(playbooks.specs()) == playbooks.PLAYBOOKS


def test_the_spec_is_complete_in_itself(name: str) -> None:
    """Each argument has a type and a description, and a default that is of that type and among its choices."""
    assert playbooks.specs()[name]["short_description"]
    for argument, option in playbooks.options(name).items():
        assert option["description"], argument
        assert option["type"] in TYPES, argument
        assert (option["type"] == "list") == ("elements" in option), argument
        assert not (option.get("required") and "default" in option), argument
        if "default" in option:
            kind = {"str": str, "path": str, "bool": bool, "int": int, "float": (int, float), "list": list, "dict": dict}[option["type"]]
            assert isinstance(option["default"], kind), argument
            for chosen in option["default"] if option["type"] == "list" else [option["default"]]:
                assert chosen in option.get("choices", [chosen]), argument


def test_what_the_header_documents_is_in_the_spec(name: str) -> None:
    """Whoever reads the playbook finds nothing that the spec does not know."""
    assert documented(name) <= set(playbooks.options(name))


def test_what_the_playbook_reads_is_in_the_spec(name: str) -> None:
    """Nothing that only the source knows of can be given."""
    assert variables_read(name) <= set(playbooks.options(name))


def test_what_is_in_the_spec_is_used(name: str) -> None:
    """By the playbook, or by a role that it calls."""
    sources = [playbooks.body(name), *(playbooks.role_text(role) for role in playbooks.roles(name))]
    for argument in playbooks.options(name):
        assert any(re.search(rf"\b{argument}\b", source) for source in sources), f"{argument} is not used"


def test_the_spec_agrees_with_the_roles(name: str) -> None:
    """Type, elements, choices and default are those of the role that takes the argument; what a playbook requires has no default."""
    for role in playbooks.roles(name):
        for argument, of_role in playbooks.role_options(role).items():
            option = playbooks.options(name).get(argument)
            if option is None:
                continue
            keys = ["type", "elements", "choices"] + ([] if option.get("required") else ["default"])
            assert {key: option.get(key) for key in keys} == {key: of_role.get(key) for key in keys}, f"{argument} of {role}"


def test_the_spec_agrees_with_the_defaults_of_the_playbook(name: str) -> None:
    """What the playbook takes where nothing is given is what the spec says."""
    for argument, literal in re.findall(r"\b(\w+) \| default\((\[[^()]*?\]|'[^']*?'|\d+|true|false)[,)]", playbooks.body(name)):
        option = playbooks.options(name).get(argument)
        if option is None or option.get("required") or "default" not in option:
            continue
        if literal.strip("'") in PLACEHOLDERS:
            continue
        taken = ast.literal_eval({"true": "True", "false": "False"}.get(literal, literal))
        assert taken == option["default"] or not taken and not option["default"], argument
