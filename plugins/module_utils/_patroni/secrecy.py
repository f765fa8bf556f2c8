# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets within a dynamic configuration: connection strings, archive commands and keys with a name that says so."""

from __future__ import annotations

import re
import typing as t

MASK = "********"
_WORD = r"(?:password|passwd|passphrase|secret|token|access[-_]?key|cipher[-_]pass)"
SECRET_NAME = re.compile(rf"{_WORD}$", re.IGNORECASE)
"""Names of settings whose whole content is a secret; ``password_encryption`` is none."""

ASSIGNED = re.compile(rf"""({_WORD}\s*[=:]\s*|--?[\w-]*{_WORD}\s+)('(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|[^\s'"&]+)""", re.IGNORECASE)
"""``password=...`` and the like within a connection string, a URL or a command."""

IN_URL = re.compile(r"(://[^\s:/@]*:)([^\s/@]+)(?=@)")


def mask(content: t.Any, name: str = "") -> t.Any:
    """Return content with a mask in the place of each secret.

    Args:
        content: a configuration or a part of it.
        name: the name of the setting whose content it is.
    """
    if isinstance(content, dict):
        return {key: mask(part, str(key)) for key, part in content.items()}
    if isinstance(content, list):
        return [mask(part, name) for part in content]
    if content is None or isinstance(content, bool):
        return content
    if SECRET_NAME.search(name):
        return MASK
    if not isinstance(content, str):
        return content
    return IN_URL.sub(rf"\1{MASK}", ASSIGNED.sub(rf"\1{MASK}", content))


def secrets_in(content: t.Any, name: str = "") -> set[str]:
    """Return the secrets within a configuration, so that they can be kept out of what else is shown."""
    if isinstance(content, dict):
        return {secret for key, part in content.items() for secret in secrets_in(part, str(key))}
    if isinstance(content, list):
        return {secret for part in content for secret in secrets_in(part, name)}
    if content is None or isinstance(content, bool):
        return set()
    if SECRET_NAME.search(name):
        return {str(content)} - {""}
    if not isinstance(content, str):
        return set()
    found = [match[2] for pattern in (ASSIGNED, IN_URL) for match in pattern.finditer(content)]
    return {word.strip("'\"") for word in found} - {""}
