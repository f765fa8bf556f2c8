# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for every module, role and playbook: the parts of the house agree with each other."""

from __future__ import annotations

import ast
import pathlib
import re
import typing as t

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = sorted(path for path in (ROOT / "plugins/modules").glob("*.py") if path.name != "__init__.py")
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))

# Equipment that makes the hosts of the tests; it is not called within a group of tasks that share defaults.
MODULES_WITHOUT_GROUP = {"lab_hosts"}

# Roles write configuration through config_tree and run services through systemd_units: these cost up to five SSH executions each.
SLOW_MODULES = {"template", "copy", "file", "service", "systemd", "systemd_service", "lineinfile", "blockinfile"}

# Roles that run on the controller alone, where nothing is saved by config_tree.
CONTROLLER_ROLES = {"lab"}


def name_of(path: pathlib.Path) -> str:
    """The name of a test case."""
    return path.stem


def load_yaml(path: pathlib.Path) -> t.Any:
    """Read a YAML file of the collection."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def constants(path: pathlib.Path) -> dict[str, str]:
    """The string constants at the top of a module, such as DOCUMENTATION."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found[node.targets[0].id] = node.value.value
    return found


def fragment_options(name: str) -> dict[str, t.Any]:
    """The options that a documentation fragment of this collection brings."""
    parts = name.removeprefix("mainstay.ops.").split(".")
    path = ROOT / "plugins/doc_fragments" / f"{parts[0]}.py"
    variable = parts[1].upper() if len(parts) > 1 else "DOCUMENTATION"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
            return yaml.safe_load(ast.literal_eval(node.value)).get("options", {})
    raise AssertionError(f"{name} has no {variable}")


def documented_options(path: pathlib.Path) -> dict[str, t.Any]:
    """All options of a module with those of its fragments."""
    documentation = yaml.safe_load(constants(path)["DOCUMENTATION"])
    options: dict[str, t.Any] = {}
    for fragment in documentation.get("extends_documentation_fragment", []):
        if fragment.startswith("mainstay.ops."):
            merge_options(options, fragment_options(fragment))
    merge_options(options, documentation.get("options", {}))
    return options


def merge_options(into: dict[str, t.Any], more: dict[str, t.Any]) -> None:
    """Add options as ansible-core does with fragments."""
    for name, option in (more or {}).items():
        into[name] = {**into.get(name, {}), **option}


def check_arguments(given: t.Any, options: dict[str, t.Any], where: str) -> None:
    """Fail unless the arguments of an example are ones that the documentation knows."""
    names = {alias: name for name, option in options.items() for alias in [name, *option.get("aliases", [])]}
    for argument, content in given.items():
        assert argument in names, f"{where}: there is no option {argument}"
        option = options[names[argument]]
        if "choices" in option and isinstance(content, str) and "{{" not in content:
            assert content in option["choices"], f"{where}: {argument} cannot be {content}"
        if "suboptions" in option:
            for element in content if isinstance(content, list) else [content]:
                if isinstance(element, dict):
                    check_arguments(element, option["suboptions"], f"{where}: {argument}")
    for name, option in options.items():
        assert not option.get("required") or name in [names[argument] for argument in given], f"{where}: {name} is missing"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_examples_parse_and_use_documented_options(path: pathlib.Path) -> None:
    """An example that is copied works."""
    tasks = yaml.safe_load(constants(path)["EXAMPLES"])
    assert tasks
    for task in tasks:
        for key in [key for key in task if key.startswith("mainstay.ops.")]:
            target = ROOT / "plugins/modules" / f"{key.removeprefix('mainstay.ops.')}.py"
            check_arguments(task[key], documented_options(target), f"{path.stem}: {task.get('name')}")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_in_an_action_group(path: pathlib.Path) -> None:
    """Shared defaults reach every module."""
    groups = load_yaml(ROOT / "meta/runtime.yml")["action_groups"]
    grouped = {member for members in groups.values() for member in members if isinstance(member, str)}
    assert path.stem in grouped | MODULES_WITHOUT_GROUP


