# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of an upstream as files, its servers as text, and the connections of the kernel's tables."""

from __future__ import annotations

import sys

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.drain import Text, Wish, check
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.live import Upstream, parse_marks, remote_address
from ansible_collections.mainstay.ops.plugins.module_utils._nginx.sockets import parse_address, parse_table

LINES = (
    "upstream shop_blue {",
    "    zone shop_blue 128k;",
    "    server 192.0.2.1:8000 max_fails=0 fail_timeout=5s; # app1",
    "    server [2001:db8::2]:8000 max_fails=3 fail_timeout=5s down; # app2",
    "    server 192.0.2.1:8001 max_fails=0 fail_timeout=5s backup; # app1",
    "    server [2001:db8::2]:8001 max_fails=3 fail_timeout=5s backup down; # app2",
    "}",
)


@pytest.mark.parametrize(
    ("files", "upstream"),
    [
        ([], Upstream("shop")),
        (["blue"], Upstream("shop", ("blue",))),
        (["blue", "green", ".mainstay-new-1"], Upstream("shop", ("blue", "green"))),
        (["blue", "canary-green-1", "canary-green-10", "canary-green-25"], Upstream("shop", ("blue",), "green", 25)),
        (["green", "drained-app-1", "drained-app2"], Upstream("shop", ("green",), drained=("app-1", "app2"))),
        (
            ["blue", "maintenance", "maintenance-allow-192.0.2.1", "maintenance-allow-2001:db8::1"],
            Upstream("shop", ("blue",), maintenance=True, maintenance_allow=("192.0.2.1", "2001:db8::1")),
        ),
    ],
)
def test_marks(files: list[str], upstream: Upstream) -> None:
    """Each kind of file has one meaning."""
    assert parse_marks("shop", files) == upstream


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.1", ""),
        ("192.0.2.0/24", ""),
        ("192.0.2.010", ""),
        ("dead", ""),
    ],
)
def test_addresses_as_nginx_writes_them(text: str, written: str) -> None:
    """One form for each, and nothing for what would never match."""
    assert remote_address(text) == written


def test_servers_and_their_marks() -> None:
    """A server is drained in the group of each slot, and put back to the same text."""
    text = Text(LINES)
    assert text.servers == {"app1": False, "app2": True}
    assert text.ends_of("app2") == {("2001:db8::2", 8000), ("2001:db8::2", 8001)}
    drained = text.marked("app1", drained=True)
    assert drained.count(" down; # app1") == 2 and drained.count(" down; # app2") == 2 and drained.count("max_fails=3 ") == 4
    again = Text(tuple(drained.splitlines()))
    assert again.marked("app1", drained=False).splitlines() == list(LINES)
    assert text.marked("app2", drained=True).splitlines() == list(LINES)
    both = text.marked("app2", drained=False)
    assert " down" not in both and both.count("max_fails=3 ") == 4


def test_the_only_server_is_always_tried() -> None:
    """Drained or not, and whatever the number of the others would be."""
    text = Text(("    server 192.0.2.1:8000 max_fails=0 fail_timeout=5s; # app1",))
    assert "max_fails=0 " in text.marked("app1", drained=True) and "max_fails=0 " in text.marked("app1", drained=False)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("shop", "app3", drained=True), "could not drain app3 in the upstream shop: its servers are app1, app2"),
        (Wish("shop", "app1", drained=True), "could not drain app1 in the upstream shop: no other server gets requests"),
    ],
)
def test_a_drain_that_cannot_be(wish: Wish, words: str) -> None:
    """Refused, unless the last one is meant."""
    with pytest.raises(InvalidInput, match=words):
        check(wish, Text(LINES))
    check(Wish("shop", "app1", drained=True, last=True), Text(LINES))
    check(Wish("shop", "app2", drained=False), Text(LINES))


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are from a machine of that order")
@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("0100007F:1F90", ("127.0.0.1", 8080)),
        ("0000000000000000FFFF00000100007F:1F90", ("127.0.0.1", 8080)),
        ("B80D0120000000000000000002000000:0050", ("2001:db8::2", 80)),
    ],
)
def test_addresses_of_the_kernel(text: str, end: tuple[str, int]) -> None:
    """IPv4, IPv4 in IPv6, IPv6."""
    assert parse_address(text) == end


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are from a machine of that order")
def test_only_established_connections_count() -> None:
    """Not those that listen or are being closed."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    row = "   {n}: 0100007F:9C40 0100007F:1F90 {state} 00000000:00000000 00:00000000 00000000    33        0 {inode} 1 0 20 4 30 10 -1"
    table = "\n".join([head, row.format(n=0, state="01", inode=700), row.format(n=1, state="06", inode=0), row.format(n=2, state="0A", inode=701)])
    assert parse_table(table) == {"700": ("127.0.0.1", 8080)}
