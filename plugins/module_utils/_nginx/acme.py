# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be right in the variables that order certificates by ACME."""

from __future__ import annotations

import ipaddress
import re
import typing as t

Data = t.Mapping[str, t.Any]


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _site(site: Data, challenge: str) -> t.Iterator[str]:
    what = f"the site {site.get('name')}"
    if site.get("certificate") or site.get("key"):
        yield f"{what} has acme and a certificate of its own; leave one of them out"
    for name in map(str, site.get("server_names") or []):
        if _is_address(name) or "." not in name or "_" in name:
            yield f"{what} has the name {name}, which no public authority issues a certificate for by a challenge here; give its certificate"
        elif name.startswith("*") and challenge == "http-01":
            yield f"{what} has the wildcard {name}, which HTTP-01 cannot prove; set nginx_tls_acme_challenge to dns-01"


def _settings(acme: Data) -> t.Iterator[str]:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", str(acme.get("email", ""))):
        yield "nginx_tls_acme_email is no address; the account at the authority needs one"
    if not str(acme.get("server", "")).startswith("https://"):
        yield f"nginx_tls_acme_server is {acme.get('server')}; give the directory of the authority, which begins with https://"
    if not 0 < float(acme.get("renew_share") or 0) < 1:
        yield f"nginx_tls_acme_renew_share is {acme.get('renew_share')}; choose a part of the lifetime between 0 and 1, such as 0.33"
    if acme.get("challenge") == "dns-01" and not acme.get("dns_provider"):
        yield "nginx_tls_acme_challenge is dns-01, which needs nginx_tls_acme_dns_provider; lego dnshelp lists them"
    for name, content in (acme.get("dns_environment") or {}).items():
        if not re.fullmatch(r"[A-Z][A-Z0-9_]*", str(name)) or "\n" in str(content):
            yield f"nginx_tls_acme_dns_environment has {name}, which is no name of capitals, or has more than one line"
    for name in ("roots", "server_ca"):
        if acme.get(name) and "-----BEGIN CERTIFICATE-----" not in str(acme[name]):
            yield f"nginx_tls_acme_{name} is no certificate in PEM; give the text of the file, not its path"


def acme_problems(request: Data) -> list[str]:
    """What is wrong with sites that have ``acme``, a sentence each; nothing if there are none.

    Args:
        request: the variables, as ``__nginx_tls_request`` of the role has them.
    """
    acme = request.get("acme") or {}
    sites = [site for site in request.get("sites") or [] if site.get("acme")]
    if not sites:
        return []
    challenge = str(acme.get("challenge", "http-01"))
    found = [problem for site in sites for problem in _site(site, challenge)] + list(_settings(acme))
    if challenge == "http-01" and request.get("proxy_protocol") and len(request.get("balancers") or []) > 1:
        found.append("balancers behind the PROXY protocol cannot answer the challenges of each other; set nginx_tls_acme_challenge to dns-01")
    return found
