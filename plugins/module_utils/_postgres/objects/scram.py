# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 verifiers, as PostgreSQL keeps them instead of passwords (RFC 5802, RFC 7677).

They are made here, so that no password travels to the server or gets into its log.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata

ITERATIONS = 4096
"""PostgreSQL's default for ``scram_iterations``."""

SALT_BYTES = 16
VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)|md5[0-9a-f]{32}")
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def _prepared(password: str) -> bytes:
    """Return a password as SASLprep (RFC 4013) has it, or as it is where that does not allow it; PostgreSQL does the same."""
    if password.isascii():
        return password.encode()
    mapped = "".join(" " if stringprep.in_table_c12(letter) else letter for letter in password if not stringprep.in_table_b1(letter))
    text = unicodedata.normalize("NFKC", mapped)
    right_to_left = any(map(stringprep.in_table_d1, text))
    mixed = right_to_left and (any(map(stringprep.in_table_d2, text)) or not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])))
    if not text or mixed or any(prohibited(letter) for letter in text for prohibited in _PROHIBITED):
        return password.encode()
    return text.encode()


def verifier(password: str, salt: bytes = b"", iterations: int = ITERATIONS) -> str:
    """Return what the server keeps of a password; one that is a verifier already is returned as it is.

    Args:
        password: the password.
        salt: by default a random one.
        iterations: rounds of the hash.
    """
    if VERIFIER.fullmatch(password):
        return password
    salt = salt or secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def matches(kept: str, password: str) -> bool:
    """Tell whether the server's verifier is one of this password; one of MD5 never is, so that it is replaced."""
    if VERIFIER.fullmatch(password):
        return kept == password
    found = VERIFIER.fullmatch(kept)
    if not found or not found[1]:
        return False
    return hmac.compare_digest(kept, verifier(password, base64.b64decode(found[2]), int(found[1])))
