# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take secrets out of what an endpoint answered before it is shown."""

from __future__ import annotations

import json
import re
import typing as t
import urllib.parse

HIDDEN = "********"
#: Shorter secrets are not looked for in an answer: they would take ordinary words apart.
LEAST = 4
#: What is called a secret, in JSON, a query string, a configuration or a header: the value goes, the name stays.
#: Repetitions are bounded, so that no text takes more time than in proportion to its length.
NAMED = re.compile(
    r"""((?:passw(?:or)?d|pwd|passphrase|secret|token|api[_-]?key|authorization|credentials?|cookie)[\w-]{0,40}\\?["']?\s{0,8}[:=]\s{0,8})"""
    r"""(\\"[^"\\]*(?:\\")?|"(?:[^"\\]|\\.)*"?|'[^']*'?|(?:basic|bearer)\s+[^\s"'<,;]+|[^\s"'&<,;}\]\\]+)""",
    re.IGNORECASE,
)
#: The password of a URL, as in a connection string that a stack trace shows.
IN_URL = re.compile(r"(://[^/\s:@\"']{0,200}:)[^@/\s\"']{1,500}@")


def mask(text: str, secrets: t.Iterable[str] = ()) -> str:
    """Return the text with asterisks in place of the secrets, as they are and as JSON and URLs spell them, and of whatever is named or placed like one."""
    spellings = {spelling for secret in secrets if len(secret) >= LEAST for spelling in _spellings(secret)}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, HIDDEN)
    return IN_URL.sub(rf"\1{HIDDEN}@", NAMED.sub(rf"\1{HIDDEN}", text))


def _spellings(secret: str) -> set[str]:
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], urllib.parse.quote(secret), urllib.parse.quote_plus(secret)}
