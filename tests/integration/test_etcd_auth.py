# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd_auth and etcd_keys against a real etcd, probed by etcdctl, and under a Patroni cluster that goes on meanwhile."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
import signal
import subprocess
import typing as t

import pytest
import yaml
from conftest import SENTINEL, Runner, free_port
from patroni_cluster import PATRONI_VERSION, Member, PatroniCluster, Process, Writer, certificates, own, patroni_cluster, start_etcd, until

Result = dict[str, t.Any]
ROOT_PASSWORD, OTHER = f"{SENTINEL}root", f"{SENTINEL}other"
PREFIX = "/service/ledger/"


class Etcd:
    """One server, and the modules on it."""

    def __init__(self, port: int, run_module: Runner) -> None:
        """Remember where it listens."""
        self.url = f"http://127.0.0.1:{port}"
        self._run = run_module

    def ctl(self, *argv: str, user: str = "", password: str = "", given: str = "") -> subprocess.CompletedProcess[str]:
        """Run etcdctl, which is apart from the modules."""
        login = {"ETCDCTL_USER": user, "ETCDCTL_PASSWORD": password} if user else {}
        environment = {**os.environ, "ETCDCTL_API": "3", **login}
        argv = ("etcdctl", f"--endpoints={self.url}", *argv)
        return subprocess.run(argv, input=given, capture_output=True, text=True, timeout=30, env=environment, check=False)

    def auth(self, check: bool = False, **options: t.Any) -> Result:
        """Run etcd_auth, and see that no password comes out of it."""
        user = {"name": "ledger", "password": SENTINEL, "prefixes": [PREFIX]}
        result = self._run("etcd_auth", {"endpoints": [self.url], "root_password": ROOT_PASSWORD, "users": [user], **options}, check=check, diff=True)
        shown = json.dumps({name: part for name, part in result.items() if name != "invocation"})
        assert SENTINEL not in shown
        return result

    def keys(self, check: bool = False, **options: t.Any) -> Result:
        """Run etcd_keys."""
        return self._run("etcd_keys", {"endpoints": [self.url], "prefix": PREFIX, **options}, check=check, diff=True)


@pytest.fixture
def etcd(server_root: pathlib.Path, run_module: Runner) -> t.Iterator[Etcd]:
    """A server without users."""
    folder = server_root / f"etcd-{secrets.token_hex(4)}"
    folder.mkdir()
    own(folder)
    processes, ports = start_etcd(folder, 1)
    server = Etcd(ports[0], run_module)
    until(lambda: server.ctl("endpoint", "health").returncode == 0, "a healthy etcd")
    yield server
    for process in processes:
        process.kill()


def test_nobody_writes_without_a_login(etcd: Etcd) -> None:
    assert etcd.ctl("put", f"{PREFIX}leader", "data1").returncode == 0
    planned = etcd.auth(check=True)
    assert planned["changed"] and planned["enabled"] and planned["users"] == ["ledger", "root"]
    assert planned["actions"][-1] == "ask everybody for a login"
    assert etcd.ctl("get", f"{PREFIX}leader").stdout.split()[-1] == "data1"
    done = etcd.auth()
    assert not done["failed"] and done["actions"] == planned["actions"] and done["diff"] == planned["diff"]

    refused = etcd.ctl("get", f"{PREFIX}leader")
    assert refused.returncode != 0 and "user name is empty" in refused.stderr
    assert etcd.ctl("put", f"{PREFIX}leader", "data2", user="ledger", password=SENTINEL).returncode == 0
    for beyond in ("/service/ledger", "/service/other/leader", "/service/ledger0"):
        outside = etcd.ctl("put", beyond, "data2", user="ledger", password=SENTINEL)
        assert outside.returncode != 0 and "permission denied" in outside.stderr, beyond
    assert etcd.ctl("user", "list", user="ledger", password=SENTINEL).returncode != 0
    assert etcd.ctl("user", "list", user="root", password=ROOT_PASSWORD).stdout.split() == ["ledger", "root"]

    for check in (True, False):
        again = etcd.auth(check=check)
        assert not again["failed"] and not again["changed"] and again["actions"] == [] and again["enabled"]
        assert again["diff"]["before"] == again["diff"]["after"]


