# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the TCP ports of an address that answer, by a connection or by a refusal: ``scan.py ADDRESS``. A firewall that drops answers neither."""

from __future__ import annotations

import asyncio
import json
import sys

# SYN is sent again after a second, so that a slow machine has two chances; so many attempts at once fit into the hosts' limit of open files.
TIMEOUT, AT_ONCE = 2.5, 6000


async def answers(address: str, port: int, gate: asyncio.Semaphore) -> bool:
    """Whether a port answers at all."""
    async with gate:
        try:
            _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TIMEOUT)
        except ConnectionRefusedError:
            return True
        except (asyncio.TimeoutError, OSError):
            return False
        writer.close()
        return True


async def scan(address: str) -> list[int]:
    """All ports that answer."""
    gate = asyncio.Semaphore(AT_ONCE)
    ports = range(1, 65536)
    found = await asyncio.gather(*(answers(address, port, gate) for port in ports))
    return [port for port, answered in zip(ports, found) if answered]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(scan(sys.argv[1]))))
