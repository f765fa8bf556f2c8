# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back of host_firewall, with a real nftables in a network of its own. The timer is only noted: this machine need not run systemd."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import firewall
from ansible_collections.mainstay.ops.plugins.module_utils._host.ruleset import ruleset

OLD, NEW = ruleset([{"ports": [80], "from": ["any"]}]), ruleset([{"ports": [443], "from": ["any"]}])


class Host:
    """A host without a network, and what was asked of its systemd."""

    def __init__(self, process: int) -> None:
        """Run nft beside a process."""
        self._inside = ["nsenter", f"--target={process}", "--net"]
        self.timers: list[list[str]] = []

    def run(self, argv: list[str], data: str | None = None) -> tuple[int, str, str]:
        """Run a program as a module does."""
        if argv[0] == "systemd-run":
            self.timers.append(argv)
        if argv[0] != firewall.NFT:
            return 0, "", ""
        done = subprocess.run([*self._inside, *argv], input=data, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def table(self) -> str:
        """What the kernel has."""
        return self.run([firewall.NFT, "--stateless", "list", "table", "inet", "mainstay"])[1]

    def confirmed(self, rules: str) -> str:
        """Load rules and confirm them, and return what the kernel has then."""
        firewall.load(self.run, firewall.read(self.run), rules, 30)
        firewall.confirm(self.run, rules)
        self.timers.clear()
        return self.table()


@pytest.fixture
def host(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Host]:
    """A host whose files lie in a folder of the test."""
    if os.geteuid() != 0 or not os.path.exists(firewall.NFT) or shutil.which("unshare") is None:
        pytest.skip("rules are loaded by root, with nft")
    if subprocess.run(["unshare", "--net", firewall.NFT, "list", "tables"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this kernel gives no network of its own to a process")
    monkeypatch.setattr(firewall, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(firewall, "BOOT_FILE", str(tmp_path / "firewall.nft"))
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo made; exec sleep infinity"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield Host(process.pid)
        process.kill()


def test_the_way_back_is_what_was_confirmed(host: Host, tmp_path: pathlib.Path) -> None:
    """The timer would load the rules that the next boot loads, and so bring the same table back."""
    before = host.confirmed(OLD)
    firewall.load(host.run, firewall.read(host.run), NEW, 30)
    assert host.table() != before and len(host.timers) == 1
    assert (tmp_path / "state/restore.nft").read_text() == (tmp_path / "firewall.nft").read_text()
    assert host.run(host.timers[0][-3:])[0] == 0
    assert host.table() == before


def test_what_somebody_has_changed_is_brought_back_too(host: Host) -> None:
    """Then what nft prints is the way back."""
    host.confirmed(OLD)
    assert host.run([firewall.NFT, "add rule inet mainstay input tcp dport 8080 accept"])[0] == 0
    before = host.table()
    firewall.load(host.run, firewall.read(host.run), NEW, 30)
    assert host.run(host.timers[0][-3:])[0] == 0
    assert host.table() == before and "8080" in before


def test_without_a_way_back_nothing_is_loaded(host: Host) -> None:
    """A comment that came by JSON with a quotation mark is printed in a way that nft does not read."""
    host.confirmed(OLD)
    rule = {"family": "inet", "table": "mainstay", "chain": "input", "comment": 'a " b', "expr": [{"accept": None}]}
    assert host.run([firewall.NFT, "--json", "--file", "-"], data=json.dumps({"nftables": [{"add": {"rule": rule}}]}))[0] == 0
    before = host.table()
    with pytest.raises(MainstayError, match="could not bring the present rules back.*nothing was loaded"):
        firewall.load(host.run, firewall.read(host.run), NEW, 30)
    assert host.table() == before and not host.timers
