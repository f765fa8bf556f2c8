# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connections matter, from what the kernel says of them."""

from __future__ import annotations

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._release.drain import command, parse_connections

LINE = "{queues} 10.0.0.1:8000 10.0.0.2:40000 cubic wscale:7,7 rto:204 rtt:0.03/0.02 {fields}lastack:30000 pacing_rate 20Gbps app_limited"


@pytest.mark.parametrize(("queues", "fields", "busy"), [
    ("0 0", "data_segs_out:1 data_segs_in:1 lastsnd:20000 lastrcv:20004 ", False),
    ("0 0", "data_segs_out:1 data_segs_in:1 lastsnd:20000 lastrcv:20000 ", False),
    ("0 0", "data_segs_out:1 data_segs_in:2 lastsnd:20000 lastrcv:19000 ", True),
    ("0 0", "data_segs_in:1 lastsnd:20000 lastrcv:20000 ", True),
    ("0 0", "lastsnd:20000 lastrcv:20000 ", False),
    ("0 0", "data_segs_out:9 data_segs_in:1 lastsnd:2000 lastrcv:20000 ", True),
    ("0 0", "data_segs_out:9 data_segs_in:1 lastrcv:20000 ", True),
    ("0 9", "data_segs_out:1 data_segs_in:1 lastsnd:20000 lastrcv:20004 ", True),
    ("9 0", "data_segs_out:1 data_segs_in:1 lastsnd:20000 lastrcv:20004 ", True),
], ids=["answered", "answered at once", "asked again", "first request", "silent from the start", "long download", "sending now", "unsent", "unread"])
def test_busy(queues: str, fields: str, busy: bool) -> None:
    """With ten seconds of silence."""
    (connection,) = parse_connections(LINE.format(queues=queues, fields=fields))
    assert connection.peer == "10.0.0.2:40000"
    assert connection.busy(10) is busy


def test_other_lines_are_no_connections() -> None:
    """Whatever else is printed."""
    assert not parse_connections("\nRecv-Q Send-Q Local Address:Port\n")


def test_command() -> None:
    """The peers become one condition; a name is refused."""
    assert command(80, [])[-1] == "sport = :80"
    assert command(80, ["192.0.2.1", "2001:DB8::1"])[-1] == "sport = :80 and ( dst 192.0.2.1 or dst 2001:db8::1 )"
    with pytest.raises(InvalidInput, match="not their names"):
        command(80, ["lb1"])
