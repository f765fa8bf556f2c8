# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ports of a host say from outside: whether they speak TLS, with which certificate, and what web sites answer."""

from __future__ import annotations

import dataclasses
import http.client
import shutil
import socket
import ssl
import time
import typing as t
import warnings

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._security.host import NotKnown, Run, not_judged
from ansible_collections.mainstay.ops.plugins.module_utils._security.host_certificates import describe_certificate
from ansible_collections.mainstay.ops.plugins.module_utils._security.testssl import run_testssl

TIMEOUT = 10.0
"""Seconds for a connection and for an answer."""
GREETING = 0.5
"""Seconds in which a server that speaks first, such as SSH, has said something."""
_TLS_REASONS = ("ALERT", "UNSUPPORTED_PROTOCOL", "NO_CIPHERS", "NO_PROTOCOLS")
"""In these errors the other side did speak TLS, but not with us, or not without a certificate of ours."""
_TEXT = 500


@dataclasses.dataclass(frozen=True)
class Site:
    """A site by the name that is asked for; ``paths`` are those whose headers are read."""

    name: str
    port: int = 443
    plain_port: int = 80
    paths: tuple[str, ...] = ("/",)


@dataclasses.dataclass(frozen=True)
class Look:
    """What to look at on a host, and with what."""

    address: str
    sites: tuple[Site, ...]
    ports: tuple[int, ...]
    ca_cert: str
    testssl: str

    @classmethod
    def from_params(cls, params: t.Mapping[str, t.Any]) -> Look:
        """Read the module's options.

        Raises:
            InvalidInput: testssl is asked for and is not there.
        """
        sites = tuple(Site(site["name"], site["port"], site["plain_port"], tuple(site["paths"])) for site in params["sites"])
        program = shutil.which(params["testssl"]) if params["testssl"] else ""
        if program is None:
            next_step = "install the package testssl.sh where the scan comes from, or set testssl to an empty text to leave these tests out"
            raise InvalidInput(f"test the TLS of {params['address']}", f"there is no program {params['testssl']}", next_step)
        return cls(params["address"], sites, tuple(params["ports"]), params["ca_cert"] or "", program)


@dataclasses.dataclass(frozen=True)
class Spoken:
    """What came of a handshake: whether the other side speaks TLS, the address that was reached, the certificate as PEM (empty if it showed none), and what
    went wrong.
    """

    tls: bool
    address: str
    certificate: str = ""
    error: str = ""


def argument_spec() -> dict[str, t.Any]:
    """Return the module's options."""
    site = {
        "name": {"type": "str", "required": True},
        "port": {"type": "int", "default": 443},
        "plain_port": {"type": "int", "default": 80},
        "paths": {"type": "list", "elements": "str", "default": ["/"]},
    }
    return {
        "address": {"type": "str", "required": True},
        "sites": {"type": "list", "elements": "dict", "default": [], "options": site},
        "ports": {"type": "list", "elements": "int", "default": []},
        "ca_cert": {"type": "path"},
        "testssl": {"type": "str", "default": "testssl"},
    }


def examine(run: Run, look: Look) -> dict[str, t.Any]:
    """Return ``endpoints`` (what testssl says), ``served`` (certificates), ``answers``, ``plain``, ``not_judged`` and ``seconds``."""
    began = time.monotonic()
    found: dict[str, list[t.Any]] = {"endpoints": [], "served": [], "answers": [], "plain": [], "not_judged": []}
    for site in look.sites:
        _endpoint(run, look, site.name, site.port, True, found)
        found["answers"] += [answer(look.address, site.port, site.name, path, tls=True) for path in site.paths]
        found["plain"].append(answer(look.address, site.plain_port, site.name, "/", tls=False))
    for port in sorted(set(look.ports) - {site.port for site in look.sites}):
        if not speaks_first(look.address, port):
            _endpoint(run, look, look.address, port, False, found)
    return {**found, "seconds": round(time.monotonic() - began, 3)}


