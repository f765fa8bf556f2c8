# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for what web sites answer: headers, cookies, and whether plain HTTP leads to HTTPS.

The facts are ``answers``, a list of ``url``, ``status`` (0 where nothing answered), ``headers`` (lower-case names, each with a list of values; those of
cookies without their values) and ``error``; and ``plain``, the same for the address without TLS, with ``location``.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import HIGH, INFO, LOW, MEDIUM, Facts, Hit, Rule

OWASP = "OWASP HTTP Security Response Headers Cheat Sheet"

HSTS_SECONDS = 31536000
"""A year: what OWASP and the preload list of browsers ask for at least."""
_REFERRER = frozenset("no-referrer same-origin strict-origin strict-origin-when-cross-origin".split())


def _answers(facts: Facts) -> t.Iterator[tuple[str, dict[str, str]]]:
    """Yield the address of each answer and its headers, each as one text."""
    for answer in facts["answers"]:
        if answer["status"]:
            yield answer["url"], {name: ", ".join(found) for name, found in answer["headers"].items()}


def _hsts(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        given = headers.get("strict-transport-security", "")
        age = re.search(r"max-age\s*=\s*\"?(\d+)", given)
        if not age:
            yield Hit(url, "there is no Strict-Transport-Security")
        elif int(age[1]) < HSTS_SECONDS:
            yield Hit(url, f"Strict-Transport-Security has max-age={age[1]}, less than a year", LOW)


def _csp(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        given = headers.get("content-security-policy", "")
        if not given:
            yield Hit(url, "there is no Content-Security-Policy")
        elif "'unsafe-eval'" in given or re.search(r"(script-src|default-src)[^;]*'unsafe-inline'", given):
            yield Hit(url, "Content-Security-Policy allows unsafe scripts", LOW)


def _sniffing(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        if headers.get("x-content-type-options", "").lower() != "nosniff":
            yield Hit(url, f"X-Content-Type-Options is {headers.get('x-content-type-options') or 'missing'}")


def _frames(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        if "frame-ancestors" not in headers.get("content-security-policy", "") and headers.get("x-frame-options", "").upper() not in ("DENY", "SAMEORIGIN"):
            yield Hit(url, "there is neither X-Frame-Options nor frame-ancestors")


def _referrer(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        given = {part.strip().lower() for part in headers.get("referrer-policy", "").split(",")}
        if not given & _REFERRER:
            yield Hit(url, f"Referrer-Policy is {headers.get('referrer-policy') or 'missing'}")


def _versions(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        told = [f"{name}: {headers[name]}" for name in ("server", "via") if re.search(r"/\d|\d\.\d", headers.get(name, ""))]
        told += [f"{name}: {headers[name]}" for name in ("x-powered-by", "x-aspnet-version", "x-generator") if name in headers]
        if told:
            yield Hit(url, "; ".join(told))


def _outdated(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        bad = [name for name in ("public-key-pins", "expect-ct") if name in headers]
        if headers.get("x-xss-protection", "0").strip()[:1] == "1":
            bad.append("x-xss-protection")
        if bad:
            yield Hit(url, f"it sends {', '.join(bad)}")


def _origins(facts: Facts) -> t.Iterator[Hit]:
    for url, headers in _answers(facts):
        if headers.get("access-control-allow-credentials", "").lower() == "true" and headers.get("access-control-allow-origin", "") in ("*", "null"):
            yield Hit(url, f"Access-Control-Allow-Origin: {headers['access-control-allow-origin']} with credentials")


def _cookies(facts: Facts) -> t.Iterator[Hit]:
    for answer in facts["answers"]:
        for cookie in answer["headers"].get("set-cookie", []):
            parts = [part.strip() for part in cookie.split(";")]
            given = {part.partition("=")[0].lower() for part in parts[1:]}
            missing = [word for word in ("Secure", "HttpOnly", "SameSite") if word.lower() not in given]
            if missing:
                yield Hit(answer["url"], f"cookie {parts[0].partition('=')[0]} without {', '.join(missing)}", MEDIUM if "Secure" in missing else LOW)


def _plain(facts: Facts) -> t.Iterator[Hit]:
    for answer in facts["plain"]:
        if answer["status"] and not answer["location"].startswith("https://") and answer["status"] < 400:
            yield Hit(answer["url"], f"it answers {answer['status']} without leading to https")


def _silent(facts: Facts) -> t.Iterator[Hit]:
    for answer in facts["answers"]:
        if not answer["status"]:
            yield Hit(answer["url"], answer["error"] or "no answer")


_SET = "Set it in nginx_tls_headers."

RULES = (
    Rule("header_hsts", MEDIUM, "does not tell browsers to stay with HTTPS", "The first request of each visit can be caught and kept on plain HTTP.", _SET,
         OWASP, _hsts),
    Rule("header_csp", MEDIUM, "does not say which scripts may run", "A text that a user entered can become a script that another user runs.", _SET,
         OWASP, _csp),
    Rule("header_frames", MEDIUM, "can be shown in a frame of another site", "Users can be led to click on what they do not see.", _SET, OWASP, _frames),
    Rule("header_sniffing", LOW, "lets browsers guess types", "A file that a user uploaded can become a script.", _SET, OWASP, _sniffing),
    Rule("header_referrer", LOW, "tells other sites where a user came from", "Addresses can hold what is nobody's business.", _SET, OWASP, _referrer),
    Rule("header_version", LOW, "tells its version", "Whoever looks for a hole need not try.",
         "Set server_tokens off, and take the header out of the application.", OWASP, _versions),
    Rule("header_outdated", LOW, "sends headers that do harm today", "Browsers have dropped them, or they open holes of their own.", "Take them out.", OWASP,
         _outdated),
    Rule("header_origins", HIGH, "lets every site act as its user", "A page elsewhere can read what the user may read here.",
         "Name the origins that may, or send no credentials.", OWASP, _origins),
    Rule("cookie_flags", MEDIUM, "sets a cookie that is not guarded", "It can be read on the way, by a script, or sent by another site.",
         "Set Secure, HttpOnly and SameSite in the application.", "OWASP Session Management Cheat Sheet", _cookies),
    Rule("plain_http", HIGH, "serves without TLS", "What is sent can be read and changed on the way.", "Answer with a redirect to https.", OWASP, _plain),
    Rule("site_silent", INFO, "did not answer, so its headers are not known", "What was not tested is not known.",
         "See whether it should answer.", OWASP, _silent),
)  # fmt: skip
