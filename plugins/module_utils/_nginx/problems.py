# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be right in the variables of the role nginx_tls, found on the controller before anything is changed."""

from __future__ import annotations

import datetime
import ipaddress
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._nginx.acme import acme_problems

Data = t.Mapping[str, t.Any]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_HOST = re.compile(r"[A-Za-z0-9*_][A-Za-z0-9*._-]*")
_PATH = re.compile(r"/[^\s;{}\"'$\\]*")
_TARGET = re.compile(r"https?://[^\s;{}\"'$\\/]+(/[^\s;{}\"'$\\]*[^\s;{}\"'$\\/])?")
_RATE = re.compile(r"[1-9][0-9]*r/[sm]")
_KEY = re.compile(r"[$A-Za-z0-9_{}:.-]+")
_SIZE = re.compile(r"[0-9]+[kKmMgG]?")
_TIME = re.compile(r"([0-9]+(ms|[smhd])? ?)+")
_BAD_HEADER = re.compile(r"[\"$\\\n]")
_RESERVED = ("maintenance", "canary-", "drained-")


def _doubles(names: t.Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _is_network(text: t.Any) -> bool:
    try:
        return bool(ipaddress.ip_network(str(text), strict=False))
    except ValueError:
        return False


def _upstream(upstream: Data) -> t.Iterator[str]:
    name = str(upstream.get("name", ""))
    what = f"the upstream {name}"
    if not _NAME.fullmatch(name):
        yield f"{what} needs a name of letters, digits and underscores"
    servers = [str(server.get("name", "")) for server in upstream.get("servers") or []]
    if not servers:
        yield f"{what} has no servers; list the hosts that run it"
    for double in _doubles(servers):
        yield f"{what} lists the server {double} twice"
    for server in upstream.get("servers") or []:
        if not _HOST.fullmatch(str(server.get("address", ""))) and not _is_network(server.get("address")):
            yield f"{what} has no usable address for {server.get('name')}: {server.get('address')!r}"
    slots = upstream.get("slots") or {}
    if not slots:
        yield f"{what} has no slots; name one with its port at least"
    for slot, port in slots.items():
        if not _NAME.fullmatch(str(slot)) or str(slot).startswith(_RESERVED):
            yield f"{what} cannot have a slot {slot}; its name is made of letters, digits and underscores, and not maintenance"
        if not str(port).isdecimal() or not 0 < int(port) < 65536:
            yield f"{what} has no port for the slot {slot}: {port!r}"
    if "fail_timeout" in upstream and not _TIME.fullmatch(str(upstream["fail_timeout"])):
        yield f"{what} has a fail_timeout that is no time: {upstream['fail_timeout']}; write it as 5s"
    if not _KEY.fullmatch(str(upstream.get("split_key", "$request_id"))):
        yield f"{what} has a split_key that is made of more than variables: {upstream['split_key']}"


def _limits(what: str, of: Data, zones: Data) -> t.Iterator[str]:
    """What is wrong with the limits of a site or a route."""
    if of.get("limit") is not None and of["limit"] not in zones:
        yield f"{what} has the limit {of['limit']}, which nginx_tls_limit_zones does not have: {', '.join(zones) or 'it is empty'}"
    if of.get("client_max_body_size") is not None and not _SIZE.fullmatch(str(of["client_max_body_size"])):
        yield f"{what} has a client_max_body_size that is no size: {of['client_max_body_size']}; write it as 10m"
    if of.get("read_timeout") is not None and not _TIME.fullmatch(str(of["read_timeout"])):
        yield f"{what} has a read_timeout that is no time: {of['read_timeout']}; write it as 60s"


def _headers(what: str, headers: Data) -> t.Iterator[str]:
    for name, value in headers.items():
        if _BAD_HEADER.search(str(value)) or not re.fullmatch(r"[A-Za-z0-9-]+", str(name)):
            yield f"{what} has a header {name} that nginx cannot send; leave out quotes, dollar signs, backslashes and line breaks"


def _site(site: Data, upstreams: t.Collection[str], zones: Data) -> t.Iterator[str]:
    what = f"the site {site.get('name', '')}"
    if not _SITE_NAME.fullmatch(str(site.get("name", ""))):
        yield f"{what} needs a name of letters, digits, hyphens and underscores"
    kinds = [kind for kind in ("upstream", "root", "redirect") if site.get(kind)]
    if len(kinds) != 1:
        yield f"{what} needs one of upstream, root and redirect, and has {' and '.join(kinds) or 'none'}"
    if site.get("upstream") and site["upstream"] not in upstreams:
        yield f"{what} leads to the upstream {site['upstream']}, which is not listed"
    if site.get("root") and not _PATH.fullmatch(str(site["root"])):
        yield f"{what} has a root that is no absolute path: {site['root']}"
    if site.get("redirect") and not _TARGET.fullmatch(str(site["redirect"])):
        yield f"{what} redirects to {site['redirect']}; write an address that begins with https:// and ends without a slash"
    names = site.get("server_names") or []
    if not names:
        yield f"{what} has no server_names"
    for name in names:
        if not _HOST.fullmatch(str(name)) and not _is_network(name):
            yield f"{what} cannot answer to the name {name!r}"
    paths = [*(site.get("private_paths") or []), *(str(route.get("path", "")) for route in site.get("routes") or [])]
    for path in [*paths, *([site["fallback"]] if site.get("fallback") else [])]:
        if not _PATH.fullmatch(str(path)):
            yield f"{what} has a path that nginx cannot match: {path!r}; it begins with a slash and has no blanks, quotes, semicolons or braces"
    for double in _doubles([*paths, "/"]):
        yield f"{what} lists the path {double} twice; what holds for all other paths stands beside routes"
    yield from _limits(what, site, zones)
    for route in site.get("routes") or []:
        yield from _limits(f"the route {route.get('path')} of {what}", route, zones)
    yield from _headers(what, site.get("headers") or {})


def _zones(zones: Data) -> t.Iterator[str]:
    for name, zone in zones.items():
        what = f"the limit {name} of nginx_tls_limit_zones"
        if not _NAME.fullmatch(str(name)):
            yield f"{what} needs a name of letters, digits and underscores"
        if not isinstance(zone, t.Mapping) or not _RATE.fullmatch(str(zone.get("rate", ""))):
            yield f"{what} needs a rate such as 20r/s or 5r/m"
        elif set(zone) - {"rate", "burst", "key"}:
            yield f"{what} has {', '.join(sorted(set(zone) - {'rate', 'burst', 'key'}))}; it may have rate, burst and key"
        elif not str(zone.get("burst", 0)).isdecimal() or not _KEY.fullmatch(str(zone.get("key", "$binary_remote_addr"))):
            yield f"{what} needs a number as its burst and variables as its key"


def certificate_problem(site: Data, now: datetime.datetime) -> str:
    """What is wrong with a certificate that was given, empty if nothing is: not PEM, over, not yet valid, another key's, or for other names."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    what = f"the certificate of the site {site.get('name')}"
    try:
        certificate = x509.load_pem_x509_certificate(str(site.get("certificate") or "").encode())
    except ValueError:
        return f"{what} is no certificate in PEM; give the text of the file, not its path"
    try:
        key = serialization.load_pem_private_key(str(site.get("key") or "").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return f"the key of the site {site.get('name')} is no private key in PEM without a password; give the text of the file, not its path"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return f"{what} does not belong to its key; give both from the same order"
    start, end = _valid(certificate)
    if now < start or now > end:
        return f"{what} {'was valid until' if now > end else 'is valid from'} {(end if now > end else start):%Y-%m-%d %H:%M} UTC; give one that is valid now"
    missing = _uncovered(certificate, [str(name) for name in site.get("server_names") or []])
    return f"{what} is not for {', '.join(missing)}; give one for all server_names, or take the name out of them" if missing else ""


def _valid(certificate: t.Any) -> tuple[datetime.datetime, datetime.datetime]:
    """From when to when; older versions of cryptography have only the names without a zone."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (certificate.not_valid_before.replace(tzinfo=datetime.timezone.utc), certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc))


def _uncovered(certificate: t.Any, names: t.Sequence[str]) -> list[str]:
    """The names that a certificate does not hold, wildcards of one level considered."""
    from cryptography import x509

    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return list(names)
    held = {name.lower() for name in alternatives.get_values_for_type(x509.DNSName)} | {str(ip) for ip in alternatives.get_values_for_type(x509.IPAddress)}
    return [name for name in names if name.lower() not in held and f"*.{name.lower().partition('.')[2]}" not in held]


def _virtual(request: Data) -> t.Iterator[str]:
    """What is wrong with the addresses that move, if there are any."""
    addresses, balancers, host = request.get("virtual_addresses") or [], request.get("balancers") or [], request.get("host")
    if not addresses:
        return
    for text in addresses:
        if "/" not in str(text) or not _is_network(text):
            yield f"nginx_tls_virtual_addresses has {text!r}; write an address with the length of its network, such as 192.0.2.10/24"
    names = [str(balancer.get("name", "")) for balancer in balancers]
    if len(set(names)) < 2 or _doubles(names) or host not in names:
        yield f"nginx_tls_virtual_addresses needs nginx_tls_balancers with two different hosts at least, {host} among them"
    for balancer in balancers:
        if not _is_network(balancer.get("address")):
            yield f"nginx_tls_balancers has no address for {balancer.get('name')}: {balancer.get('address')!r}"
    if not 1 <= int(request.get("virtual_router_id") or 0) <= 255:
        yield f"nginx_tls_virtual_router_id is {request.get('virtual_router_id')}; choose 1 to 255"


def problems(request: Data, now: datetime.datetime | None = None) -> list[str]:
    """Everything that is wrong, a sentence each, without a final stop.

    Args:
        request: the variables, as ``__nginx_tls_request`` of the role has them.
        now: the time to judge certificates by.
    """
    upstreams, sites, zones = request.get("upstreams") or [], request.get("sites") or [], request.get("limit_zones") or {}
    names = [str(upstream.get("name", "")) for upstream in upstreams]
    found = [f"the upstream {name} is listed twice" for name in _doubles(names)]
    found += [f"the site {name} is listed twice" for name in _doubles([str(site.get("name", "")) for site in sites])]
    asked = [str(name).lower() for site in sites for name in set(site.get("server_names") or [])]
    found += [f"the name {name} is in server_names of two sites; nginx would take the first one" for name in _doubles(asked)]
    for upstream in upstreams:
        found += _upstream(upstream)
    for site in sites:
        found += _site(site, names, zones)
    found += _headers("nginx_tls_headers", request.get("headers") or {})
    found += _zones(zones)
    for variable in ("real_ip_from", "maintenance_allow"):
        found += [f"nginx_tls_{variable} has {text!r}, which is no address or network" for text in request.get(variable) or [] if not _is_network(text)]
    if request.get("proxy_protocol") and not request.get("real_ip_from"):
        found.append("nginx_tls_proxy_protocol needs nginx_tls_real_ip_from: the addresses of the balancers that speak it")
    unknown = sorted(set(request.get("error_pages") or {}) - set(request.get("pages") or []))
    if unknown:
        found.append(f"nginx_tls_error_pages has {', '.join(unknown)}; it may have {', '.join(request.get('pages') or [])}")
    found += _virtual(request)
    found += acme_problems(request)
    moment = now or datetime.datetime.now(datetime.timezone.utc)
    return found + [text for text in (certificate_problem(site, moment) for site in sites if not site.get("acme")) if text]