def test_a_run_that_was_cut_off_is_finished(etcd: Etcd) -> None:
    for argv in (("role", "add", "root"), ("user", "add", "root", "--new-user-password", "before"), ("role", "add", "ledger")):
        assert etcd.ctl(*argv).returncode == 0
    done = etcd.auth()
    assert "set the password of root" in done["actions"] and "make the role ledger" not in done["actions"]
    assert etcd.ctl("user", "list", user="root", password=ROOT_PASSWORD).returncode == 0


def test_passwords_and_prefixes_change(etcd: Etcd) -> None:
    etcd.auth()
    changed = etcd.auth(users=[{"name": "ledger", "password": OTHER, "prefixes": ["/service/ledger2/"]}])
    granted = ["let the role ledger read and write /service/ledger2/*", f"take {PREFIX}* from the role ledger"]
    assert changed["actions"] == [*granted, "set the password of ledger"]
    assert etcd.ctl("put", "/service/ledger2/x", "1", user="ledger", password=SENTINEL).returncode != 0
    assert etcd.ctl("put", "/service/ledger2/x", "1", user="ledger", password=OTHER).returncode == 0
    assert etcd.ctl("put", f"{PREFIX}x", "1", user="ledger", password=OTHER).returncode != 0


def test_what_cannot_be_right_is_refused(etcd: Etcd) -> None:
    cases: list[tuple[dict[str, t.Any], str]] = [
        ({"users": [{"name": "root", "password": "x", "prefixes": []}]}, "root is there 2 times"),
        ({"users": [{"name": "ledger", "password": "", "prefixes": []}]}, "ledger has no password"),
        ({"users": [{"name": "ledger", "password": "x", "prefixes": [""]}]}, "every key"),
        ({"endpoints": ["127.0.0.1:2379"]}, "https://HOST:PORT"),
        ({"endpoints": ["http://127.0.0.1:1"]}, "check the endpoints"),
    ]
    for options, words in cases:
        refused = etcd.auth(**options)
        assert refused["failed"] and words in refused["msg"]
    assert etcd.ctl("put", "anything", "1").returncode == 0


def test_another_password_of_root_is_an_error_with_a_next_step(etcd: Etcd) -> None:
    etcd.auth()
    refused = etcd.auth(root_password=OTHER)
    assert refused["failed"] and refused["msg"].startswith("could not log in to etcd as root: ") and refused["msg"].endswith("check the user and its password")


def test_keys_go_apart_from_those_that_are_kept(etcd: Etcd) -> None:
    names = [f"members/data{number}" for number in range(1, 101)]
    batch = "\n".join(f"put {PREFIX}{name} 1" for name in names)
    assert etcd.ctl("txn", given=f"\n{batch}\n\n\n").returncode == 0
    for name in ("config", "config0", "leader"):
        assert etcd.ctl("put", PREFIX + name, "1").returncode == 0
    assert etcd.ctl("put", "/service/ledger2/leader", "1").returncode == 0
    etcd.auth()
    login = {"login_user": "ledger", "login_password": SENTINEL}
    planned = etcd.keys(check=True, keep=["config"], **login)
    assert planned["changed"] and len(planned["removed"]) == 102 and f"{PREFIX}config0" in planned["removed"]
    assert f"remove {PREFIX}leader" in planned["actions"] and planned["diff"]["after"] == {"keys": [f"{PREFIX}config"]}
    assert etcd.keys(keep=["config"], **login)["removed"] == planned["removed"]
    assert etcd.ctl("get", "--prefix", "--keys-only", "/", user="root", password=ROOT_PASSWORD).stdout.split() == [f"{PREFIX}config", "/service/ledger2/leader"]
    assert not etcd.keys(keep=["config"], state="absent", **login)["changed"]
    assert "permission denied" in etcd.keys(prefix="/service/ledger2/", **login)["msg"]
    assert "every key" in etcd.keys(prefix="")["msg"]
    assert "needed together" in etcd.keys(login_user="ledger")["msg"]


