# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many HTTP endpoints on loopback in one process, of which some hang: ``endpoints.py COUNT HANGING``.

It prints one line of JSON, a list of ports for those that answer and one for those that hang, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"status\": \"ok\"}"
#: Connections that wait to be accepted. Probes of all endpoints come at once, but one endpoint sees few.
BACKLOG = 8
#: Open files beside two for each endpoint.
SPARE_FILES = 1000


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a request's head and answer that all is well."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing until the client is gone."""
    try:
        while await reader.read(4096):
            pass
    except OSError:
        pass
    finally:
        writer.close()


async def serve(count: int, hanging: int) -> None:
    """Listen on so many ports, of which the last ones hang."""
    servers = [await asyncio.start_server(hang if number >= count - hanging else answer, "127.0.0.1", 0, backlog=BACKLOG) for number in range(count)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"answering": ports[:count - hanging], "hanging": ports[count - hanging:]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)  # connections end with the process


def main() -> None:
    """Serve as the arguments say."""
    count, hanging = map(int, sys.argv[1:])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * count + SPARE_FILES, hard), hard))
    asyncio.run(serve(count, hanging))


if __name__ == "__main__":
    main()
