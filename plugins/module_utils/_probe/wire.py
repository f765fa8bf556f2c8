# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections whose every step (name resolution, connect, TLS, reads, writes) shares one time limit."""

from __future__ import annotations

import dataclasses
import functools
import io
import queue
import socket
import ssl
import threading
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput


class NoAnswer(Exception):
    """The other side could not be reached, or stopped before its answer was complete; says so in a sentence."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """The time that one attempt may take: ``seconds`` in all, until the clock reads ``until``."""

    seconds: float
    until: float
    clock: t.Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, seconds: float, clock: t.Callable[[], float] = time.monotonic) -> Budget:
        """A budget that starts now."""
        return cls(seconds, clock() + seconds, clock)

    def left(self, what: str) -> float:
        """The seconds that are left.

        Args:
            what: what did not happen in time if there are none, for example ``"no answer from 127.0.0.1:80"``.

        Raises:
            NoAnswer: the time is used up.
        """
        left = self.until - self.clock()
        if left <= 0:
            raise self.spent(what)
        return left

    def spent(self, what: str) -> NoAnswer:
        """The error that says that something did not happen in time."""
        return NoAnswer(f"{what} within {self.seconds:.3g} s")


@functools.lru_cache(maxsize=None)
def tls_context(validate_certs: bool, ca_cert: str | None, client_cert: str | None, client_key: str | None) -> ssl.SSLContext:
    """One TLS context for all checks with the same files; a context costs milliseconds and is safe to share between threads.

    Args:
        validate_certs: whether the chain and the name are verified.
        ca_cert: path of the only CA to trust; the system's are trusted without it.
        client_cert: path of the client's certificate, with its key in it if ``client_key`` is not given.
        client_key: path of the client's private key.

    Raises:
        InvalidInput: a file cannot be read or does not hold what it should.
    """
    for option, path in (("ca_cert", ca_cert), ("client_cert", client_cert), ("client_key", client_key)):
        if path is not None:
            check_readable(option, path)
    if client_key is not None and client_cert is None:
        raise InvalidInput("use client_key", "client_cert is not given")
    doing = "load ca_cert"
    try:
        context = ssl.create_default_context(cafile=ca_cert)
        if not validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if client_cert is not None:
            doing = "load client_cert and client_key"
            # An encrypted key would ask for its passphrase on the terminal; an empty one makes it an error.
            context.load_cert_chain(client_cert, client_key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InvalidInput(doing, error, "give PEM files; keys without a passphrase") from error
    return context


def check_readable(option: str, path: str) -> None:
    """Refuse a file that cannot be read, before anything is probed.

    Raises:
        InvalidInput: with the option and the reason.
    """
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise InvalidInput(f"read {option} {path}", error.strerror or error) from error


def join_address(host: str, port: int | str | None) -> str:
    """``host:port``, with brackets around an IPv6 address; the host alone without a port."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


def split_address(text: str) -> tuple[str, int | None]:
    """Take ``host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare IPv6 address apart.

    Raises:
        InvalidInput: it is none of these.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidInput(f"understand the address {text}", "it is not [address]:port")
        port = rest[1:]
    elif text.count(":") == 1:
        host, port = text.split(":")
    if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise InvalidInput(f"understand the address {text}", "it is not host or host:port")
    return host, int(port) if port else None


def resolve(host: str, port: int, budget: Budget) -> list[tuple[t.Any, ...]]:
    """The addresses of a host, as ``socket.getaddrinfo`` gives them.

    The system's resolver knows no time limit, so names (not numeric addresses) are looked up in a thread that is left behind when time is up.

    Raises:
        NoAnswer: there is no address, or none in time.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        pass
    answers: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    what = f"no address for {host}"
    threading.Thread(target=look_up, daemon=True).start()
    try:
        answer = answers.get(timeout=budget.left(what))
    except queue.Empty:
        raise budget.spent(what) from None
    if isinstance(answer, Exception):
        raise NoAnswer(f"{what}: {getattr(answer, 'strerror', None) or answer}") from answer
    return answer


