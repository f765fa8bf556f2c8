# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an alert can lead to: only what is in the allow-list, and nothing that promotes, fails over or deletes data."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import ansible_rulebook
import jsonschema
import pytest
import yaml
from ansible_rulebook.condition_parser import parse_condition
from ansible_collections.mainstay.ops.plugins.module_utils._remediation.catalogue import RULES

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/remediate"

# What the tasks may call. Adding to these is a decision, not an accident.
MODULES = {
    "ansible.builtin.assert", "ansible.builtin.command", "ansible.builtin.debug", "ansible.builtin.fail", "ansible.builtin.include_role",
    "ansible.builtin.include_tasks", "ansible.builtin.import_tasks", "ansible.builtin.set_fact", "ansible.builtin.set_stats",
    "mainstay.ops.app_release_info", "mainstay.ops.health_probe", "mainstay.ops.remediation", "mainstay.ops.systemd_units",
}
ENTRY_POINTS = {
    ("mainstay.ops.app_host", "restart"),
    ("mainstay.ops.app_host", "restart_drain"),
    ("mainstay.ops.postgres_replication", "reinit"),
    ("mainstay.ops.postgres_replication", "status"),
}
CACHE_COMMANDS = {"apt": ["apt-get", "clean"], "journal": ["journalctl", "--vacuum-size={{ remediate_journal_keep }}"]}
KEYWORDS = {
    "name", "when", "vars", "register", "delegate_to", "become", "run_once", "no_log", "block", "rescue", "always", "loop", "changed_when",
    "ignore_unreachable", "module_defaults", "any_errors_fatal",
}


