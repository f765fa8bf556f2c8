# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories of docs/howto/inventories.md: Ansible reads each one as it stands, and the roles that run on its hosts take its variables."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
import typing as t

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from documents import ROOT, blocks, role_variables

PAGE = ROOT / "docs/howto/inventories.md"
TEXT = PAGE.read_text(encoding="utf-8")
GROUPS = {"lb", "app", "postgres", "dcs", "redis", "monitoring"}
# What runs on a group by playbooks/site.yml, playbooks/aws_platform.yml and playbooks/deploy.yml; a role with checks of its own is asked as well.
ROLES = {
    "base": "lb:app:postgres:dcs:redis:monitoring",
    "postgres_replication": "postgres:dcs",
    "redis_sentinel": "redis",
    "backup": "postgres:redis",
    "app_host": "app",
    "nginx_tls": "lb",
    "prometheus": "monitoring",
    "aws_platform": "aws",
    "ecs_app": "ecs",
}
# The facts that these checks read, so that it does not matter what the tests run on.
FACTS = {"distribution": "Debian", "distribution_major_version": "13", "distribution_version": "13.2", "memtotal_mb": 8000, "processor_vcpus": 4}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"

Inventory = t.Tuple[str, str]


def inventories() -> list[Inventory]:
    """The snippets with what their first lines call them."""
    return [(f"{block.splitlines()[0].removeprefix('# ')} (line {line})", block) for line, block in blocks(TEXT, {"yaml"})]


def checking_playbook() -> list[dict[str, t.Any]]:
    """A playbook that changes nothing: each role's argument spec, then the checks with which the role itself begins."""
    plays: list[dict[str, t.Any]] = [
        {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": {**FACTS, "cacheable": True}}]},
    ]
    for role, hosts in ROLES.items():
        spec = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
        options = {name: option for name, option in spec["options"].items() if "default" not in option or option.get("required")}
        tasks: list[dict[str, t.Any]] = [{"ansible.builtin.validate_argument_spec": {"argument_spec": options}, "vars": {"role": role}}]
        if (ROOT / "roles" / role / "tasks/assert.yml").exists():
            tasks.append({"ansible.builtin.import_role": {"name": f"mainstay.ops.{role}", "tasks_from": "assert"}})
        plays.append({"name": role, "hosts": hosts, "gather_facts": False, "tasks": tasks})
    return plays


@pytest.fixture(params=inventories(), ids=lambda inventory: inventory[0])
def inventory(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder of an inventory with the files that its reader would have beside it."""
    block = request.param[1]
    (tmp_path / "hosts.yml").write_text(f"---\n{block}", encoding="utf-8")
    (tmp_path / "pki").mkdir()
    for name in ["ca.crt", *(f"{host}.{kind}" for host in re.findall(r"\b(\w+): \{ansible_host", block) for kind in ("crt", "key"))]:
        (tmp_path / "pki" / name).write_text(PEM, encoding="utf-8")
    for name in ("backup.pub", "backup.key"):
        (tmp_path / name).write_text("age1example", encoding="utf-8")
    secrets = {name: f"sixteen-letters-{name}" for name in re.findall(r"\bvault_\w+", block)}
    (tmp_path / "vault.json").write_text(json.dumps(secrets), encoding="utf-8")
    return tmp_path


def run(program: str, folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs with the inventory of a folder."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    argv = [program, "-i", str(folder / "hosts.yml"), *arguments]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_ansible_reads_it_and_finds_all_groups(inventory: pathlib.Path) -> None:
    listed = run("ansible-inventory", inventory, "--list")
    assert listed.returncode == 0, listed.stderr
    groups = json.loads(listed.stdout)
    text = (inventory / "hosts.yml").read_text(encoding="utf-8")
    needed = {"aws", "ecs"} if "aws_platform_name" in text else GROUPS
    assert needed <= set(re.findall(r"^    (\w+): \{hosts:", text, re.MULTILINE))
    assert groups["_meta"]["hostvars"], "it has no hosts"
    voters = groups.get("dcs", {}).get("hosts", [])
    members = {member["name"] for host in groups["_meta"]["hostvars"].values() for member in host.get("postgres_replication_dcs_members", [])}
    assert set(voters) == members, "the group dcs and postgres_replication_dcs_members name different hosts"


def test_the_roles_take_its_variables(inventory: pathlib.Path) -> None:
    (inventory / "check.json").write_text(json.dumps(checking_playbook()), encoding="utf-8")
    # A cluster that follows another one would ask that one.
    alone = {"ansible_python_interpreter": sys.executable, "postgres_replication_standby_of": {}}
    done = run("ansible-playbook", inventory, "check.json", "-c", "local", "-e", "@vault.json", "-e", json.dumps(alone))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", [block for dummy, block in inventories()], ids=[name for name, dummy in inventories()])
def test_its_variables_are_ones_of_the_roles(block: str) -> None:
    prefixes = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
    for name in re.findall(r"^    ([a-z]\w*):", block, re.MULTILINE):
        role = max((role for role in prefixes if name.startswith(f"{role}_")), key=len, default=None)
        assert role is None or name in role_variables(role), name
