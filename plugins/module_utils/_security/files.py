# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for files: secrets that others can read, and files that others can write.

The facts are ``exposed``, a list of ``path``, ``kind``, ``line`` (0 for the whole file), ``mode``, ``owner``. Only what every user of the host can reach
is in it: a key with open permissions in a closed folder is not. The text of a secret is never among the facts.
"""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import CRITICAL, HIGH, MEDIUM, Facts, Hit, Rule

OWASP = "OWASP Secrets Management Cheat Sheet"
CIS = "CIS Debian Linux Benchmark, system file permissions"


def _kind(*kinds: str) -> t.Callable[[Facts], t.Iterator[Hit]]:
    def find(facts: Facts) -> t.Iterator[Hit]:
        for entry in facts["exposed"]:
            if entry["kind"] in kinds:
                line = f"line {entry['line']} has a {WORDS[entry['kind']]}; " if entry["line"] else ""
                yield Hit(entry["path"], f"{line}mode {entry['mode']}, owner {entry['owner']}")

    return find


WORDS = {
    "private_key": "private key",
    "password": "password or token",
    "url_password": "URL with a password",
    "cloud_key": "key of a cloud or service",
    "source_password": "password or token in quotes",
    "environment_file": "environment",
    "world_writable": "file that everybody can write",
    "shadow": "table of password hashes",
}
"""The kinds that a search of files knows, in words."""

_CLOSE = "chmod o= the file, give it to the group that needs it, and renew the secret: it counts as read."

RULES = (
    Rule(
        "private_key_readable", CRITICAL, "is a private key that every user of the host can read",
        "Any process on the host, however small, can take it and be the server from then on.", _CLOSE, OWASP, _kind("private_key"),
    ),
    Rule(
        "password_hashes_readable", CRITICAL, "has password hashes that every user of the host can read", "They can be guessed at leisure elsewhere.",
        "Run chmod 0640 on it, and give it to root:shadow.", CIS, _kind("shadow"),
    ),
    Rule(
        "secret_readable", HIGH, "has a secret that every user of the host can read", "Any process on the host, however small, can use it.", _CLOSE, OWASP,
        _kind("password", "url_password", "cloud_key"),
    ),
    Rule(
        "secret_in_source", MEDIUM, "seems to have a secret in its source", "It is in every release, every backup and every copy of the repository.",
        "Take it out, give it by the environment file, and renew it.", OWASP, _kind("source_password"),
    ),
    Rule(
        "environment_file_readable", MEDIUM, "is an environment file that every user of the host can read",
        "Secrets are put there sooner or later, if there are none today.", "chmod 0640 it, and give it to root and the group of the service.", OWASP,
        _kind("environment_file"),
    ),
    Rule(
        "world_writable", HIGH, "can be written by every user of the host", "Whoever writes it decides what a service does, or what another user runs.",
        "chmod o-w it.", CIS, _kind("world_writable"),
    ),
)  # fmt: skip
