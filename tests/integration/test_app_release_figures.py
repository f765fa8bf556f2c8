# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment leaves for Prometheus, through ansible-playbook, read by a real node exporter."""

from __future__ import annotations

import pathlib
import time
import typing as t

import pytest
from exporters import exporter, scrape
from servers import Runner


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """An application's folder with two releases, and a folder for figures beside it."""
    for release in ("1", "2"):
        folder = tmp_path / "shop/releases" / release
        folder.mkdir(parents=True)
        (folder / ".mainstay-release.json").write_text(f'{{"release": "{release}", "sha256": "a", "unpacked": "2026-11-28T10:00:00+00:00"}}', encoding="utf-8")
    (tmp_path / "figures").mkdir()
    return tmp_path / "shop"


def task(root: pathlib.Path, state: str, file: str = "figures/shop.prom", **options: t.Any) -> dict[str, t.Any]:
    """A task of a run, whatever comes of it."""
    place = {"path": str(root.parent / file), "application": "shop", "slots": {"blue": 8000, "green": 8001}}
    owner = {} if state == "live" else {"owner": "me"}
    return {"name": state, "mainstay.ops.app_release": {"root": str(root), "state": state, "figures": place, **owner, **options}, "failed_when": False}


def told(folder: pathlib.Path) -> dict[str, float]:
    """What the node exporter tells of deployments."""
    arguments = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
    with exporter("node", arguments) as port:
        lines = scrape(f"http://127.0.0.1:{port}/metrics").splitlines()
    assert "node_textfile_scrape_error 0" in lines
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line.startswith("mainstay_deploy_")}


def test_a_run_is_told_from_its_lock_to_its_end(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """While it has the lock, after a success, and after a failure, which does not change what serves."""
    began = time.time()
    file = tmp_path / "figures/shop.prom"
    Runner(tmp_path).tasks([{**task(root, "locked"), "check_mode": True}])
    assert not file.exists()

    Runner(tmp_path).tasks([task(root, "locked"), task(root, "live", release="2", slot="green")])
    found = told(tmp_path / "figures")
    assert set(found) == {
        'mainstay_deploy_live{application="shop",port="8001",release="2",slot="green"}',
        'mainstay_deploy_lock_timestamp_seconds{application="shop"}',
        'mainstay_deploy_lock_renewed_timestamp_seconds{application="shop"}',
    }
    assert began <= found['mainstay_deploy_lock_timestamp_seconds{application="shop"}'] <= time.time()

    Runner(tmp_path).tasks([task(root, "unlocked", release="2", kind="canary", success=True, seconds=93.4)])
    found = told(tmp_path / "figures")
    run = '{application="shop",kind="canary",release="2"}'
    assert began <= found.pop(f"mainstay_deploy_last_run_timestamp_seconds{run}") <= time.time()
    assert found == {
        'mainstay_deploy_live{application="shop",port="8001",release="2",slot="green"}': 1,
        f"mainstay_deploy_last_run_success{run}": 1,
        f"mainstay_deploy_last_run_seconds{run}": 93.4,
    }

    Runner(tmp_path).tasks([task(root, "locked"), task(root, "unlocked", release="3", success=False, seconds=5)])
    found = told(tmp_path / "figures")
    assert found['mainstay_deploy_last_run_success{application="shop",kind="deploy",release="3"}'] == 0
    assert found['mainstay_deploy_live{application="shop",port="8001",release="2",slot="green"}'] == 1
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_run_without_the_lock_says_nothing(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """What another run is about to do is not told over."""
    Runner(tmp_path).tasks([task(root, "locked"), task(root, "unlocked", owner="another", release="9", success=False, seconds=1)])
    assert not [name for name in told(tmp_path / "figures") if "last_run" in name]


def test_figures_keep_no_run_from_its_work(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """Without a node exporter nothing is written; what cannot be written is a warning; what is no place is refused before the lock is taken."""
    (tmp_path / "figures/folder.prom").mkdir()
    missing, broken, wrong = Runner(tmp_path).tasks([
        task(root, "locked", "nowhere/shop.prom"), task(root, "locked", "figures/folder.prom"), task(root, "locked", "figures/shop.txt", owner="other"),
    ]).results
    assert not (tmp_path / "nowhere").exists() and "warnings" not in missing
    assert not broken.get("failed") and f"write {tmp_path}/figures/folder.prom" in str(broken["warnings"])
    assert "the collector reads only files that end in .prom" in wrong["msg"]
    assert '"owner": "me"' in (root / "deploy.lock").read_text(encoding="utf-8")
