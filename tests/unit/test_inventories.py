# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example inventories are complete: every variable is an option of a role, of the right type, for every host; and no secret stands in them."""

from __future__ import annotations

import functools
import pathlib
import re
import sys
import typing as t

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import playbooks

from ansible_collections.mainstay.ops.plugins.module_utils._recovery import policy

FOLDER = playbooks.ROOT / "inventories"
SITES = ["production/site_a.yml", "production/site_b.yml", "staging/hosts.yml"]
FILES = sorted(path for name in ("production", "staging") for path in (FOLDER / name).rglob("*.yml") if not path.is_symlink())
# Which roles take the variables of a group, as the plays of site.yml have it.
ROLES = {
    "lb": ["nginx_tls"],
    "app": ["app_host", "postgres_proxy"],
    "postgres": ["postgres_replication", "backup"],
    "dcs": ["postgres_replication"],
    "redis": ["redis_sentinel", "backup"],
    "monitoring": ["prometheus"],
    "drill": ["recovery_drill"],
}
GROUPS = {"lb", "app", "postgres", "dcs", "redis", "monitoring", "drill", "aws", "ecs"}
SECRET = "value-of-the-tests"
NAMES = re.findall(r"\b(?:postgres|redis|backup|patroni)_\w+", (FOLDER / "production/group_vars/all/secrets.yml.example").read_text(encoding="utf-8"))


@functools.cache
def inventory(name: str) -> tuple[InventoryManager, VariableManager]:
    """An inventory with secrets and certificates of the tests."""
    loader = DataLoader()
    manager = InventoryManager(loader, sources=[str(FOLDER / name)])
    variables = VariableManager(loader, manager)
    HostVars(manager, variables, loader)
    keys = {host.name: SECRET for host in manager.get_hosts()}
    variables._extra_vars = {"secrets": {**dict.fromkeys(NAMES, SECRET), "tls_keys": keys}, "site_certificate": "PEM", "site_ca": "PEM"}
    return manager, variables


def variables_of(name: str, host: str, *wanted: str) -> dict[str, t.Any]:
    """The options of roles and playbooks that a host has, worked out: those that are named, or all."""
    manager, variables = inventory(name)
    given = variables.get_vars(host=manager.get_host(host))
    templar = Templar(DataLoader(), variables=given)
    return {key: templar.template(given[key]) for key in given if key in (wanted or OPTIONS)}


OPTIONS = {option for path in (playbooks.ROOT / "roles").iterdir() for option in playbooks.role_options(path.name)} | {"site_checks"}
HOSTS = [pytest.param(name, host.name, id=f"{name}:{host.name}") for name in SITES for host in inventory(name)[0].get_hosts()]


@pytest.mark.parametrize("name", SITES)
def test_the_groups_are_those_of_every_inventory(name: str) -> None:
    """Groups decide the topology: the same names everywhere, and every host is in one and at a site."""
    manager = inventory(name)[0]
    assert set(manager.groups) >= GROUPS
    for host in manager.get_hosts():
        groups = {group.name for group in host.get_groups()}
        assert groups & GROUPS and groups & {"site_a", "site_b"}, host.name
    assert len(manager.groups["dcs"].get_hosts()) % 2 == 1


@pytest.mark.parametrize(("name", "host"), HOSTS)
def test_every_host_has_what_its_roles_take(name: str, host: str) -> None:
    """All variables can be worked out, and are what the argument specifications say."""
    given = variables_of(name, host)
    groups = {group.name for group in inventory(name)[0].get_host(host).get_groups()}
    for role in ["base"] + [role for group in groups & set(ROLES) for role in ROLES[group]]:
        options = playbooks.role_options(role)
        params = {key: given[key] for key in given if key in options}
        result = ArgumentSpecValidator({key: options[key] for key in params}).validate(params)
        assert not result.error_messages, f"{role}: {result.error_messages}"


