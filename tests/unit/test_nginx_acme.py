# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a certificate is renewed, when the authority is asked again, and which variables are refused."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import types
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._nginx.acme import acme_problems

DAY = 86400.0


def load() -> types.ModuleType:
    """The program that the role puts on the hosts."""
    path = pathlib.Path(__file__).resolve().parents[2] / "roles/nginx_tls/files/nginx_acme.py"
    spec = importlib.util.spec_from_file_location("nginx_acme", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["nginx_acme"] = module
    spec.loader.exec_module(module)
    return module


program = load()


@pytest.mark.parametrize(("lifetime", "left", "renewed"), [
    (90 * DAY, 31 * DAY, False), (90 * DAY, 29 * DAY, True), (64 * DAY, 22 * DAY, False), (64 * DAY, 21 * DAY, True),
    (6 * DAY, 2.1 * DAY, False), (6 * DAY, 1.9 * DAY, True), (3600.0, 1300.0, False), (3600.0, 1100.0, True), (90 * DAY, -DAY, True),
])
def test_a_certificate_is_renewed_by_the_share_that_is_left(lifetime: float, left: float, renewed: bool) -> None:
    """Whatever its lifetime is."""
    certificate = program.Certificate("01", 0.0, lifetime, frozenset({"shop.test"}))
    known = {"serial": "01", "fingerprint": "f"}
    assert bool(program.due(certificate, ["shop.test"], known, "f", 0.33, lifetime - left)) is renewed


@pytest.mark.parametrize(("names", "known", "reason"), [
    (["Shop.test"], {"serial": "01", "fingerprint": "f"}, ""),
    (["shop.test"], {}, "was not issued for it"),
    (["shop.test"], {"serial": "02", "fingerprint": "f"}, "was not issued for it"),
    (["shop.test", "more.test"], {"serial": "01", "fingerprint": "f"}, "names are other ones"),
    (["shop.test"], {"serial": "01", "fingerprint": "g"}, "ordered in another way"),
])
def test_what_else_makes_a_certificate_due(names: list[str], known: dict[str, str], reason: str) -> None:
    """Other names, another authority, and a stand-in."""
    certificate = program.Certificate("01", 0.0, 90 * DAY, frozenset({"shop.test"}))
    found = program.due(certificate, names, known, "f", 0.33, DAY)
    assert reason in found and bool(reason) == bool(found)
    assert program.due(None, names, known, "f", 0.33, DAY) == "it has none"


def test_tries_get_rarer() -> None:
    """A minute, ten, a hundred, then a day; a quarter more at most."""
    assert [program.pause_after(failures, 0) for failures in (1, 2, 3, 4, 9)] == [60, 600, 6000, 86400, 86400]
    assert program.pause_after(1, 1) == 75


GOOD: dict[str, t.Any] = {
    "sites": [{"name": "shop", "server_names": ["shop.test"], "acme": True}],
    "acme": {"challenge": "http-01", "email": "ops@shop.test", "server": "https://ca.test/dir", "renew_share": 0.33},
}


@pytest.mark.parametrize(("site", "acme", "more", "reason"), [
    ({}, {}, {}, ""),
    ({"acme": False, "server_names": ["*.test"]}, {"email": ""}, {}, ""),
    ({"certificate": "x"}, {}, {}, "has acme and a certificate of its own"),
    ({"server_names": ["192.0.2.1"]}, {}, {}, "has the name 192.0.2.1"),
    ({"server_names": ["*.shop.test"]}, {}, {}, "which HTTP-01 cannot prove"),
    ({"server_names": ["*.shop.test"]}, {"challenge": "dns-01", "dns_provider": "exec"}, {}, ""),
    ({}, {"challenge": "dns-01"}, {}, "needs nginx_tls_acme_dns_provider"),
    ({}, {"email": ""}, {}, "nginx_tls_acme_email is no address"),
    ({}, {"server": "http://ca.test"}, {}, "begins with https://"),
    ({}, {"renew_share": 30}, {}, "choose a part of the lifetime between 0 and 1"),
    ({}, {"dns_environment": {"KEY": "two\nlines"}}, {}, "more than one line"),
    ({}, {"roots": "/etc/ca.pem"}, {}, "give the text of the file"),
    ({}, {}, {"proxy_protocol": True, "balancers": [{"name": "lb1"}, {"name": "lb2"}]}, "cannot answer the challenges of each other"),
])
def test_variables_that_cannot_be_right(site: dict[str, t.Any], acme: dict[str, t.Any], more: dict[str, t.Any], reason: str) -> None:
    """One sentence for each."""
    found = acme_problems({"sites": [{**GOOD["sites"][0], **site}], "acme": {**GOOD["acme"], **acme}, **more})
    assert len(found) == bool(reason) and reason in "".join(found)
