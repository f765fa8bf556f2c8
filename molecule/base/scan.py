# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the TCP ports of addresses that answer, by a connection or by a refusal: ``scan.py ADDRESS...``. A firewall that drops answers neither."""

from __future__ import annotations

import errno
import json
import resource
import select
import socket
import sys
import time

# SYN is sent again after a second, so that a slow machine has two chances; so many attempts at once fit into the hosts' limit of open files.
SECONDS, AT_ONCE = 2.5, 8000
# All that a service of the stack listens at lies below.
PORTS = range(1, 20001)


def knock(address: str, ports: range) -> list[int]:
    """Those of some ports that answer."""
    poll, attempts, found = select.poll(), {}, []
    for port in ports:
        attempt = socket.socket()
        attempt.setblocking(False)
        if attempt.connect_ex((address, port)) not in (0, errno.EINPROGRESS):
            raise OSError(f"no attempt could be made at port {port}")
        attempts[attempt.fileno()] = (port, attempt)
        poll.register(attempt, select.POLLOUT)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for descriptor, _event in poll.poll(100):
            port, attempt = attempts[descriptor]
            poll.unregister(descriptor)
            if attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                found.append(port)
    for _port, attempt in attempts.values():
        attempt.close()
    return sorted(found)


def main() -> None:
    """Knock at all ports of each address."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    batches = [PORTS[start : start + AT_ONCE] for start in range(0, len(PORTS), AT_ONCE)]
    print(json.dumps({address: [port for batch in batches for port in knock(address, batch)] for address in sys.argv[1:]}))


if __name__ == "__main__":
    main()
