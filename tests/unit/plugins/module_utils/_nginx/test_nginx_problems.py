# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role nginx_tls refuses, sentence by sentence."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.problems import problems
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.datetime(2026, 11, 27, 12, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


def pair(*names: str, start: datetime.datetime = NOW - DAY, end: datetime.datetime = NOW + DAY) -> dict[str, str]:
    """A self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, start, end)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"certificate": certificate.decode(), "key": private.decode()}


SHOP = pair("shop.test", "*.shop.test")
UPSTREAM = {"name": "shop", "servers": [{"name": "app1", "address": "192.0.2.1"}], "slots": {"blue": 8000}}
SITE = {"name": "shop", "server_names": ["shop.test", "a.shop.test"], "upstream": "shop", **SHOP}
PAIR = [{"name": "lb1", "address": "192.0.2.1"}, {"name": "lb2", "address": "192.0.2.2"}]
VIRTUAL = {"virtual_addresses": ["192.0.2.10/24"], "virtual_router_id": 51, "balancers": PAIR, "host": "lb1"}
GOOD: dict[str, t.Any] = {
    "upstreams": [UPSTREAM],
    "sites": [SITE],
    "headers": {"X-Frame-Options": "DENY"},
    "limit_zones": {"api": {"rate": "20r/s", "burst": 40}},
    "pages": ["limited", "maintenance"],
}


def test_nothing_is_wrong() -> None:
    """With routes, with an upstream whose address is IPv6, with networks."""
    site = {**SITE, "limit": "api", "routes": [{"path": "/login", "exact": True, "limit": "api", "client_max_body_size": "1m", "read_timeout": "5s"}]}
    upstream = {**UPSTREAM, "servers": [{"name": "app1", "address": "2001:db8::1"}], "split_key": "$remote_addr$http_user_agent", "fail_timeout": "1m 30s"}
    request = {**GOOD, "sites": [site], "upstreams": [upstream], "real_ip_from": ["192.0.2.0/24", "2001:db8::/32"], "proxy_protocol": True}
    assert problems(request, NOW) == []
    assert problems({}, NOW) == []
    assert problems({**GOOD, **VIRTUAL}, NOW) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"upstreams": [UPSTREAM, UPSTREAM]}, "the upstream shop is listed twice"),
        ({"upstreams": [{**UPSTREAM, "slots": {}}]}, "the upstream shop has no slots; name one with its port at least"),
        ({"upstreams": [{**UPSTREAM, "slots": {"blue": 70000}}]}, "the upstream shop has no port for the slot blue: 70000"),
        (
            {"upstreams": [{**UPSTREAM, "slots": {"maintenance": 80}}]},
            "the upstream shop cannot have a slot maintenance; its name is made of letters, digits and underscores, and not maintenance",
        ),
        ({"upstreams": [{**UPSTREAM, "servers": []}]}, "the upstream shop has no servers; list the hosts that run it"),
        ({"upstreams": [{**UPSTREAM, "servers": UPSTREAM["servers"] * 2}]}, "the upstream shop lists the server app1 twice"),
        (
            {"upstreams": [{**UPSTREAM, "servers": [{"name": "app1", "address": "a; b"}]}]},
            "the upstream shop has no usable address for app1: 'a; b'",
        ),
        ({"upstreams": [{**UPSTREAM, "fail_timeout": "soon"}]}, "the upstream shop has a fail_timeout that is no time: soon; write it as 5s"),
        ({"upstreams": [{**UPSTREAM, "split_key": "a b"}]}, "the upstream shop has a split_key that is made of more than variables: a b"),
        ({"limit_zones": {"api": {"rate": "many"}}}, "the limit api of nginx_tls_limit_zones needs a rate such as 20r/s or 5r/m"),
        ({"limit_zones": {"api": {"rate": "1r/s", "brust": 1}}}, "the limit api of nginx_tls_limit_zones has brust; it may have rate, burst and key"),
        (
            {"headers": {"X-A": 'say "hi"'}},
            "nginx_tls_headers has a header X-A that nginx cannot send; leave out quotes, dollar signs, backslashes and line breaks",
        ),
        ({"real_ip_from": ["everybody"]}, "nginx_tls_real_ip_from has 'everybody', which is no address or network"),
        ({"proxy_protocol": True}, "nginx_tls_proxy_protocol needs nginx_tls_real_ip_from: the addresses of the balancers that speak it"),
        (
            {**VIRTUAL, "virtual_addresses": ["192.0.2.10"]},
            "nginx_tls_virtual_addresses has '192.0.2.10'; write an address with the length of its network, such as 192.0.2.10/24",
        ),
        ({**VIRTUAL, "host": "lb3"}, "nginx_tls_virtual_addresses needs nginx_tls_balancers with two different hosts at least, lb3 among them"),
        ({**VIRTUAL, "balancers": PAIR[:1]}, "nginx_tls_virtual_addresses needs nginx_tls_balancers with two different hosts at least, lb1 among them"),
        ({**VIRTUAL, "balancers": [{"name": "lb1"}, PAIR[1]]}, "nginx_tls_balancers has no address for lb1: None"),
        ({**VIRTUAL, "virtual_router_id": 256}, "nginx_tls_virtual_router_id is 256; choose 1 to 255"),
        ({"error_pages": {"lost": "x"}}, "nginx_tls_error_pages has lost; it may have limited, maintenance"),
    ],
)
def test_one_sentence_each(change: dict[str, t.Any], sentence: str) -> None:
    """And no other one."""
    assert problems({**GOOD, **change}, NOW) == [sentence]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"upstream": "other"}, "the site shop leads to the upstream other, which is not listed"),
        ({"root": "/srv"}, "the site shop needs one of upstream, root and redirect, and has upstream and root"),
        ({"upstream": ""}, "the site shop needs one of upstream, root and redirect, and has none"),
        (
            {"upstream": "", "redirect": "https://other.test/"},
            "the site shop redirects to https://other.test/; write an address that begins with https:// and ends without a slash",
        ),
        ({"limit": "login"}, "the site shop has the limit login, which nginx_tls_limit_zones does not have: api"),
        ({"client_max_body_size": "big"}, "the site shop has a client_max_body_size that is no size: big; write it as 10m"),
        (
            {"routes": [{"path": "/a", "read_timeout": "long"}]},
            "the route /a of the site shop has a read_timeout that is no time: long; write it as 60s",
        ),
        (
            {"private_paths": ["metrics"]},
            "the site shop has a path that nginx cannot match: 'metrics'; it begins with a slash and has no blanks, quotes, semicolons or braces",
        ),
        (
            {"routes": [{"path": "/"}]},
            "the site shop lists the path / twice; what holds for all other paths stands beside routes",
        ),
        ({"server_names": ["shop.test", "b c"]}, "the site shop cannot answer to the name 'b c'"),
        (
            {"server_names": ["shop.test", "other.test"]},
            "the certificate of the site shop is not for other.test; give one for all server_names, or take the name out of them",
        ),
        ({"certificate": "/etc/a.crt"}, "the certificate of the site shop is no certificate in PEM; give the text of the file, not its path"),
        ({"key": "x"}, "the key of the site shop is no private key in PEM without a password; give the text of the file, not its path"),
        ({"key": pair("shop.test")["key"]}, "the certificate of the site shop does not belong to its key; give both from the same order"),
        (
            pair("*.shop.test", "shop.test", end=NOW - datetime.timedelta(hours=1)),
            "the certificate of the site shop was valid until 2026-11-27 11:00 UTC; give one that is valid now",
        ),
        (
            pair("*.shop.test", "shop.test", start=NOW + datetime.timedelta(hours=1)),
            "the certificate of the site shop is valid from 2026-11-27 13:00 UTC; give one that is valid now",
        ),
    ],
)
def test_one_sentence_for_a_site(change: dict[str, t.Any], sentence: str) -> None:
    """And no other one, and never a key."""
    found = problems({**GOOD, "sites": [{**SITE, **change}]}, NOW)
    assert sentence in found
    assert "PRIVATE" not in str(found)
    assert len([text for text in found if "cannot answer" not in text and "is not for" not in text]) <= 1


def test_a_name_of_two_sites() -> None:
    """The second one would never be asked."""
    sites = [SITE, {**SITE, "name": "other", "server_names": ["A.shop.test"]}]
    assert problems({**GOOD, "sites": sites}, NOW) == ["the name a.shop.test is in server_names of two sites; nginx would take the first one"]