def test_action_groups_name_modules_that_exist() -> None:
    """A group has no member that is gone."""
    groups = load_yaml(ROOT / "meta/runtime.yml")["action_groups"]
    grouped = {member for members in groups.values() for member in members if isinstance(member, str)}
    assert grouped <= {path.stem for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_return_keys(path: pathlib.Path) -> None:
    """Every module says in words what it did, and no key hides a method of a dictionary."""
    returned = yaml.safe_load(constants(path)["RETURN"])
    assert not {"values", "items", "keys"} & set(returned)
    if not path.stem.endswith("_info"):
        assert "actions" in returned


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_thin(path: pathlib.Path) -> None:
    """The logic stands in module_utils: main has at most 40 lines, any function 50, the module about 200 outside its documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    code = sum(
        node.end_lineno - node.lineno + 1 for node in tree.body if not (isinstance(node, (ast.Assign, ast.Expr)) and isinstance(node.value, ast.Constant))
    )
    assert code <= 220
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno + 1 <= (40 if node.name == "main" else 50), f"{node.name} is too long"


def imports_of(folder: pathlib.Path) -> set[str]:
    """Dotted names that the Python files of a folder import."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
    return found


def test_the_catalogue_knows_neither_postgresql_nor_redis() -> None:
    """Dependencies point downwards only."""
    names = " ".join(imports_of(ROOT / "plugins/module_utils/_catalog"))
    assert not re.search(r"_postgres|_redis|psycopg2|\bredis\b", names)


@pytest.mark.parametrize("path", sorted((ROOT / "plugins/filter").glob("*.py")), ids=name_of)
def test_a_filter_imports_what_it_needs_when_it_is_used(path: pathlib.Path) -> None:
    """To find one filter, Ansible imports the files of all filters of a collection, in each process of a host and task that uses one."""
    light = {"_errors", "_postgres.tuning"}
    top = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    found = {node.module.partition("module_utils.")[2] for node in top if node.module and node.module.startswith("ansible_collections.")}
    assert found <= light, found


def test_module_utils_import_no_module() -> None:
    """Dependencies point downwards only."""
    assert not [name for name in imports_of(ROOT / "plugins/module_utils") if ".plugins.modules" in name or ".plugins.action" in name]


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_role_specs_and_defaults_agree(role: pathlib.Path) -> None:
    """Each default is documented with the same value, and each documented default is one."""
    specs = load_yaml(role / "meta/argument_specs.yml")["argument_specs"]
    options: dict[str, t.Any] = {}
    for spec in specs.values():
        merge_options(options, spec.get("options", {}))
    defaults = load_yaml(role / "defaults/main.yml") or {}
    for name in options:
        assert name.startswith(f"{role.name}_") or name == "mainstay_no_log", name
    for name, content in defaults.items():
        assert name in options, f"{name} is not in the argument spec"
        computed = isinstance(content, str) and "{{" in content
        if not computed:
            assert options[name].get("default") == content, f"{name} has another default in the argument spec"
    for name, option in options.items():
        if "default" in option:
            assert name in defaults, f"{name} has a documented default that defaults/main.yml lacks"


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_role_takes_its_own_defaults(role: pathlib.Path) -> None:
    """A dictionary that is empty by default has no part that must be given: Ansible would refuse the default."""
    for entry, spec in load_yaml(role / "meta/argument_specs.yml")["argument_specs"].items():
        for name, option in (spec.get("options") or {}).items():
            if option.get("type") == "dict" and isinstance(option.get("default"), dict):
                required = {part for part, of_part in option.get("options", {}).items() if of_part.get("required")}
                assert required <= set(option["default"]), f"{entry}: {name} lacks {required}"


def tasks_of(role: pathlib.Path) -> t.Iterator[tuple[pathlib.Path, dict[str, t.Any]]]:
    """All tasks and handlers of a role, those within blocks too."""

    def walk(entries: t.Any) -> t.Iterator[dict[str, t.Any]]:
        for entry in entries or []:
            yield entry
            for part in ("block", "rescue", "always"):
                yield from walk(entry.get(part))

    for folder in ("tasks", "handlers"):
        for path in sorted((role / folder).rglob("*.yml")):
            for task in walk(load_yaml(path)):
                yield path, task


@pytest.mark.parametrize("role", [role for role in ROLES if role.name not in CONTROLLER_ROLES], ids=name_of)
def test_role_writes_files_in_one_round_trip(role: pathlib.Path) -> None:
    """No module that costs an SSH execution for each file or unit."""
    for path, task in tasks_of(role):
        slow = {f"ansible.builtin.{module}" for module in SLOW_MODULES} & set(task)
        assert not slow or task.get("delegate_to") == "localhost", f"{path.relative_to(ROOT)}: {task.get('name')} uses {', '.join(slow)}"


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_role_names_no_group(role: pathlib.Path) -> None:
    """Groups decide topology, and only inventories name them."""
    for path in role.rglob("*"):
        if path.is_file() and path.suffix in (".yml", ".j2"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\bgroups\[|\bgroups\.|group_names", text), path.relative_to(ROOT)


@pytest.mark.parametrize("role", ROLES, ids=name_of)
def test_role_reads_no_injected_fact_and_ignores_no_error(role: pathlib.Path) -> None:
    """Facts come through ansible_facts, and a failure is read, not swallowed."""
    for path, task in tasks_of(role):
        assert not task.get("ignore_errors"), f"{path.relative_to(ROOT)}: {task.get('name')}"
        assert not re.search(r"\bansible_(distribution|os_family|hostname|default_ipv4|memtotal_mb|processor)", str(task)), path.relative_to(ROOT)


@pytest.mark.parametrize("path", PLAYBOOKS, ids=name_of)
def test_plays_are_numbered_phases(path: pathlib.Path) -> None:
    """``(n/N) PHASE: purpose``, counted without a gap; a playbook of playbooks has none of its own."""
    plays = [play for play in load_yaml(path) if "hosts" in play]
    for number, play in enumerate(plays, start=1):
        match = re.match(r"\((\d+)/(\d+)\) [A-Z ]+: [a-z]", play["name"])
        assert match, play["name"]
        assert (int(match[1]), int(match[2])) == (number, len(plays)), play["name"]