def load(path: pathlib.Path) -> t.Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def tasks(entries: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """All tasks, those in blocks too."""
    for entry in entries or []:
        yield entry
        for part in ("block", "rescue", "always"):
            yield from tasks(entry.get(part))


FILES = sorted((ROLE / "tasks").rglob("*.yml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_tasks_call_only_what_is_harmless(path: pathlib.Path) -> None:
    """Neither a module nor an entry point of a role that is not listed here."""
    for task in tasks(load(path)):
        modules = set(task) - KEYWORDS
        assert modules <= MODULES, f"{task['name']}: {modules - MODULES}"
        if role := task.get("ansible.builtin.include_role"):
            assert (role["name"], role["tasks_from"]) in ENTRY_POINTS, task["name"]
        if command := task.get("ansible.builtin.command"):
            assert command == {"argv": "{{ __remediate_cache_commands[item] }}"}


def test_an_action_is_done_on_the_target_alone() -> None:
    """But for the copy of a standby, of which all members of its cluster are told."""
    for path in (ROLE / "tasks/act").glob("*.yml"):
        for task in tasks(load(path)):
            assert path.stem == "reinit_replica" or task["when"] == "inventory_hostname == remediate_host", path.stem


def test_the_allow_list_the_role_and_the_playbook_agree() -> None:
    """Each action has a file of tasks, a choice, and a group; and there is no file beside them."""
    assert {path.stem for path in (ROLE / "tasks/act").glob("*.yml")} == set(RULES)
    options = load(ROLE / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert options["remediate_action"]["choices"] == ["", *RULES]
    variables = load(ROLE / "vars/main.yml")
    assert variables["__remediate_cache_commands"] == CACHE_COMMANDS
    assert set(options["remediate_caches"]["choices"]) == set(CACHE_COMMANDS)
    assert set(variables["__remediate_looks"]) == {action for action, rule in RULES.items() if rule.min_peers}
    plays = load(ROOT / "playbooks/remediate.yml")
    assert set(plays[0]["vars"]["concerned"]) == set(RULES)
    assert [list(task)[1] for play in plays for task in play["tasks"]] == [
        "ansible.builtin.assert", "ansible.builtin.assert", "ansible.builtin.group_by", "ansible.builtin.include_role",
    ]


def test_no_word_of_what_must_not_be_done() -> None:
    """In what runs: neither promoting, nor failing over, nor removing."""
    for path in [*FILES, ROLE / "vars/main.yml", ROOT / "playbooks/remediate.yml"]:
        code = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#"))
        assert not re.search(r"promote|failover|fail_over|switchover|site_follow|absent|\brm\b|drop|delete|shell", code, re.I), path


RULEBOOKS = sorted((ROOT / "extensions/eda/rulebooks").glob("*.yml"))
PLAIN_NAME = 'event.labels.instance is match("^[A-Za-z0-9._-]+(:[0-9]+)?$", ignorecase=false)'


@pytest.mark.parametrize("path", RULEBOOKS, ids=lambda path: path.stem)
def test_rulebook_is_one_for_ansible_rulebook(path: pathlib.Path) -> None:
    """By its own schema, and by its own parser of conditions."""
    schema = json.loads((pathlib.Path(ansible_rulebook.__file__).parent / "schema/ruleset_schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(load(path), schema)
    for ruleset in load(path):
        for rule in ruleset["rules"]:
            parse_condition(rule["condition"])


@pytest.mark.parametrize("path", RULEBOOKS, ids=lambda path: path.stem)
def test_rules_only_ask_for_what_is_allowed(path: pathlib.Path) -> None:
    """One rule for each action, which runs the one playbook with an action that is written out, for an alert that may ask for it, and with a throttle."""
    actions = []
    for ruleset in load(path):
        assert ruleset["execution_strategy"] == "sequential"
        (source,) = ruleset["sources"]
        assert source["eda.builtin.webhook"]["host"] == "127.0.0.1" and source["eda.builtin.webhook"]["token"] == "{{ eda_token }}"
        for rule in ruleset["rules"]:
            assert set(rule) == {"name", "condition", "throttle", "action"}
            ((kind, arguments),) = rule["action"].items()
            assert (kind, arguments["name"], set(arguments)) == ("run_playbook", "mainstay.ops.remediate", {"name", "extra_vars"})
            given = arguments["extra_vars"]
            assert set(given) == {"remediate_action", "remediate_alert", "remediate_host"}
            assert given["remediate_alert"] in RULES[given["remediate_action"]].alerts
            assert f'event.labels.alertname == "{given["remediate_alert"]}"' in rule["condition"]
            # The only thing that comes from an alert: a label that holds a name and nothing else.
            assert given["remediate_host"] == "{{ event.labels.instance.split(':')[0] }}" and PLAIN_NAME in rule["condition"]
            actions.append(given["remediate_action"])
    assert sorted(actions) == sorted(RULES)


def fired(name: str) -> list[dict[str, str]]:
    """The labels that an alert has where promtool's tests see it fire."""
    cases = [case for path in sorted((ROOT / "tests/unit/prometheus").glob("*.yml")) for test in load(path)["tests"] for case in test["alert_rule_test"]]
    return [alert["exp_labels"] for case in cases if case["alertname"] == name for alert in case["exp_alerts"]]


@pytest.mark.parametrize("name", sorted({name for rule in RULES.values() for name in rule.alerts}))
def test_every_alert_that_may_ask_is_a_rule_and_names_a_host(name: str) -> None:
    """An answer to an alert that never fires, or that does not say where, would never be given."""
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles/prometheus/templates/rules").glob("*.j2"))
    assert f"- alert: {name}\n" in rules
    assert fired(name), f"no test makes {name} fire"
    for labels in fired(name):
        assert re.fullmatch(r"[A-Za-z0-9._-]+(:[0-9]+)?", labels["instance"]), name
    assert f"`{name}`" in (ROOT / "docs/remediation.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RULEBOOKS, ids=lambda path: path.stem)
def test_every_alert_that_a_rulebook_waits_for_is_in_the_allow_list(path: pathlib.Path) -> None:
    """In its conditions, whatever the variables of the playbook are."""
    names = set(re.findall(r'alertname == "(\w+)"', path.read_text(encoding="utf-8")))
    assert names == {name for rule in RULES.values() for name in rule.alerts}
