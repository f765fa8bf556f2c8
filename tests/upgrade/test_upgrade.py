# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the version before has made, this one takes over: nothing is lost, and its second run changes nothing."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from conftest import PostgresServer, Runner, Version
from servers import AgeKeys
from test_nginx_tls import App, Balancer

Options = dict[str, t.Any]


@pytest.fixture
def balancer(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, old: Version) -> t.Iterator[Balancer]:
    """An nginx that the old version has configured, in front of two applications."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    old.needs("roles/nginx_tls/tasks/look.yml")
    as_version(monkeypatch, old)
    found = Balancer(tmp_path)
    servers = found.upstream()["servers"]
    found.apps = [App(f"{slot}-{one['name']}", one["address"], port) for slot, port in found.slots.items() for one in servers]
    try:
        assert not found.site_run()["failed"]
        yield found
    finally:
        found.stop()
        for app in found.apps:
            app.shutdown()
            app.server_close()


def as_version(monkeypatch: pytest.MonkeyPatch, version: Version) -> None:
    """Let the balancer's runs be those of a version."""
    for name, folder in version.environment.items():
        monkeypatch.setenv(name, folder)


def test_a_balancer_goes_on(balancer: Balancer, monkeypatch: pytest.MonkeyPatch, new: Version) -> None:
    """The slot that serves and the server that is out of service stay so, a request in the meantime is answered, and the second run has nothing to do."""
    wanted = {"nginx_tls_switch_upstream": "shop", "nginx_tls_switch_slot": "green", "nginx_tls_switch_balancers": ["localhost"]}
    drained = {"nginx_tls_drain_upstream": "shop", "nginx_tls_drain_server": "app1", "nginx_tls_drain_balancers": ["localhost"]}
    assert not balancer.play("switch", **wanted)["failed"] and not balancer.play("drain", **drained)["failed"]
    assert {balancer.ask().app for dummy in range(12)} == {"green-app2"}
    master, key = balancer.master, (balancer.folder / "etc/tls/shop.key").read_bytes()

    as_version(monkeypatch, new)
    planned = balancer.site_run(check=True)
    assert not planned["failed"] and balancer.ask().app == "green-app2"
    upgraded = balancer.site_run()
    assert not upgraded["failed"] and upgraded["changed"] == planned["changed"]
    assert balancer.site_run()["changed"] == 0
    assert {balancer.ask().app for dummy in range(12)} == {"green-app2"}
    assert (balancer.master, (balancer.folder / "etc/tls/shop.key").read_bytes()) == (master, key)
    assert balancer.play("drain", **drained, nginx_tls_drain_state="active")["changed"] == 1
    assert {balancer.ask().app for dummy in range(12)} == {"green-app1", "green-app2"}


def encryption(keys: AgeKeys) -> Options:
    """A recipient, and the way to open what was encrypted for it."""
    return {"recipients": [keys.operators.public], "identity_file": keys.operators.path}


def backups(results: list[Options]) -> list[Options]:
    """What a module of the catalogue has listed."""
    return results[0]["backups"]


def test_backups_of_postgresql_are_read(
    old: Version, new: Version, run_module: Runner, postgres_server: PostgresServer, server_root: pathlib.Path, age_keys: AgeKeys
) -> None:
    """The catalogue is listed, the old backup is fresh enough, it is proven, and it brings back what was lost."""
    postgres_server.query("CREATE DATABASE upgraded")
    postgres_server.query("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS number", "upgraded")
    where = {"name": "upgrade", "store": {"type": "local", "path": str(server_root / "upgrade")}}
    given = {**where, **postgres_server.login, "databases": ["upgraded"], "encryption": encryption(age_keys), "work_dir": str(server_root)}
    taken = old.tasks(run_module, {"mainstay.ops.pg_backup": given})[0]["backup"]
    assert taken["good"]

    task = {"mainstay.ops.pg_backup": {**given, "max_age": "1d"}}
    listed, fresh = new.tasks(run_module, {"mainstay.ops.pg_backup_info": where}, task)
    assert [(found["id"], found["good"], found["bytes_stored"]) for found in backups([listed])] == [(taken["id"], True, taken["bytes_stored"])]
    assert not fresh["changed"] and fresh["backup"]["id"] == taken["id"]
    query = {"database": "upgraded", "query": "SELECT sum(number) FROM rows", "expect": "500500"}
    proven, again = new.tasks(run_module, *[{"mainstay.ops.pg_backup": {**given, "state": "verified", "verify_queries": [query]}}] * 2)
    assert proven["changed"] and proven["backup"]["verified"] and not again["changed"]

    postgres_server.query("DELETE FROM rows", "upgraded")
    new.tasks(run_module, {"mainstay.ops.pg_backup": {**given, "state": "restored", "backup_id": taken["id"], "on_existing": "rename"}})
    assert postgres_server.query("SELECT count(*), sum(number) FROM rows", "upgraded") == [(1000, 500500)]
    postgres_server.drop(*postgres_server.databases())


def test_a_chain_of_backups_of_files_goes_on(old: Version, new: Version, run_module: Runner, tmp_path: pathlib.Path, age_keys: AgeKeys) -> None:
    """An increment is based on the old full backup, and a restore needs both."""
    old.needs("plugins/modules/files_backup.py")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "early").write_text("early")
    given = {
        "name": "upgrade", "paths": [str(tree)], "store": {"type": "local", "path": str(tmp_path / "store")},
        "encryption": encryption(age_keys), "work_dir": str(tmp_path), "state_dir": str(tmp_path / "state"),
    }
    full = old.tasks(run_module, {"mainstay.ops.files_backup": given})[0]["backup"]

    (tree / "late").write_text("late")
    asked = [{"mainstay.ops.files_backup": {**given, "max_age": age}} for age in ("0", "1d")]
    increment, fresh = new.tasks(run_module, *asked)
    assert increment["backup"]["parents"] == [full["id"]] and not fresh["changed"]
    new.tasks(run_module, {"mainstay.ops.files_backup": {**given, "state": "restored", "target_dir": str(tmp_path / "back")}})
    found = {path.name: path.read_text() for path in (tmp_path / "back").rglob("*") if path.is_file()}
    assert found == {"early": "early", "late": "late"}