def _endpoint(run: Run, look: Look, name: str, port: int, full: bool, found: dict[str, list[t.Any]]) -> None:
    """Look at a port, and add what was found if it speaks TLS."""
    spoken = handshake(look.address, port, name)
    where = f"{name}:{port}" if full else f"tcp/{port}"
    if not spoken.tls:
        # A port beside the sites need not speak it.
        if full:
            found["not_judged"].append(not_judged(f"TLS of {where}", NotKnown(f"no TLS was spoken: {spoken.error}")))
        return
    if spoken.certificate:
        described = describe_certificate(run, spoken.certificate)
        if described:
            found["served"].append({"where": where, **described})
    if not look.testssl:
        return
    try:
        result = run_testssl(run, look.testssl, f"{name}:{port}", spoken.address, look.ca_cert, full)
        found["endpoints"].append({"where": where, "full": full, **result})
    except NotKnown as exc:
        found["not_judged"].append(not_judged(f"TLS of {where}", exc))


def speaks_first(address: str, port: int) -> bool:
    """Tell whether a server says something before it was asked, which one with TLS never does; true as well if nothing listens."""
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT) as connection:
            connection.settimeout(GREETING)
            try:
                return bool(connection.recv(1))
            except socket.timeout:
                return False
    except OSError:
        return True


def _any_tls() -> ssl.SSLContext:
    """Return a context that speaks with whatever is there: what it is worth is judged elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def _server_name(name: str) -> str | None:
    """Return the name to ask for; an address is none."""
    return None if name.replace(".", "").isdigit() or ":" in name else name


def handshake(address: str, port: int, name: str) -> Spoken:
    """Return what came of a handshake: nothing of it is an error."""
    reached = ""
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT) as connection:
            reached = str(connection.getpeername()[0])
            with _any_tls().wrap_socket(connection, server_hostname=_server_name(name)) as secured:
                certificate = secured.getpeercert(binary_form=True)
                return Spoken(True, reached, ssl.DER_cert_to_PEM_cert(certificate) if certificate else "")
    except ssl.SSLError as exc:
        return Spoken(any(reason in (exc.reason or "") for reason in _TLS_REASONS), reached, error=str(exc))
    except OSError as exc:
        return Spoken(False, reached, error=str(exc) or type(exc).__name__)


def answer(address: str, port: int, name: str, path: str, tls: bool) -> dict[str, t.Any]:
    """Return what a site answers: ``url``, ``status`` (0 if it does not), ``headers``, ``location``, ``error``. Cookies are without their values."""
    usual = 443 if tls else 80
    host = name if port == usual else f"{name}:{port}"
    result: dict[str, t.Any] = {"url": f"{'https' if tls else 'http'}://{host}{path}", "status": 0, "headers": {}, "location": "", "error": ""}
    client = http.client.HTTPConnection(name, port, timeout=TIMEOUT)
    try:
        client.sock = socket.create_connection((address, port), timeout=TIMEOUT)
        if tls:
            client.sock = _any_tls().wrap_socket(client.sock, server_hostname=_server_name(name))
        client.request("GET", path, headers={"Host": host, "User-Agent": "mainstay-security-scan", "Accept": "text/html,*/*"})
        response = client.getresponse()
    except (OSError, http.client.HTTPException) as exc:
        return {**result, "error": str(exc) or type(exc).__name__}
    finally:
        client.close()
    headers: dict[str, list[str]] = {}
    for header, value in response.getheaders():
        headers.setdefault(header.lower(), []).append((_without_value(value) if header.lower() == "set-cookie" else value)[:_TEXT])
    return {**result, "status": response.status, "headers": headers, "location": response.getheader("Location", "")}


def _without_value(cookie: str) -> str:
    pair, semicolon, attributes = cookie.partition(";")
    return f"{pair.partition('=')[0]}=...{semicolon}{attributes}"
