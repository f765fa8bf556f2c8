# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The patterns of the options exclude and secret_patterns.

They are those of ``.gitignore`` (https://git-scm.com/docs/gitignore, section "Pattern format") without ``!``: a pattern without a slash fits a name at any
depth, one that begins with a slash a whole path, any other the end of a path, from a whole name on; ``*`` and ``?`` fit no slash, ``**`` fits anything; a slash
at the end means folders only. What lies in a folder that is left out is left out with it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput


def _translated(pattern: str, option: str) -> str:
    """Return the regular expression, for a path with a slash at its end where it is a folder, that a pattern means."""
    body = pattern.rstrip("/")
    if not body.strip("/") or "\0" in body:
        raise InvalidInput(f"use the pattern {pattern!r} of {option}", "it fits nothing or everything", "give a name, a path, or a pattern of one")
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\])", body.lstrip("/") if body.startswith("/") else body)
    words = "".join(_word(part) for part in parts)
    return ("/" if body.startswith("/") else "(?:.*/)?") + words + ("/" if pattern.endswith("/") else "/?")


def _word(part: str) -> str:
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        inner = part[1:-1].replace("\\", "\\\\")
        return f"(?!/)[^{inner[1:]}]" if inner.startswith("!") else f"(?!/)[{inner}]"
    return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part)


class Patterns:
    """Patterns, compiled once."""

    def __init__(self, patterns: t.Sequence[str], option: str) -> None:
        """Take the patterns of an option.

        Raises:
            InvalidInput: one of them cannot be meant.
        """
        try:
            self._expression = re.compile("|".join(f"(?:{_translated(pattern, option)})" for pattern in patterns), re.DOTALL) if patterns else None
        except re.error as error:
            raise InvalidInput(f"use the patterns of {option}", error, "correct the brackets") from error

    def fit(self, path: str, is_folder: bool = False) -> bool:
        """Say whether an absolute path fits one of them."""
        return self._expression is not None and self._expression.fullmatch(f"{path}/" if is_folder else path) is not None