class Wire:
    """A connected stream; errors and timeouts come out as :class:`NoAnswer`."""

    def __init__(self, sock: socket.socket, address: str, budget: Budget) -> None:
        """Take over a connected socket; ``address`` is how it is called in messages."""
        self.sock: socket.socket | ssl.SSLSocket | TlsWithinTls = sock
        self.address = address
        self.budget = budget

    def __enter__(self) -> Wire:
        """Close at the end of the block."""
        return self

    def __exit__(self, *unused: object) -> None:
        """Close the connection."""
        self.sock.close()

    def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Do the TLS handshake as a client, with this name for SNI and verification."""
        self._timed(f"no TLS handshake with {self.address}")
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock = TlsWithinTls(self.sock, context, server_hostname, functools.partial(self._timed, f"no answer from {self.address}"))
            else:
                self.sock = context.wrap_socket(t.cast(socket.socket, self.sock), server_hostname=server_hostname)
        except ssl.SSLCertVerificationError as error:
            raise NoAnswer(f"the certificate of {self.address} does not verify as {server_hostname}: {error.verify_message}") from error
        except TimeoutError as error:
            raise self.budget.spent(f"no TLS handshake with {self.address}") from error
        except (OSError, ValueError) as error:
            raise NoAnswer(f"TLS handshake with {self.address} failed: {_reason(error)}") from error

    def sendall(self, data: bytes) -> None:
        """Send all of the data."""
        self._timed(f"{self.address} did not take the request")
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise self.budget.spent(f"{self.address} did not take the request") from error
        except OSError as error:
            raise NoAnswer(f"connection to {self.address} broke: {_reason(error)}") from error

    def makefile(self, mode: str = "rb", *unused: t.Any) -> io.BufferedReader:
        """A buffered reader, each read of which is held to the time limit."""
        return io.BufferedReader(_Incoming(self))

    def receive_into(self, buffer: t.Any) -> int:
        """Read what has come, at most the buffer's size; 0 is the end of the stream."""
        self._timed(f"no answer from {self.address}")
        try:
            return self.sock.recv_into(buffer)
        except TimeoutError as error:
            raise self.budget.spent(f"no answer from {self.address}") from error
        except OSError as error:
            raise NoAnswer(f"connection to {self.address} broke: {_reason(error)}") from error

    def _timed(self, what: str) -> None:
        self.sock.settimeout(self.budget.left(what))


class TlsWithinTls:
    """A TLS stream inside another one, which ``SSLContext.wrap_socket`` cannot make: an HTTPS proxy carries it to an HTTPS endpoint."""

    def __init__(self, outer: ssl.SSLSocket, context: ssl.SSLContext, server_hostname: str, before_read: t.Callable[[], None]) -> None:
        """Do the inner handshake; ``before_read`` sets the time that the outer stream has for its next read."""
        self._outer, self._before_read = outer, before_read
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._carry(self._inner.do_handshake)

    def settimeout(self, seconds: float) -> None:
        """Set how long the next read or write of the outer stream may take."""
        self._outer.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        """Send all of the data."""
        left = memoryview(data)
        while left:
            left = left[self._carry(functools.partial(self._inner.write, left)):]

    def recv_into(self, buffer: t.Any) -> int:
        """Read what has come, at most the buffer's size; 0 is the end of the stream."""
        return self._carry(functools.partial(self._inner.read, len(buffer), buffer))

    def close(self) -> None:
        """Close the connection."""
        self._outer.close()

    def _carry(self, step: t.Callable[[], t.Any]) -> t.Any:
        """Do a step of the inner stream, with what it needs from the outer one and has for it."""
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._outer.sendall(self._outgoing.read())
                self._before_read()
                received = self._outer.recv(1 << 14)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                self._outer.sendall(self._outgoing.read())
                return done


class _Incoming(io.RawIOBase):
    """The reading half of a wire, for ``io.BufferedReader``."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        return self._wire.receive_into(buffer)


def connect(host: str, port: int, budget: Budget) -> Wire:
    """Connect over TCP, trying each address of the host with an equal share of the time that is left.

    Raises:
        NoAnswer: with what the last address said.
    """
    addresses = resolve(host, port, budget)
    failure = NoAnswer(f"no address for {host}")
    for tried, (family, kind, protocol, unused_name, address) in enumerate(addresses):
        shown = join_address(address[0], address[1])
        share = budget.left(f"no connection to {shown}") / (len(addresses) - tried)
        try:
            return Wire(_open(socket.socket(family, kind, protocol), address, share), shown, budget)
        except TimeoutError:
            failure = NoAnswer(f"no connection to {shown} within {share:.3g} s")
        except OSError as error:
            failure = NoAnswer(f"no connection to {shown}: {_reason(error)}")
    raise failure


def connect_unix(path: str, budget: Budget) -> Wire:
    """Connect to a UNIX socket.

    Raises:
        NoAnswer: nobody listens there, or not in time.
    """
    share = budget.left(f"no connection to {path}")
    try:
        return Wire(_open(socket.socket(socket.AF_UNIX), path, share), path, budget)
    except TimeoutError as error:
        raise budget.spent(f"no connection to {path}") from error
    except OSError as error:
        raise NoAnswer(f"no connection to {path}: {_reason(error)}") from error


def _open(sock: socket.socket, address: t.Any, seconds: float) -> socket.socket:
    sock.settimeout(seconds)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
