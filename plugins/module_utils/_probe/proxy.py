# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP proxies: which requests go through one, and the tunnel that CONNECT opens (RFC 9110, section 9.3.6)."""

from __future__ import annotations

import base64
import dataclasses
import http
import ipaddress
import ssl
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer, Wire, connect, join_address, split_address

OPTIONS = frozenset({"proxy", "proxy_user", "proxy_password", "no_proxy"})
DEFAULT_PORTS = {"http": 80, "https": 443}
#: Bytes of the answer to CONNECT that are read.
MAX_HEAD = 1 << 16


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A proxy, and what is asked directly in spite of it.

    Attributes:
        host: where it listens.
        port: on which port.
        context: how to verify it, if it is spoken to over TLS.
        authorization: the value of ``Proxy-Authorization``.
        exempt: hosts, domains and networks that are asked directly, each with a port or for all ports.
    """

    host: str
    port: int
    context: ssl.SSLContext | None = None
    authorization: str | None = dataclasses.field(default=None, repr=False)
    exempt: tuple[tuple[str, int | None], ...] = ()

    def serves(self, host: str, port: int) -> bool:
        """Whether a request to this host and port goes through the proxy."""
        return not any(port == only_port if only_port else True for pattern, only_port in self.exempt if _covers(pattern, host))

    @property
    def headers(self) -> dict[str, str]:
        """What a request to the proxy itself carries."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def plan_proxy(options: dict[str, t.Any], context: t.Callable[[], ssl.SSLContext]) -> Proxy | None:
    """The proxy that a check's options describe, if they do.

    Args:
        options: the check's options.
        context: makes the TLS context, called only if the proxy is spoken to over TLS.

    Raises:
        InvalidInput: the proxy's URL or an exemption is of no use, or options contradict each other.
    """
    url = options["proxy"]
    if url is None:
        for option in sorted(OPTIONS):
            if options[option] is not None:
                raise InvalidInput(f"use {option}", "proxy is not given")
        return None
    if options["proxy_password"] is not None and options["proxy_user"] is None:
        raise InvalidInput("log in to the proxy", "proxy_password is given without proxy_user")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInput("understand proxy", error) from error
    if parts.username is not None or parts.password is not None:
        raise InvalidInput("understand proxy", "it holds credentials, and URLs are logged", "use proxy_user and proxy_password")
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query:
        raise InvalidInput(f"understand proxy {url}", "it is not http://HOST:PORT or https://HOST:PORT")
    return Proxy(
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        context=context() if parts.scheme == "https" else None,
        authorization=basic(options["proxy_user"], options["proxy_password"]) if options["proxy_user"] is not None else None,
        exempt=tuple(_exemption(str(pattern)) for pattern in options["no_proxy"] or []),
    )


def basic(user: str, password: str | None) -> str:
    """The value of an ``Authorization`` header by Basic authentication (RFC 7617), in UTF-8."""
    return "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()


def connect_to_proxy(proxy: Proxy, budget: Budget) -> Wire:
    """Connect to the proxy itself.

    Raises:
        NoAnswer: it cannot be reached, or its certificate does not verify.
    """
    try:
        wire = connect(proxy.host, proxy.port, budget)
        try:
            if proxy.context is not None:
                wire.start_tls(proxy.context, proxy.host)
        except NoAnswer:
            wire.sock.close()
            raise
    except NoAnswer as error:
        raise NoAnswer(f"proxy: {error}") from error
    return wire


def open_tunnel(wire: Wire, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy connect to a host; from then on the wire is one to that host.

    Raises:
        NoAnswer: the proxy refuses, or what answers is none.
    """
    place = join_address(host, port)
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}", *(f"{name}: {value}" for name, value in proxy.headers.items())]
    wire.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    status = _read_status(wire)
    if not 200 <= status < 300:
        phrase = http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else ""
        raise NoAnswer(f"proxy {wire.address} answered {status} {phrase}".rstrip() + f" to CONNECT {place}")


def _read_status(wire: Wire) -> int:
    """Read an answer's head byte by byte, so that not one byte of what follows is taken from the tunnel."""
    head = bytearray()
    byte = bytearray(1)
    while not head.endswith(b"\r\n\r\n"):
        if len(head) > MAX_HEAD or not wire.receive_into(byte):
            raise NoAnswer(f"proxy {wire.address} gave no proper answer to CONNECT")
        head += byte
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise NoAnswer(f"proxy {wire.address} gave no proper answer to CONNECT")
    return int(words[1])


def _exemption(pattern: str) -> tuple[str, int | None]:
    """Take apart what is asked directly: ``*``, a network, or a host or domain with or without a port."""
    if "/" in pattern:
        try:
            return str(ipaddress.ip_network(pattern, strict=False)), None
        except ValueError as error:
            raise InvalidInput(f"understand no_proxy {pattern}", error) from error
    host, port = split_address(pattern)
    return host.lower().removeprefix("*").removeprefix(".") or "*", port


def _covers(pattern: str, host: str) -> bool:
    if pattern == "*":
        return True
    if "/" in pattern:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(pattern)
        except ValueError:
            return False
    host = host.lower()
    return host == pattern or host.endswith("." + pattern)
