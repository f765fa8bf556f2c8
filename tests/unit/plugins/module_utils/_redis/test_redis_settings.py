# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files of Redis and Sentinel, and what differs from them."""

from __future__ import annotations

import pytest
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._redis.settings import differences, parse, same

SERVER = """
# a comment
bind 127.0.0.1 -::1   10.0.0.1
Port 6379
masterauth "a # secret'with signs"
save ""
maxmemory 100mb
maxmemory 256mb
replicaof 10.0.0.2 6379
"""

SENTINEL = """
port 26379
sentinel announce-ip 10.0.0.1
sentinel sentinel-pass "secret"
sentinel down-after-milliseconds main 5000
sentinel down-after-milliseconds other 9000
sentinel auth-pass main "another"
sentinel deny-scripts-reconfig yes
"""


def test_settings_of_a_server() -> None:
    found = parse(SERVER)
    assert found.settings == {
        "bind": "127.0.0.1 -::1 10.0.0.1",
        "port": "6379",
        "masterauth": "a # secret'with signs",
        "save": "",
        "maxmemory": "256mb",
    }
    assert found.sentinel == {} and found.master == {}


def test_settings_of_a_sentinel() -> None:
    found = parse(SENTINEL, "main")
    assert found.settings == {"port": "26379"}
    assert found.sentinel == {"announce-ip": "10.0.0.1", "sentinel-pass": "secret", "deny-scripts-reconfig": "yes"}
    assert found.master == {"down-after-milliseconds": "5000", "auth-pass": "another"}
    assert parse(SENTINEL).master == {}


def test_quotes_that_do_not_match() -> None:
    with pytest.raises(InvalidInput, match="could not read /etc/x: line 2: No closing quotation; look at its quotes"):
        parse('port 1\nmasterauth "abc', doing="read /etc/x")


@pytest.mark.parametrize(
    ("wanted", "live", "expected"),
    [
        ("256mb", "268435456", True),
        ("256m", "256000000", True),
        ("1gb", "1073741824", True),
        ("256mb", "268435455", False),
        ("yes", "yes", True),
        ("YES", "yes", True),
        ("", "", True),
        ("", "3600 1", False),
        ("3600 1 300  100", "3600 1 300 100", True),
        ("127.0.0.1 10.0.0.1", "127.0.0.1", False),
        ("everysec", "always", False),
        ("normal 0 0 0 replica 256mb 64mb 60", "normal 0 0 0 replica 268435456 67108864 60", True),
        ("TLSv1.2 TLSv1.3", "TLSv1.2 TLSv1.3", True),
        ("Secret", "secret", False),
    ],
)
def test_same(wanted: str, live: str, expected: bool) -> None:
    assert same(wanted, live) is expected


def test_differences() -> None:
    found = differences({"maxmemory": "1gb", "masterauth": "new", "io-threads": "4", "unknown": "1", "save": ""}, {
        "maxmemory": "1073741824",
        "masterauth": "old",
        "io-threads": "1",
        "save": "3600 1",
    })
    assert [(difference.name, difference.at_start) for difference in found] == [("io-threads", True), ("masterauth", False), ("save", False)]
    assert found[1].lines() == ("masterauth (secret)", "masterauth (another secret)"), "a secret never shows"
    assert found[2].lines() == ("save 3600 1", "save")
