# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``awx_setup.yml`` against a stand-in for the API of AWX: planned, made, made again, changed. With a part of the files, which are of one kind each."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import typing as t

import awx_api
import awx_data
import playbooks
import pytest
import yaml

SECRET = "SecretOfTheTests"
# Enough to have each kind of survey, node and reference.
KEPT = {"job_templates": 4, "workflow_job_templates": 0, "schedules": 1, "inventories": 2}
GIVEN = {
    "awx_setup_project_url": "https://git.example.com/stack.git",
    "awx_setup_image": "registry.example.com/mainstay:1.0.0",
    "awx_setup_secrets": {"ssh_user": "ops", "ssh_key": SECRET},
    "awx_setup_webhook_url": "https://hooks.example.com/ops",
}
WORKFLOW = {
    "name": "mainstay small",
    "description": "A plan, a yes, a run",
    "survey_of": "restart",
    "survey": ["component"],
    "workflow_nodes": [
        {"identifier": "look", "unified_job_template": {"name": "mainstay preflight", "type": "job_template"},
         "inventory": {"name": "mainstay staging"}, "related": {"success_nodes": [{"identifier": "yes"}]}},
        {"identifier": "yes", "unified_job_template": {"name": "Go on", "type": "workflow_approval", "timeout": 60},
         "related": {"success_nodes": [{"identifier": "act"}]}},
        {"identifier": "act", "unified_job_template": {"name": "mainstay postflight", "type": "job_template"}, "job_type": "check"},
    ],
}


class Dumper(yaml.SafeDumper):
    """Writes texts that are not to be templated, as the files have them."""


class Unsafe(str):
    """Such a text."""


Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a part of the files."""
    folder = tmp_path_factory.mktemp("awx")
    for path in sorted(awx_data.FOLDER.glob("*.yml")):
        content = awx_data.file(path.stem)
        kept = KEPT.get(path.stem)
        if kept is not None:
            content[f"awx_{path.stem}"] = content[f"awx_{path.stem}"][:kept]
        if path.stem == "credential_types":
            injectors = {"extra_vars": {"backup_identity": Unsafe("{{ identity }}")}}
            content["awx_credential_types"] = [{**content["awx_credential_types"][0], "injectors": injectors}]
        if path.stem == "workflow_job_templates":
            content["awx_workflow_job_templates"] = [WORKFLOW]
        if path.stem == "schedules":
            content["awx_schedules"][0]["unified_job_template"] = "mainstay patch"
        (folder / path.name).write_text(yaml.dump(content, Dumper=Dumper), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def awx() -> t.Iterator[tuple[str, awx_api.Api]]:
    """The address of AWX, and what it holds."""
    with awx_api.serving() as served:
        yield served


def setup(url: str, data: pathlib.Path, *arguments: str, token: str = awx_api.TOKEN, **further: t.Any) -> subprocess.CompletedProcess[str]:
    """Run the playbook."""
    environment = {**os.environ, "CONTROLLER_HOST": url, "CONTROLLER_OAUTH_TOKEN": token, "ANSIBLE_CONFIG": str(playbooks.ROOT / "ansible.cfg")}
    extra = json.dumps({**GIVEN, "awx_setup_data": str(data), **further})
    command = ["ansible-playbook", str(playbooks.FOLDER / "awx_setup.yml"), "--extra-vars", extra, *arguments]
    done = subprocess.run(command, cwd=playbooks.ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert SECRET not in done.stdout + done.stderr
    return done


def changed(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks have changed something."""
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"localhost\s+: ok=\d+\s+changed=(\d+)", done.stdout)[1])


def test_awx_is_set_up(awx: tuple[str, awx_api.Api], data: pathlib.Path) -> None:
    """A plan writes nothing, a run makes everything, and a second one changes nothing."""
    url, api = awx
    planned = setup(url, data, "--check")
    assert changed(planned) == 1 and "mainstay small" in planned.stdout and "mainstay hosts" in planned.stdout
    assert api.writes == []
    assert changed(setup(url, data)) > 8
    holds_what_was_wanted(api)
    made = len(api.writes)
    # Approvals are sent again, as they are, since awx.awx cannot compare them, and the task of workflows says so; nothing else is written.
    assert changed(setup(url, data)) <= 1
    assert [write for write in api.writes[made:] if "workflow_approval_templates" not in write] == []


def holds_what_was_wanted(api: awx_api.Api) -> None:
    """What AWX holds, seen through its API alone."""
    templates = api.named("job_templates")
    assert sorted(templates) == sorted(awx_data.names("job_templates")[:4])
    patch = templates["mainstay patch"]
    assert (patch["playbook"], patch["ask_job_type_on_launch"]) == ("playbooks/patch.yml", True)
    assert patch["inventory"] == api.named("inventories")["mainstay staging"]["id"]
    [reboot] = [question for question in api.surveys[patch["url"]]["spec"] if question["variable"] == "patch_reboot"]
    assert (reboot["type"], reboot["choices"], reboot["default"]) == ("multiplechoice", ["never", "if_needed"], "never")
    assert api.associations[f"job_templates/{patch['id']}/credentials"] == [api.named("credentials")["mainstay hosts"]["id"]]
    assert list(api.named("credentials")) == ["mainstay hosts"] and list(api.named("notification_templates")) == ["mainstay by webhook"]
    assert api.named("credential_types")["mainstay backup identity"]["injectors"] == {"extra_vars": {"backup_identity": "{{ identity }}"}}
    nodes = {node["identifier"]: node for node in api.objects["workflow_job_template_nodes"].values()}
    assert api.associations[f"workflow_job_template_nodes/{nodes['look']['id']}/success_nodes"] == [nodes["yes"]["id"]]
    assert nodes["yes"]["unified_job_template"] == api.named("workflow_approval_templates")["Go on"]["id"]
    assert nodes["act"]["job_type"] == "check"


@pytest.mark.parametrize(("given", "token", "words"), [
    ({"awx_setup_image": ""}, awx_api.TOKEN, "Nothing was changed."),
    ({}, "wrong", "401"),
])
def test_what_cannot_be_set_up_is_refused(awx: tuple[str, awx_api.Api], data: pathlib.Path, given: dict[str, t.Any], token: str, words: str) -> None:
    """Before anything is written."""
    url, api = awx
    before = len(api.writes)
    done = setup(url, data, token=token, **given)
    assert done.returncode != 0 and words in done.stdout + done.stderr
    assert len(api.writes) == before
