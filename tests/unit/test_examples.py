# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipelines in ``examples`` are ones for GitHub and GitLab, and call what there is."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import playbooks

FOLDER = playbooks.ROOT / "examples"
SCHEMAS = {"github": ["vendor.github-workflows"], "gitlab": ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]}
PIPELINES = sorted([*FOLDER.glob("github/*.yml"), *FOLDER.glob("gitlab/*.yml")])


@pytest.fixture(params=PIPELINES, ids=lambda path: f"{path.parent.name}:{path.name}")
def pipeline(request: pytest.FixtureRequest) -> pathlib.Path:
    """Each pipeline."""
    return request.param


def test_it_fits_the_schema(pipeline: pathlib.Path) -> None:
    """That of the service, as check-jsonschema has it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *SCHEMAS[pipeline.parent.name], str(pipeline)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_calls_playbooks_with_their_arguments(pipeline: pathlib.Path) -> None:
    """Playbooks, inventories and variables are there."""
    text = pipeline.read_text(encoding="utf-8")
    for inventory in re.findall(r"INVENTORY: (\S+)", text):
        assert (playbooks.ROOT / inventory).is_file(), inventory
    calls = re.split(r"(?=playbooks/\w+\.yml)", re.sub(r"\s*\n\s+", " ", text))[1:]
    for call in calls:
        name = re.match(r"playbooks/(\w+)\.yml", call)[1]
        assert set(re.findall(r"-e (\w+)=", call.split("- name:")[0])) <= set(playbooks.options(name)), name


def test_it_calls_targets_of_the_makefile(pipeline: pathlib.Path) -> None:
    """Those that are written out, and those of a matrix."""
    text = pipeline.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", (playbooks.ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = set(re.findall(r"\bmake ([a-z0-9-]+)", text)) | {name for found in re.findall(r"(?i)target: \[(.*?)\]", text) for name in found.split(", ")}
    assert called <= targets
    assert called or "application" in pipeline.name


@pytest.mark.parametrize("service", sorted(SCHEMAS))
def test_production_comes_after_staging_and_goes_back(service: str) -> None:
    """Each of both has a preflight before the deployment, a postflight after it, and a rollback."""
    [path] = FOLDER.glob(f"{service}/application*.yml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = content.get("jobs", content)
    assert "staging" in (jobs["production"].get("needs") or content["stages"][: content["stages"].index("production")])
    for name in ("staging", "production"):
        text = yaml.safe_dump(jobs[name]) + yaml.safe_dump(jobs.get(".deploy", {}))
        order = re.findall(r"playbooks/(\w+)\.yml", text)
        assert order == ["preflight", "deploy", "postflight", "rollback"], name
    assert jobs["production"]["environment"] == "production"
    assert service == "github" or jobs["production"]["when"] == "manual"


def test_no_secret_stands_in_them(pipeline: pathlib.Path) -> None:
    """What is named like a secret comes from the service."""
    for name, given in re.findall(r"(?m)^\s*(\w*(?:SECRET|TOKEN|PASSWORD|_KEY)\w*): *(\S.*)$", pipeline.read_text(encoding="utf-8")):
        assert given.startswith(("${{ secrets.", "$")), name
