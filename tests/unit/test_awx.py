# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in ``awx`` fit the playbooks, each other, and what AWX takes."""

from __future__ import annotations

import pathlib
import re
import sys
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.mainstay.ops.plugins.filter.awx_survey import awx_survey
from dateutil import rrule

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import awx_api
import awx_data
import playbooks

# They make and remove the hosts of the lab on one machine, or set up AWX itself.
WITHOUT_TEMPLATE = {"awx_setup", "lab_up", "lab_down"}
KINDS = sorted(path.stem for path in awx_data.FOLDER.glob("*.yml"))
WITH_SURVEY = [
    pytest.param(entry.get("survey_of", entry.get("playbook")), entry, id=entry["name"])
    for kind in ("job_templates", "workflow_job_templates")
    for entry in awx_data.of(kind)
    if "survey" in entry
]
FORMS = {
    "str": {"text", "multiplechoice"},
    "path": {"text"},
    "bool": {"multiplechoice"},
    "int": {"integer"},
    "float": {"float"},
    "list": {"text", "multiselect"},
}
DAYS = range(800)


def test_every_playbook_has_a_job_template() -> None:
    """One, and none is of a playbook that is gone."""
    assert sorted(entry["playbook"] for entry in awx_data.of("job_templates")) == sorted(set(playbooks.PLAYBOOKS) - WITHOUT_TEMPLATE)


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_unique_and_found(kind: str) -> None:
    """They begin with the product's name, and no two objects share one."""
    assert len(set(awx_data.names(kind))) == len(awx_data.names(kind))
    assert [name for name in awx_data.names(kind) if not name.startswith(("mainstay", "{{ awx_setup_"))] == []


@pytest.mark.parametrize(("playbook", "entry"), WITH_SURVEY)
def test_questions_are_arguments_of_the_playbook(playbook: str, entry: dict[str, t.Any]) -> None:
    """With its type, its choices and its default, and AWX takes the survey."""
    options = playbooks.options(playbook)
    survey = awx_survey(options, entry["survey"], entry.get("requires", []))
    assert awx_api.survey_problem(survey) == ""
    assert [question["variable"] for question in survey["spec"]] == entry["survey"]
    for question in survey["spec"]:
        option = options[question["variable"]]
        assert question["type"] in FORMS[option["type"]]
        assert question.get("choices") == (["true", "false"] if option["type"] == "bool" else option.get("choices"))
        assert default_as_argument(question, option) == (None if option.get("default") in ("", [], None) else option["default"])
        assert question["question_name"] and len(question["question_name"]) <= 160
        assert question["required"] == (option.get("required", False) or question["variable"] in entry.get("requires", []))
        # Nobody could leave such a question unanswered.
        assert question["type"] != "multiplechoice" or question["required"] or "default" in question


def default_as_argument(question: dict[str, t.Any], option: dict[str, t.Any]) -> t.Any:
    """The default of a question, as the playbook gets it."""
    default = question.get("default")
    if option["type"] == "bool":
        return {"true": True, "false": False}[default]
    if option["type"] == "list" and default is not None:
        return default.split("\n" if "choices" in option else ",")
    return default


@pytest.mark.parametrize(("playbook", "entry"), WITH_SURVEY)
def test_a_question_asks_for_no_secret(playbook: str, entry: dict[str, t.Any]) -> None:
    """Secrets are credentials of AWX."""
    assert [variable for variable in entry["survey"] if re.search("password|secret|token|key|identity", variable)] == []


@pytest.mark.parametrize(("variables", "requires", "words"), [
    (["there"], [], "the playbook has no argument there; it has login, name"),
    (["login"], [], "login is a dict, which AWX has no question for"),
    ([], ["name"], "name shall be required, but is not asked for"),
])
def test_a_survey_that_cannot_be_is_refused(variables: list[str], requires: list[str], words: str) -> None:
    """With the name of what is wrong."""
    options = {"name": {"type": "str", "description": "A name."}, "login": {"type": "dict", "description": "How to log in."}}
    with pytest.raises(AnsibleFilterError, match=re.escape(words)):
        awx_survey(options, variables, requires)


def test_the_form_of_a_question() -> None:
    """Text, choices and default come from the argument."""
    option = {"type": "list", "elements": "str", "choices": ["a", "b"], "default": ["a", "b"], "description": ["What is done. V(a) is C(less).", "Or all."]}
    assert awx_survey({"parts": option}, ["parts"])["spec"] == [
        {
            "variable": "parts", "question_name": "What is done", "question_description": "a is less. Or all.", "required": False,
            "type": "multiselect", "choices": ["a", "b"], "default": "a\nb",
        }
    ]


def test_workflows_name_what_there_is() -> None:
    """Job templates, inventories and nodes."""
    for workflow in awx_data.of("workflow_job_templates"):
        nodes = workflow["workflow_nodes"]
        identifiers = [node["identifier"] for node in nodes]
        assert len(set(identifiers)) == len(identifiers)
        for node in nodes:
            template = node["unified_job_template"]
            assert template["type"] == "workflow_approval" or template["name"] in awx_data.names("job_templates"), node
            assert node.get("inventory", {}).get("name", "mainstay staging") in awx_data.names("inventories"), node
            for following in node.get("related", {}).values():
                assert {entry["identifier"] for entry in following} <= set(identifiers), node