def test_a_login_besides_a_certificate_that_has_a_name(server_root: pathlib.Path, run_module: Runner) -> None:
    """As the role has it: an authority for clients asks for certificates, without ``client-cert-auth``, which turns away names once there are logins."""
    folder = server_root / "etcd-tls"
    folder.mkdir()
    own(folder)
    certificates(folder)
    own(folder / "member.key")
    client, peer = free_port(), free_port()
    argv = ["/usr/bin/etcd", "--data-dir", str(folder / "data"), "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--trusted-ca-file", str(folder / "ca.crt")]
    argv += ["--cert-file", str(folder / "member.crt"), "--key-file", str(folder / "member.key")]
    argv += ["--listen-client-urls", f"https://127.0.0.1:{client}", "--advertise-client-urls", f"https://127.0.0.1:{client}"]
    process = Process(argv, folder / "etcd.log")
    process.start()
    try:
        tls = {"ca_cert": str(folder / "ca.crt"), "client_cert": str(folder / "member.crt"), "client_key": str(folder / "member.key")}
        etcd = Etcd(client, run_module)
        etcd.url = f"https://127.0.0.1:{client}"
        until(lambda: not etcd.auth(check=True, **tls)["failed"], "an etcd that answers")
        assert etcd.auth(**tls)["changed"] and not etcd.auth(**tls)["changed"]
        assert not etcd.keys(login_user="ledger", login_password=SENTINEL, **tls)["failed"]
        assert "user name is empty" in etcd.keys(**tls)["msg"]
        assert etcd.keys(login_user="ledger", login_password=SENTINEL, ca_cert=tls["ca_cert"])["failed"], "without a certificate"
    finally:
        process.kill()


def give_login(cluster: PatroniCluster, password: str) -> None:
    """Write the login into each member's file, and have Patroni read it, as the role does."""
    for member in cluster.members:
        path = member.folder / "patroni.yml"
        settings = yaml.safe_load(path.read_text())
        settings["etcd3"] |= {"username": "ledger", "password": password}
        path.write_text(yaml.safe_dump(settings))
        assert member.server.process is not None
        os.kill(member.server.process.pid, signal.SIGHUP)


@pytest.mark.skipif(not PATRONI_VERSION.startswith("3."), reason="Debian 13's Patroni does not understand its etcd's answers: the role refuses a login there")
def test_a_running_cluster_goes_on(server_root: pathlib.Path, run_module: Runner) -> None:
    """The login is switched on, and its password changed, under a writer: nobody is demoted, and no row is lost."""
    with patroni_cluster(server_root / "patroni-auth", synchronous_mode=True) as cluster:
        etcd = Etcd(cluster.etcd_port, run_module)
        leader = cluster.settle()
        with Writer(cluster) as writer:
            for password in (SENTINEL, OTHER):
                before = [reloads(cluster, member) for member in cluster.members]
                give_login(cluster, password)
                until(lambda: all(reloads(cluster, member) > count for member, count in zip(cluster.members, before)), "the reload of Patroni everywhere")
                assert etcd.auth(users=[{"name": "ledger", "password": password, "prefixes": [PREFIX]}])["changed"]
                written = len(writer.acknowledged)
                for member in cluster.members:
                    begun = cluster.call(member, "/patroni")[1]["dcs_last_seen"]
                    until(lambda: cluster.call(member, "/patroni")[1]["dcs_last_seen"] > begun + 3, "rounds of Patroni with the login", 60)
                until(lambda: len(writer.acknowledged) > written + 20, "rows after the change")
        assert cluster.settle() is leader and writer.lost() == set() and writer.errors == 0
        assert etcd.ctl("get", f"{PREFIX}leader").returncode != 0
        cluster.patch(maximum_lag_on_failover=2097152)


def reloads(cluster: PatroniCluster, member: Member) -> int:
    """How often Patroni of a member has read its file since its start."""
    return (cluster.folder / f"{member.name}.log").read_text(errors="replace").count("Reloading PostgreSQL configuration")
