# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a TLS server's certificate: its chain, its name, and how long it is still valid."""

from __future__ import annotations

import dataclasses
import datetime
import ssl
import typing as t

from ansible.module_utils.basic import missing_required_lib

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, connect, join_address, split_address, tls_context

OPTIONS = frozenset({
    "host", "port", "connect_to", "server_hostname", "ca_cert", "client_cert", "client_key", "validate_certs", "degraded_days_left", "unhealthy_days_left",
})
OBSERVED = ("address", "tls_version", "subject", "issuer", "not_before", "not_after", "days_left", "lifetime_left")
DAY = 86400.0
#: How RFC 4514, section 3, abbreviates what OpenSSL spells out.
SHORT_NAMES = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C", "stateOrProvinceName": "ST", "localityName": "L",
}


@dataclasses.dataclass(frozen=True)
class Target:
    """A TLS server, and how many days its certificate has to be valid for."""

    host: str
    port: int
    connect_to: tuple[str, int | None] | None
    server_hostname: str
    context: ssl.SSLContext
    degraded_days_left: float | None = None
    unhealthy_days_left: float | None = None

    def __str__(self) -> str:
        """How the target is called."""
        return join_address(self.host, self.port)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What is judged of a certificate; times are seconds since 1970."""

    subject: str
    issuer: str
    not_before: float
    not_after: float


def plan(options: dict[str, t.Any]) -> Target:
    """The target that the check's options describe.

    Raises:
        InvalidInput: a file or an address is of no use, or the thresholds contradict each other.
    """
    degraded, unhealthy = options["degraded_days_left"], options["unhealthy_days_left"]
    if degraded is not None and unhealthy is not None and degraded < unhealthy:
        raise InvalidInput("judge the days left", f"degraded_days_left {degraded:g} is below unhealthy_days_left {unhealthy:g}, so it would never be seen")
    if not options["validate_certs"]:
        _load_x509()
    return Target(
        host=options["host"],
        port=options["port"] or 443,
        connect_to=split_address(options["connect_to"]) if options["connect_to"] else None,
        server_hostname=options["server_hostname"] or options["host"],
        context=tls_context(options["validate_certs"], options["ca_cert"], options["client_cert"], options["client_key"]),
        degraded_days_left=degraded,
        unhealthy_days_left=unhealthy,
    )


def probe(target: Target, budget: Budget) -> Finding:
    """Do the handshake and read the certificate.

    Raises:
        NoAnswer: no connection, no handshake, or a certificate that does not verify.
    """
    host, port = target.connect_to or (target.host, None)
    with connect(host, port or target.port, budget) as wire:
        wire.start_tls(target.context, target.server_hostname)
        sock = t.cast(ssl.SSLSocket, wire.sock)
        decoded = sock.getpeercert()
        certificate = _from_verified(decoded) if decoded else _from_der(sock.getpeercert(binary_form=True) or b"")
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        finding = judge_certificate(certificate, target.degraded_days_left, target.unhealthy_days_left, now)
        return dataclasses.replace(finding, observed={"address": wire.address, "tls_version": sock.version(), **finding.observed})


def judge_certificate(certificate: Certificate, degraded_days_left: float | None, unhealthy_days_left: float | None, now: float) -> Finding:
    """Judge how long a certificate is still valid at a time (seconds since 1970); one outside its time is unhealthy."""
    days_left = (certificate.not_after - now) / DAY
    problems: list[str] = []
    warnings: list[str] = []
    if now < certificate.not_before:
        problems.append(f"certificate is not valid before {_iso(certificate.not_before)}")
    if days_left < 0:
        problems.append(f"certificate expired {-days_left:.1f} days ago, on {_iso(certificate.not_after)}")
    elif unhealthy_days_left is not None and days_left < unhealthy_days_left:
        problems.append(f"certificate expires in {days_left:.1f} days, fewer than {unhealthy_days_left:g}")
    elif degraded_days_left is not None and days_left < degraded_days_left:
        warnings.append(f"certificate expires in {days_left:.1f} days, fewer than {degraded_days_left:g}")
    lifetime = certificate.not_after - certificate.not_before
    observed = {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "not_before": _iso(certificate.not_before),
        "not_after": _iso(certificate.not_after),
        "days_left": round(days_left, 3),
        "lifetime_left": round((certificate.not_after - now) / lifetime, 4) if lifetime > 0 else 0.0,
    }
    return Finding(f"certificate is valid for {days_left:.1f} more days", tuple(problems), tuple(warnings), observed)


def _iso(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _from_verified(decoded: t.Any) -> Certificate:
    """Read what ``getpeercert`` gives for a certificate that was verified."""
    names = {
        part: ",".join("+".join(f"{SHORT_NAMES.get(name, name)}={value}" for name, value in rdn) for rdn in reversed(decoded.get(part, ())))
        for part in ("subject", "issuer")
    }
    return Certificate(names["subject"], names["issuer"], ssl.cert_time_to_seconds(decoded["notBefore"]), ssl.cert_time_to_seconds(decoded["notAfter"]))


def _from_der(der: bytes) -> Certificate:
    """Read a certificate that was not verified, of which ``getpeercert`` tells nothing but the bytes."""
    loaded = _load_x509().load_der_x509_certificate(der)
    # The `_utc` properties came with cryptography 42; Debian 12 has 38.
    times = [
        getattr(loaded, f"{name}_utc") if hasattr(loaded, f"{name}_utc") else getattr(loaded, name).replace(tzinfo=datetime.timezone.utc)
        for name in ("not_valid_before", "not_valid_after")
    ]
    return Certificate(loaded.subject.rfc4514_string(), loaded.issuer.rfc4514_string(), times[0].timestamp(), times[1].timestamp())


def _load_x509() -> t.Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise InvalidInput("read a certificate that is not verified", missing_required_lib("cryptography")) from error
    return x509
