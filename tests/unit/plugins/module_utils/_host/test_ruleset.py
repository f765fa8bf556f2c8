# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared flows as rules of nftables."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._host.ruleset import is_let_in, ruleset


def rules(flows: list[dict[str, t.Any]], **options: t.Any) -> list[str]:
    """The rules that follow from what was asked for: the one of SSH, then those of the flows."""
    own = ruleset(flows, **options).partition("chain published")[0].partition('"names of containers"\n')[2]
    return [line.strip() for line in own.splitlines() if " accept" in line]


@pytest.mark.parametrize(
    "flow, expected",
    [
        ({"ports": [80, 443], "from": ["any"], "what": "web"}, ['tcp dport { 80, 443 } accept comment "web"']),
        ({"port": "8000-8010", "protocol": "udp", "from": ["10.0.0.1"]}, ["ip saddr 10.0.0.1 udp dport 8000-8010 accept"]),
        (
            {"ports": [1], "from": ["10.0.0.0/9", "10.1.2.3", "fd00::1/64", "10.128.0.0/9"]},
            ["ip saddr 10.0.0.0/8 tcp dport 1 accept", "ip6 saddr fd00::/64 tcp dport 1 accept"],
        ),
        ({"protocol": "vrrp", "from": ["10.0.0.2"]}, ["ip saddr 10.0.0.2 meta l4proto 112 accept"]),
        ({"ports": [5432], "from": []}, []),
        ({"ports": [1], "from": ["any"], "what": 'evil" accept #\n'}, ['tcp dport 1 accept comment "evil  accept"']),
    ],
)
def test_a_flow_becomes_rules(flow: dict[str, t.Any], expected: list[str]) -> None:
    """Networks are joined, families parted, comments made harmless; a flow from nobody lets nobody in."""
    assert rules([flow])[1:] == expected


def test_ssh_is_always_let_in() -> None:
    """Whatever is declared, the controller's way is the first of the rules."""
    assert rules([], ssh_port=2222, ssh_from=["192.0.2.0/24"])[0] == 'ip saddr 192.0.2.0/24 tcp dport 2222 accept comment "SSH"'
    with pytest.raises(InvalidInput, match="nobody could log in by SSH"):
        ruleset([], ssh_from=[])


@pytest.mark.parametrize(
    "flow, words",
    [
        ({"ports": [0], "from": ["any"]}, "0 is no port"),
        ({"ports": ["90-80"], "from": ["any"]}, "'90-80' is no port"),
        ({"ports": [80], "from": ["data1"]}, "'data1' is neither an address nor a network"),
        ({"ports": [80], "from": "10.0.0.1"}, "is no list of addresses"),
        ({"ports": [80]}, "a flow has ports"),
        ({"from": ["any"]}, "tcp without ports"),
        ({"protocol": "vrrp", "ports": [1], "from": ["any"]}, "vrrp with ports"),
        ({"protocol": "sctp", "ports": [1], "from": ["any"]}, "there is no protocol sctp"),
        ({"ports": [80], "from": ["any"], "sources": []}, "is no flow"),
    ],
)
def test_a_wrong_flow_is_refused(flow: dict[str, t.Any], words: str) -> None:
    """The sentence names what is wrong with it."""
    with pytest.raises(InvalidInput, match="could not make the rules of the firewall: ") as refused:
        ruleset([flow])
    assert words in str(refused.value)


def test_what_a_container_publishes_is_held_to_the_same_flows() -> None:
    """Its packets are forwarded, so they are judged by the port that they were sent to at first."""
    published = ruleset([{"ports": [8080], "from": ["10.0.0.1"]}]).partition("chain published")[2]
    assert "ct status dnat ct original ip saddr 10.0.0.1 meta l4proto tcp ct original proto-dst 8080 accept" in published
    assert published.rstrip("}\n\t").endswith("ct status dnat drop")


@pytest.mark.parametrize(
    "address, sources, expected",
    [
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.3.7", ["192.0.2.0/24"], False),
        ("::ffff:192.0.2.7", ["192.0.2.7"], True),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("", ["192.0.2.0/24"], True),
        ("203.0.113.9", ["any"], True),
    ],
)
def test_who_may_use_ssh(address: str, sources: list[str], expected: bool) -> None:
    """An address that is not known is not refused: the new connection decides."""
    assert is_let_in(address, sources) is expected
