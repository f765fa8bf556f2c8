# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for TLS: what testssl.sh found at the ports that speak it.

The facts are ``endpoints``, a list of ``where`` (host and port), ``full`` (whether all tests were run, those of trust and holes too), ``grade`` (empty where
testssl gives none: it does from 3.2 on) and ``tests`` (what testssl wrote: ``id``, ``severity``, ``finding``, ``cve``).
"""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import CRITICAL, HIGH, LOW, MEDIUM, Facts, Hit, Rule

MOZILLA = "Mozilla Server Side TLS, intermediate"

_SEVERITIES = {"CRITICAL": CRITICAL, "HIGH": HIGH, "MEDIUM": MEDIUM, "LOW": LOW}
"""Those of testssl that are bad news. OK, INFO, WARN and DEBUG are none."""
_HOLES = frozenset(
    "heartbleed CCS ticketbleed opossum ROBOT secure_renego secure_client_renego CRIME_TLS BREACH POODLE_SSL fallback_SCSV SWEET32 FREAK DROWN LOGJAM "
    "LOGJAM-common_primes BEAST LUCKY13 winshock RC4".split()
)
_BROKEN = {"SSLv2": CRITICAL, "SSLv3": CRITICAL, "TLS1": HIGH, "TLS1_1": HIGH}
_WORDS = {"TLS1": "TLS 1.0", "TLS1_1": "TLS 1.1", "TLS1_3": "TLS 1.3"}
_CIPHERS = {"NULL": CRITICAL, "aNULL": CRITICAL, "EXPORT": CRITICAL, "LOW": HIGH, "3DES_IDEA": HIGH, "AVERAGE": MEDIUM, "OBSOLETED": MEDIUM}
_TRUST = frozenset({"cert_trust", "cert_chain_of_trust"})
_CERTIFICATE = frozenset({"cert_signatureAlgorithm", "cert_keySize"})


def _offered(test: Facts) -> bool:
    return test["finding"].startswith("offered")


def _tests(facts: Facts) -> t.Iterator[tuple[Facts, Facts]]:
    for endpoint in facts["endpoints"]:
        for test in endpoint["tests"]:
            yield endpoint, test


def _protocols(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        if test["id"] in _BROKEN and _offered(test):
            yield Hit(endpoint["where"], f"{_WORDS.get(test['id'], test['id'])} is {test['finding']}", _BROKEN[test["id"]])


def _newest(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        if test["id"] == "TLS1_3" and test["finding"].startswith("not offered"):
            yield Hit(endpoint["where"], f"TLS 1.3 is {test['finding']}")


def _ciphers(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        kind = test["id"].removeprefix("cipherlist_")
        if kind != test["id"] and kind in _CIPHERS and _offered(test):
            yield Hit(endpoint["where"], f"ciphers of the kind {kind} are {test['finding']}", _CIPHERS[kind])


def _holes(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        if test["id"] in _HOLES and test["severity"] in _SEVERITIES:
            cve = f" ({test['cve']})" if test["cve"] else ""
            yield Hit(endpoint["where"], f"{test['id']}{cve}: {test['finding']}", _SEVERITIES[test["severity"]])


def _trust(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        if endpoint["full"] and test["id"] in _TRUST and test["severity"] in ("MEDIUM", "HIGH", "CRITICAL"):
            yield Hit(endpoint["where"], f"{test['id']}: {test['finding']}")


def _certificate(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        if test["id"] in _CERTIFICATE and test["severity"] in _SEVERITIES:
            yield Hit(endpoint["where"], f"{test['id']}: {test['finding']}", _SEVERITIES[test["severity"]])


def _no_forward_secrecy(facts: Facts) -> t.Iterator[Hit]:
    for endpoint, test in _tests(facts):
        if test["id"] in ("FS", "PFS") and test["finding"].startswith("not"):
            yield Hit(endpoint["where"], f"forward secrecy: {test['finding']}")


def _grade(facts: Facts) -> t.Iterator[Hit]:
    for endpoint in facts["endpoints"]:
        if endpoint["grade"] and not endpoint["grade"].startswith("A"):
            yield Hit(endpoint["where"], f"testssl grades it {endpoint['grade']}", MEDIUM if endpoint["grade"] == "B" else HIGH)


def _not_tested(facts: Facts) -> t.Iterator[Hit]:
    for endpoint in facts["endpoints"]:
        if not any(test["id"] in ("TLS1_2", "TLS1_3") for test in endpoint["tests"]):
            yield Hit(endpoint["where"], "testssl told nothing of TLS 1.2 and 1.3")


RULES = (
    Rule("tls_protocol", HIGH, "speaks a protocol that is broken", "What is sent can be read or changed on the way, and clients can be led to it.",
         "Set ssl_protocols TLSv1.2 TLSv1.3.", "RFC 8996, " + MOZILLA, _protocols),
    Rule("tls_cipher", HIGH, "offers ciphers that are broken", "What is sent can be read, now or later.", "Use the ciphers of Mozilla's intermediate profile.",
         MOZILLA, _ciphers),
    Rule("tls_hole", HIGH, "has a known hole in its TLS", "The way to use it is published.", "Update OpenSSL and the server, and set what the finding names.",
         "testssl.sh", _holes),
    Rule("tls_trust", HIGH, "has a certificate that clients do not trust", "Users learn to click warnings away, or programs to check nothing.",
         "Serve the whole chain, for the name that is asked for; give a private authority as security_scan_ca.", "testssl.sh", _trust),
    Rule("tls_certificate_weak", MEDIUM, "has a certificate with a weak key or signature", "It can be forged, with effort.",
         "Renew it with an ECDSA P-256 or an RSA key of 2048 bits or more, and SHA-256.", MOZILLA, _certificate),
    Rule("tls_forward_secrecy", MEDIUM, "has no forward secrecy", "Whoever steals the key can open all that was recorded before.",
         "Use the ciphers of Mozilla's intermediate profile.", MOZILLA, _no_forward_secrecy),
    Rule("tls_grade", MEDIUM, "is graded below A", "Something in it is weaker than it is elsewhere.", "See what testssl takes points off for.",
         "SSL Labs server rating guide, by testssl.sh", _grade),
    Rule("tls_newest", LOW, "does not speak TLS 1.3", "Connections begin slower, and old ways stay open.", "Set ssl_protocols TLSv1.2 TLSv1.3.", MOZILLA,
         _newest),
    Rule("tls_not_tested", MEDIUM, "speaks TLS, and could not be tested", "What was not tested is not known.", "Run testssl.sh by hand to see why.",
         "testssl.sh", _not_tested),
)  # fmt: skip
