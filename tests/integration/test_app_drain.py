# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait for the last requests, with real connections: a slow request, an idle one, a stream, and an upload that nobody reads."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import time
import typing as t

import pytest
from servers import Runner


@pytest.fixture
def runner(tmp_path: pathlib.Path) -> Runner:
    """Runs modules."""
    return Runner(tmp_path)


@pytest.fixture
def pair() -> t.Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, the service's first."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        service, _address = listener.accept()
        with service, client:
            yield service, client


def ask(runner: Runner, service: socket.socket, timeout: float, idle: float = 0.5, **more: t.Any) -> dict[str, t.Any]:
    """Run the module on the service's port."""
    return runner("app_drain", {"port": service.getsockname()[1], "idle": idle, "timeout": timeout, **more})


def test_a_slow_request_is_waited_for_and_an_idle_connection_is_not(runner: Runner, pair: tuple[socket.socket, socket.socket]) -> None:
    """The connection stays open all the time; what counts is whether an answer is owed."""
    service, client = pair
    client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
    assert service.recv(100)
    time.sleep(1)
    owed = ask(runner, service, timeout=1)
    assert (owed["drained"], owed["connections"], owed["changed"], owed["actions"]) == (False, 1, False, []) and owed["seconds"] >= 1
    assert owed["peers"] == ["127.0.0.1:%d" % client.getsockname()[1]]

    threading.Timer(1.0, service.sendall, [b"HTTP/1.1 200 OK\r\n\r\n"]).start()
    answered = ask(runner, service, timeout=60)
    assert answered["drained"] and answered["connections"] == 0 and answered["peers"] == [] and answered["seconds"] < 50
    assert client.recv(100)


def test_a_stream_is_waited_for_within_the_limit(runner: Runner, pair: tuple[socket.socket, socket.socket]) -> None:
    """As a WebSocket in use: bytes flow again and again."""
    service, client = pair
    ended = threading.Event()

    def stream() -> None:
        while not ended.wait(0.1):
            service.sendall(b"tick")
            client.recv(100)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        assert not ask(runner, service, timeout=1, idle=5)["drained"]
    finally:
        ended.set()
        thread.join()


def test_bytes_that_wait_are_waited_for(runner: Runner, pair: tuple[socket.socket, socket.socket]) -> None:
    """An upload that the service has not read yet."""
    service, client = pair
    client.sendall(b"x" * 1000)
    time.sleep(1)
    assert not ask(runner, service, timeout=0)["drained"]


def test_only_the_peers_count(runner: Runner, pair: tuple[socket.socket, socket.socket]) -> None:
    """Connections from elsewhere hold nothing up; a name instead of an address is refused."""
    service, client = pair
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert ask(runner, service, timeout=0, peers=["192.0.2.1"])["drained"]
    assert not ask(runner, service, timeout=0, peers=["192.0.2.1", "127.0.0.1"])["drained"]
    refused = ask(runner, service, timeout=0, peers=["lb1"])
    assert refused["failed"] and "not their names" in refused["msg"]
