# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build context of the execution environment is made without a network, and has this collection."""

from __future__ import annotations

import os
import pathlib
import subprocess
import tarfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Whatever would be fetched goes there, and fails.
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


def test_the_context_builds(tmp_path: pathlib.Path) -> None:
    """As ``make ee`` does it, in another folder."""
    environment = {**os.environ, **NO_NETWORK}
    built = tmp_path / "artifacts/ee"
    built.mkdir(parents=True)
    build = ["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(built)]
    subprocess.run(build, env=environment, check=True, capture_output=True, timeout=300)
    [archive] = built.glob("mainstay-ops-*.tar.gz")
    archive.rename(built / "mainstay-ops.tar.gz")
    for name in ("execution-environment.yml", "requirements.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    command = ["ansible-builder", "create", "--file", "execution-environment.yml", "--context", str(built / "context")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    context = built / "context/_build"
    collections = yaml.safe_load((context / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    [own] = [entry["name"] for entry in collections if entry.get("type") == "file"]
    # The stage that installs them stands in this folder.
    with tarfile.open(context / own) as packed:
        assert {"MANIFEST.json", "awx/job_templates.yml", "playbooks/meta/argument_specs.yml"} <= set(packed.getnames())
    assert "boto3" in (context / "requirements.txt").read_text(encoding="utf-8")
    assert "ansible-core>=2.19" in (built / "context/Containerfile").read_text(encoding="utf-8")