def top_level(path: pathlib.Path) -> dict[str, t.Any]:
    """The variables of a file of variables; none of one with hosts."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {} if "all" in content else content


def test_every_variable_is_an_option_or_is_used() -> None:
    """Nothing is set that nothing reads."""
    options = OPTIONS | {option for spec in playbooks.specs().values() for option in spec.get("options", {})}
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    for path in FILES:
        for variable in top_level(path):
            used = len(re.findall(rf"\b{variable}\b(?!:)", text)) > 0
            assert variable in options or variable.startswith("ansible_") or used, f"{path.relative_to(FOLDER)}: {variable}"


@pytest.mark.parametrize("path", [*FILES, FOLDER / "production/group_vars/all/secrets.yml.example"], ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_secret_stands_in_them(path: pathlib.Path) -> None:
    """What is named like a secret comes from elsewhere."""

    def walk(key: str, content: t.Any) -> None:
        if isinstance(content, dict):
            for name, part in content.items():
                walk(str(name), part)
        elif isinstance(content, list):
            for part in content:
                walk(key, part)
        elif isinstance(content, str) and re.search(r"(?i)password|passphrase|secret|identity|token|access_key|(^|_)key$", key):
            assert content.startswith("{{ "), f"{key}: {content[:10]}"

    text = path.read_text(encoding="utf-8")
    walk("", yaml.safe_load(text))
    assert not re.search(r"AGE-SECRET-KEY-1|BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}", text)


def test_the_secrets_that_are_named_are_those_that_are_used() -> None:
    """The list in the example file is complete, and has nothing that nobody reads."""
    used = {name for path in FILES for name in re.findall(r"\bsecrets\.(\w+)", path.read_text(encoding="utf-8"))}
    assert used == {*NAMES, "tls_keys"}


def test_the_site_that_does_not_lead_follows() -> None:
    """By the slot that the leading one keeps for it."""
    leading = variables_of("production/site_a.yml", "a-data1")
    following = variables_of("production/site_b.yml", "b-data1")
    assert leading["postgres_replication_standby_of"] == {}
    assert following["postgres_replication_standby_of"] == {"hosts": ["10.10.0.31", "10.10.0.32", "10.10.0.33"], "slot": "site_b"}
    assert (leading["postgres_replication_site_slots"], following["postgres_replication_site_slots"]) == (["site_b"], [])
    assert (leading["postgres_replication_site_networks"], following["postgres_replication_site_networks"]) == (["10.20.0.0/24"], ["10.10.0.0/24"])
    alone = variables_of("staging/hosts.yml", "s-data1")
    assert (alone["postgres_replication_standby_of"], alone["postgres_replication_site_slots"], alone["postgres_replication_site_networks"]) == ({}, [], [])


FAILOVER = {option for option in playbooks.role_options("site_failover") if option not in playbooks.specs()["dr_failover"]["options"]}


def failover_of(name: str, host: str) -> dict[str, t.Any]:
    """What a host knows of the other site, checked by the role's specification."""
    given = {key: found for key, found in variables_of(name, host, *FAILOVER).items() if key in FAILOVER}
    options = playbooks.role_options("site_failover")
    result = ArgumentSpecValidator({key: options[key] for key in given}).validate(given)
    assert not result.error_messages, result.error_messages
    return given


@pytest.mark.parametrize(("host", "own", "other"), [("a-data2", "site_a", "site_b"), ("b-data2", "site_b", "site_a")])
def test_each_site_knows_how_to_take_over_and_to_follow(host: str, own: str, other: str) -> None:
    """The inventory of both sites has what dr_failover.yml and dr_failback.yml need, each way."""
    given = failover_of("production", host)
    here, there = ([f"10.{number}.0.3{last}" for last in (1, 2, 3)] for number in ((10, 20) if own == "site_a" else (20, 10)))
    postgres = given["site_failover_postgres"]
    assert postgres["endpoints"] == [f"https://{address}:8008" for address in here]
    assert postgres["source_endpoints"] == given["site_failover_guard"]["other"] == [f"https://{address}:8008" for address in there]
    assert postgres["standby_of"] == {"hosts": there, "slot": own} and postgres["standby_cluster"]["primary_slot_name"] == own
    assert postgres["slots"] == [other] == [postgres["follow"]["primary_slot_name"]] and postgres["follow"]["host"] == ",".join(here)
    assert postgres["member"] == host.replace("2", "1")
    assert [proof["login_host"] for proof in given["site_failover_proofs"]] == there
    name = given["site_failover_dns"][0]
    assert name[name["sides"][own]]["addresses"] == ["192.0.2.10" if own == "site_a" else "198.51.100.10"]
    assert given["site_failover_guard"]["units"] == ["patroni.service"]
    assert failover_of("production", host[0] + "-app1")["site_failover_guard"] == {}