def test_workflows_give_what_templates_take() -> None:
    """What a node or a survey gives is an argument of a playbook of the workflow; a rollback is not told where to go by the name of the new release."""
    for workflow in awx_data.of("workflow_job_templates"):
        by_name = {entry["name"]: entry["playbook"] for entry in awx_data.of("job_templates")}
        named = [(node["unified_job_template"]["name"], node) for node in workflow["workflow_nodes"]]
        called = [(by_name[name], node) for name, node in named if name in by_name]
        for playbook, node in called:
            assert set(node.get("extra_data", {})) <= set(playbooks.options(playbook)), node
        assert "survey_of" not in workflow or workflow["survey_of"] in [playbook for playbook, node in called]
        assert "rollback" not in [playbook for playbook, node in called] or "app_release" not in workflow["survey"]


def test_what_changes_production_is_approved() -> None:
    """A deployment, a restore or a promotion there comes after a node where a person says yes."""
    for workflow in awx_data.of("workflow_job_templates"):
        parents: dict[str, list[str]] = {}
        nodes = {node["identifier"]: node for node in workflow["workflow_nodes"]}
        for node in nodes.values():
            for following in node.get("related", {}).values():
                for entry in following:
                    parents.setdefault(entry["identifier"], []).append(node["identifier"])
        for identifier, node in nodes.items():
            changes = node["unified_job_template"]["name"] in (
                "mainstay deploy", "mainstay restore", "mainstay postgres site promote", "mainstay dr failover", "mainstay dr failback",
            )
            if changes and node["inventory"]["name"] != "mainstay staging" and node.get("job_type") != "check":
                assert is_guarded(identifier, nodes, parents), identifier


def test_a_site_that_takes_over_is_confirmed() -> None:
    """What changes says so for the site that it names; what plans does not."""
    moves = [node for workflow in awx_data.of("workflow_job_templates") for node in workflow["workflow_nodes"]
             if node["unified_job_template"]["name"] in ("mainstay dr failover", "mainstay dr failback")]
    assert len(moves) == 4
    for node in moves:
        given = node["extra_data"]
        assert {given["site_failover_from"], given["site_failover_to"]} == {"site_a", "site_b"}
        assert given.get("site_failover_confirm") == (None if node.get("job_type") == "check" else given["site_failover_to"])


def is_guarded(identifier: str, nodes: dict[str, t.Any], parents: dict[str, list[str]]) -> bool:
    """Whether every way to a node leads through an approval. A workflow has no circles."""
    before = parents.get(identifier, [])
    return bool(before) and all(nodes[parent]["unified_job_template"]["type"] == "workflow_approval" or is_guarded(parent, nodes, parents) for parent in before)


@pytest.mark.parametrize("schedule", awx_data.of("schedules"), ids=awx_data.names("schedules"))
def test_schedules_come_true(schedule: dict[str, t.Any]) -> None:
    """The rule is one that AWX takes and that comes again; what it starts and gives there is."""
    start, rule = schedule["rrule"].split(" ", 1)
    assert re.fullmatch(r"DTSTART;TZID=[A-Za-z]+/[A-Za-z_]+:\d{8}T\d{6}", start)
    assert re.match(r"RRULE:FREQ=(HOURLY|DAILY|WEEKLY|MONTHLY);INTERVAL=\d+", rule)
    times = rrule.rrulestr(f"{start}\n{rule}")
    assert times[1] > times[0]
    assert schedule["unified_job_template"] in awx_data.names("job_templates") + awx_data.names("workflow_job_templates")
    assert schedule["inventory"] in awx_data.names("inventories")
    [playbook] = [entry["playbook"] for entry in awx_data.of("job_templates") if entry["name"] == schedule["unified_job_template"]]
    assert set(schedule.get("extra_data", {})) <= set(playbooks.options(playbook))


def test_inventories_exist() -> None:
    """Each is a file of the collection, or a folder with some."""
    for inventory in awx_data.of("inventories"):
        path = awx_data.FOLDER.parent / inventory["source_path"]
        assert path.is_file() or list(path.glob("*.yml")), inventory


def test_options_are_those_of_the_modules() -> None:
    """Each key of a job template, and of a workflow's node, is an option of awx.awx."""
    own = {"survey", "requires"}
    given = {key for entry in awx_data.of("job_templates") for key in entry} | set(awx_data.file("job_templates")["awx_job_template_defaults"])
    assert given - own <= set(documented("job_template"))
    nodes = documented("workflow_job_template")["workflow_nodes"]["suboptions"]
    for workflow in awx_data.of("workflow_job_templates"):
        for node in workflow["workflow_nodes"]:
            assert set(node) <= set(nodes)
            assert set(node["unified_job_template"]) <= set(nodes["unified_job_template"]["suboptions"])


def documented(module: str) -> dict[str, t.Any]:
    """The options of a module of awx.awx."""
    source = pathlib.Path(pytest.importorskip("ansible_collections.awx.awx.plugins.modules." + module).__file__).read_text(encoding="utf-8")
    return yaml.safe_load(re.search(r"DOCUMENTATION = r?'''(.*?)'''|DOCUMENTATION = r?\"\"\"(.*?)\"\"\"", source, re.DOTALL)[1])["options"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_stands_in_the_files(kind: str) -> None:
    """A secret is a variable, which comes from a vault."""
    for entry in awx_data.of(kind):
        for key, content in {**entry.get("inputs", {}), **entry.get("notification_configuration", {})}.items():
            if re.search("password|secret|key|identity|token", key) and isinstance(content, str):
                assert content == "" or content.startswith("{{ awx_setup_secrets."), f"{entry['name']}: {key}"
