# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a site on this host, as a client would: does it answer, and with the certificate that is on disk."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import ipaddress
import re
import socket
import ssl
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

PATH = "/.nginx_tls/proof"
"""A path that nginx itself answers with 404 on each site, so that no application is asked."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_PAUSE = 0.2


@dataclasses.dataclass(frozen=True)
class Site:
    """A site of this host.

    Attributes:
        name: what it is called in messages.
        server_name: the name that it is asked by.
        port: its port for HTTPS.
        certificate: the file with the certificate that it shall show, empty if any will do.
        proxy_protocol: whether it wants the PROXY protocol.
        address: where it listens.
    """

    name: str
    server_name: str
    port: int = 443
    certificate: str = ""
    proxy_protocol: bool = False
    address: str = "127.0.0.1"


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _context() -> ssl.SSLContext:
    """TLS that accepts any certificate: it is compared with the one on disk."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def read_certificate(path: str) -> bytes:
    """The first certificate of a PEM file, as DER.

    Raises:
        OSError: it cannot be read.
        ValueError: there is none in it.
    """
    with open(path, encoding="ascii") as stream:
        found = _CERTIFICATE.search(stream.read())
    if not found:
        raise ValueError(f"{path} holds no certificate")
    try:
        return base64.b64decode(found[1])
    except binascii.Error as exc:
        raise ValueError(f"{path} holds no certificate: {exc}") from None


def ask(site: Site, timeout: float) -> str:
    """Ask a site once.

    Returns:
        What is wrong, empty if nothing is.
    """
    try:
        with socket.create_connection((site.address, site.port), timeout=timeout) as plain:
            if site.proxy_protocol:
                plain.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 1024 {site.port}\r\n".encode("ascii"))
            with _context().wrap_socket(plain, server_hostname=None if _is_address(site.server_name) else site.server_name) as stream:
                shown = stream.getpeercert(binary_form=True)
                stream.sendall(f"HEAD {PATH} HTTP/1.1\r\nHost: {site.server_name}\r\nConnection: close\r\n\r\n".encode("ascii"))
                answer = stream.recv(64)
        if not re.match(rb"HTTP/1\.[01] \d{3}", answer):
            return f"it answered {answer[:20]!r} and not HTTP"
        if site.certificate and shown != read_certificate(site.certificate):
            return f"it shows another certificate than the one in {site.certificate}"
    except (OSError, ValueError) as exc:
        return str(exc) or type(exc).__name__
    return ""


def prove(sites: t.Sequence[Site], timeout: float) -> None:
    """See that every site answers; one that does not is asked again until the time is over.

    Raises:
        MainstayError: one does not.
    """
    deadline = time.monotonic() + timeout
    for site in sites:
        while True:
            problem = ask(site, timeout)
            if not problem:
                break
            if time.monotonic() > deadline:
                raise MainstayError(f"see the site {site.name} answer on port {site.port} as {site.server_name}", problem)
            time.sleep(_PAUSE)