def test_a_site_alone_has_nobody_to_take_over_from() -> None:
    """What is meant for two sites is empty for one."""
    given = failover_of("staging/hosts.yml", "s-data1")
    assert [given[f"site_failover_{name}"] for name in ("postgres", "dns", "proofs", "guard")] == [{}, [], [], {}]


@pytest.mark.parametrize(("name", "host", "migrates"), [("production/site_a.yml", "a-app1", True), ("production/site_b.yml", "b-app1", False)])
def test_a_release_at_the_site_that_follows_waits_for_a_database(name: str, host: str, *, migrates: bool) -> None:
    """It has no migrations, and is alive before it is ready."""
    given = variables_of(name, host)
    assert bool(given["app_host_migrate_command"]) == migrates == given["app_host_backup_before_migration"]
    assert given["app_host_ready_path"] == ("/health/ready" if migrates else "/health/live")


def test_with_both_sites_a_host_knows_its_own() -> None:
    """The whole folder is an inventory too; members are still those of the site."""
    manager = inventory("production")[0]
    assert len(manager.groups["postgres"].get_hosts()) == 6
    assert [member["name"] for member in variables_of("production", "b-data2")["postgres_replication_members"]] == ["b-data1", "b-data2", "b-data3"]


def test_staging_is_production_but_for_what_distinguishes_it() -> None:
    """The files are links, so that what is tried there is what goes on."""
    own = {str(path.relative_to(FOLDER / "staging")) for path in (FOLDER / "staging").rglob("*") if path.is_file() and not path.is_symlink()}
    assert own == {"hosts.yml", "group_vars/all/stack.yml"}
    names = {str(path.relative_to(FOLDER / "production")) for path in (FOLDER / "production/group_vars").rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(FOLDER / "staging")) for path in (FOLDER / "staging/group_vars").rglob("*") if path.is_file()}
    assert set(top_level(FOLDER / "staging/group_vars/all/stack.yml")) == set(top_level(FOLDER / "production/group_vars/all/stack.yml"))


def test_no_default_of_a_survey_hides_the_inventory() -> None:
    """A default of a question counts more than the inventory, so that no question is asked for what that sets."""
    import awx_data

    set_there = {variable for path in FILES for variable in top_level(path)}
    for kind in ("job_templates", "workflow_job_templates"):
        for entry in awx_data.of(kind):
            assert not set_there & set(entry.get("survey", [])), entry["name"]


@pytest.mark.parametrize(("name", "host"), [("production/site_a.yml", "a-data1"), ("production/site_b.yml", "b-drill1"), ("staging/hosts.yml", "s-drill1"),
                                            ("lab/hosts.yml", "data1"), ("lab/hosts.yml", "dr1")])
def test_the_policy_is_one_that_can_be_kept(name: str, host: str) -> None:
    """It names every part, and promises no less loss than the time between two backups, unless a log is archived between them."""
    parts = {part.name: part for part in policy.read(variables_of(name, host, "recovery_policy")["recovery_policy"])}
    assert set(parts) == set(policy.TARGETS)
    times = {part: parts[part].recovery_time for part in parts}
    assert times == {"application": 900, "database": 1800, "cache": 300, "files": 600, "monitoring": 1200}
    for part in (part for part in parts.values() if part.backups):
        assert part.frequency, part
        logged = part.name == "database" and "lab" not in name
        assert logged or part.frequency < part.recovery_point, part


@pytest.mark.parametrize(("name", "host"), [("production/site_b.yml", "b-drill1"), ("staging/hosts.yml", "s-drill1")])
def test_the_leading_site_is_rehearsed(name: str, host: str) -> None:
    """Wherever the host is that does it."""
    given = variables_of(name, host, "recovery_drill_name", "recovery_drill_store")
    assert (given["recovery_drill_name"], given["recovery_drill_store"]["prefix"]) == ("shop-site_a", "site_a")


def test_lists_of_hosts_have_an_order() -> None:
    """What `intersect` leaves is in another order in every run, and with it what is made of it."""
    assert [str(path) for path in sorted(FOLDER.rglob("*.yml")) if re.search(r"\| *intersect\([^|]*\)(?! \| length)", path.read_text(encoding="utf-8"))] == []
