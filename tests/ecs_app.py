# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application on ECS in the cloud of the tests, and the playbooks that deploy it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import typing as t

import yaml
from aws_platform import Done, finish_playbook, start_playbook
from bluegreen import PATIENCE, SECRET, Shop, shop, until
from cloud import REGION, cloud
from policies import key_of
from servers import Runner

DATABASE = "ledger-db"


@dataclasses.dataclass
class Application:
    """An application on ECS with its inventory."""

    web: Shop
    folder: pathlib.Path

    @property
    def variables(self) -> dict[str, t.Any]:
        """What the inventory says of it."""
        place = self.web.place
        access = {"endpoint_url": self.web.site.cloud.endpoint_url, "access_key": key_of("ecs_app"), "secret_key": SECRET}
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "ecs_app_name": place["name"],
            "ecs_app_cluster": place["cluster"],
            "ecs_app_production": place["production"],
            "ecs_app_test": self.web.site.test_rule,
            "ecs_app_target_groups": place["target_groups"],
            "ecs_app_region": REGION,
            "ecs_app_access": access,
            "ecs_app_repository": "app",
            "ecs_app_database": DATABASE,
            "ecs_app_backup_before_migration": True,
            "ecs_app_migrate_command": ["true"],
            "ecs_app_smoke_checks": [{"type": "http", "url": self.web.test_url()}],
            "ecs_app_verify_checks": [{"type": "http", "url": "http://{}:{}/".format(*self.web.site.address)}],
            "ecs_app_canary_steps": [20, 50],
            "ecs_app_canary_seconds": 1,
            "ecs_app_gate_seconds": 0.5,
            "ecs_app_settle_seconds": 0.6,
            "ecs_app_poll_interval": 0.2,
            "ecs_app_healthy_polls": 2,
            "ecs_app_start_timeout": PATIENCE,
            "ecs_app_lock_ttl": PATIENCE,
            "ecs_app_report_dir": str(self.folder / "reports"),
        }

    def start(self, playbook: str, *arguments: str, **more: t.Any) -> subprocess.Popen[str]:
        """Start a playbook."""
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"children": {"app": {}, "postgres": {}, "ecs": {"hosts": {"ledger": {**self.variables, **more}}}}}}))
        return start_playbook(playbook, "-i", str(inventory), *arguments)

    def __call__(self, playbook: str, *arguments: str, **more: t.Any) -> Done:
        """Run a playbook."""
        return finish_playbook(self.start(playbook, *arguments, **more), PATIENCE)

    def report(self) -> dict[str, t.Any]:
        """Return the newest report."""
        newest = max((self.folder / "reports").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return dict(json.loads(newest.read_text()))

    def reports(self) -> int:
        """Return how many there are."""
        return len(list((self.folder / "reports").glob("*.json")))

    def snapshots(self) -> list[tuple[str, str]]:
        """Return names and states of the snapshots that were taken."""
        rows = self.web.site.cloud.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        return sorted((row["DBSnapshotIdentifier"], row["Status"]) for row in rows)


@contextlib.contextmanager
def application_in(folder: pathlib.Path) -> t.Iterator[Application]:
    """Yield an application with its release v1, and a database.

    Args:
        folder: for the inventory and the reports.
    """
    with cloud() as running, shop(running, "ledger", Runner(folder), folder) as web:
        rds = running.client("rds")
        kind = {"DBInstanceClass": "db.t4g.micro", "Engine": "postgres", "AllocatedStorage": 20, "MasterUsername": "app", "MasterUserPassword": "Sentinel1"}
        rds.create_db_instance(DBInstanceIdentifier=DATABASE, **kind)
        until(lambda: rds.describe_db_instances(DBInstanceIdentifier=DATABASE)["DBInstances"][0]["DBInstanceStatus"] == "available", "the database")
        yield Application(web, folder)
