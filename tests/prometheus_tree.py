# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role ``prometheus`` writes, in a folder instead of ``/etc``: rendered by Ansible, from the role's own templates and defaults.

``python tests/prometheus_tree.py FOLDER`` leaves the rules and promtool's tests of them there, for a promtool of another host.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import typing as t

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROLE = ROOT / "roles/prometheus"
TESTS = ROOT / "tests/unit/prometheus"
# The list with the content of each file, as config_tree renders it.
RENDERED = """
{{%- set found = [] -%}}
{{%- for entry in lookup('ansible.builtin.template', '{0}') | from_yaml -%}}
{{%- set text = {{'content': lookup('ansible.builtin.template', entry.src)}} if entry.src is defined else {{}} -%}}
{{%- set _ = found.append(entry | combine(text)) -%}}
{{%- endfor -%}}
{{{{ found | to_json }}}}
""".strip()
RUNBOOKS = "https://github.com/mainstay/mainstay.ops/blob/main/docs/runbooks/alerts"


def rendered(folder: pathlib.Path, expression: str, **variables: t.Any) -> t.Any:
    """Return what an expression of Ansible gives within the role.

    Args:
        folder: where the playbook for that is made.
        expression: its text is JSON.
        variables: the role's variables, instead of its defaults.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("templates", "files"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROLE / name)
    play = {
        "name": "Render what the role writes",
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), *(str(path) for path in sorted((ROLE / "vars/main").glob("*.yml")))],
        "tasks": [{"name": "Render", "ansible.builtin.copy": {"content": expression, "dest": f"{folder}/rendered.json", "mode": "0600"}}],
    }
    (folder / "play.json").write_text(json.dumps([play]), encoding="utf-8")
    (folder / "variables.json").write_text(json.dumps({"ansible_managed": "Ansible managed", **variables}), encoding="utf-8")
    argv = [f"{pathlib.Path(sys.executable).parent}/ansible-playbook", "-i", "localhost,", "-e", f"@{folder}/variables.json", str(folder / "play.json")]
    environment = {**os.environ, "ANSIBLE_INJECT_FACT_VARS": "false", "ANSIBLE_NOCOLOR": "1"}
    run = subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads((folder / "rendered.json").read_text(encoding="utf-8"))


def entries(folder: pathlib.Path, template: str = "tree.yml.j2", **variables: t.Any) -> list[dict[str, t.Any]]:
    """Return a list of files that the role hands to ``config_tree``, with their content; ``template`` says which of the role's lists."""
    return rendered(folder, RENDERED.format(template), **variables)


def write_tree(folder: pathlib.Path, template: str = "tree.yml.j2", **variables: t.Any) -> pathlib.Path:
    """Write the files of such a list below a folder; return the one that stands for ``/etc/prometheus``."""
    for entry in entries(folder / "render", template, **variables):
        path = folder / entry["dest"].lstrip("/")
        if entry.get("state") == "directory":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(int(entry.get("mode", "0644"), base=8))
            path.write_text(entry["content"], encoding="utf-8")
    return folder / "etc/prometheus"


def write_rules(folder: pathlib.Path, **variables: t.Any) -> list[pathlib.Path]:
    """Write the rule files into ``rules`` below a folder; return their paths."""
    rules = folder / "rules"
    rules.mkdir(parents=True)
    written = []
    for entry in entries(folder / "render", **variables):
        if pathlib.PurePosixPath(entry["dest"]).parent.name == "rules" and "content" in entry:
            written.append(rules / pathlib.PurePosixPath(entry["dest"]).name)
            written[-1].write_text(entry["content"], encoding="utf-8")
    return written


def variables_of_tests() -> dict[str, t.Any]:
    """What promtool's tests set besides the defaults: what the role knows no default for."""
    return yaml.safe_load((TESTS / "variables/main.yml").read_text(encoding="utf-8"))


def write_tests(folder: pathlib.Path) -> list[pathlib.Path]:
    """Write promtool's tests; each alert that is expected has the address of its runbook, which another test looks at."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(TESTS.glob("*.yml")):
        # As text: what promtool reads as 200 zeros, 0x200, is a number for YAML.
        tests = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
        for case in (case for test in tests["tests"] for case in test.get("alert_rule_test", [])):
            for alert in case["exp_alerts"]:
                alert["exp_annotations"]["runbook_url"] = f"{RUNBOOKS}/{path.stem}.md#{case['alertname'].lower()}"
        written.append(folder / path.name)
        written[-1].write_text(yaml.safe_dump(tests, width=1000), encoding="utf-8")
    return written


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    write_rules(target, **variables_of_tests())
    shutil.rmtree(target / "render")
    write_tests(target)
