# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the drill: asks the name servers for the name before each row, sends it there, and logs each row that was acknowledged, with its time.

    client.py NAME_SERVER PORT NAME LOG
"""

from __future__ import annotations

import http.client
import json
import socket
import struct
import sys
import time


def resolve(server: str, port: int, name: str) -> str:
    """Return the first address that the name server has for a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(1)
        asked.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!2H", 1, 1), (server, port))
        answer = asked.recv(512)
    if struct.unpack("!H", answer[6:8])[0] == 0:
        raise OSError("no answer")
    return socket.inet_ntoa(answer[-4:]) if answer[-6:-4] == b"\0\4" else socket.inet_ntoa(answer[12 + len(labels) + 16 : 12 + len(labels) + 20])


def main() -> None:
    """Send rows until somebody ends this."""
    server, port, name, log = sys.argv[1:]
    with open(log, "a", encoding="utf-8") as file:
        number = 0
        while True:
            number += 1
            try:
                # What it waits for a site that is silent is part of what it measures.
                connection = http.client.HTTPConnection(resolve(server, int(port), name), 8080, timeout=1)
                connection.request("POST", f"/{number}")
                answer = connection.getresponse()
                site = answer.read().decode()
                connection.close()
                if answer.status == 200:
                    file.write(json.dumps({"number": number, "at": time.time(), "site": site}) + "\n")
                    file.flush()
                    time.sleep(0.02)
                    continue
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)


main()
