# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL scripts, one statement at a time, so that a failure can name its statement."""

from __future__ import annotations

import dataclasses
import re
import typing as t

_TOKEN = re.compile(
    r"""--[^\n]* | /\* | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | \$(?P<tag>[A-Za-z_\u0080-\uffff][\w]*|)\$ .*? \$(?P=tag)\$ | [\w\u0080-\uffff][\w$\u0080-\uffff]* | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_ROUTINE = re.compile(r"CREATE (OR REPLACE )?(FUNCTION|PROCEDURE)\b")
_TRANSACTION = re.compile(r"(BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK(?! TO)|ABORT|PREPARE TRANSACTION)\b")


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement, and the line of the script that it begins in."""

    text: str
    line: int

    def __str__(self) -> str:
        """Its beginning, in one line."""
        short = " ".join(self.text.split())
        return short if len(short) <= 80 else f"{short[:77]}..."

    @property
    def ends_transaction(self) -> bool:
        """Whether it begins or ends a transaction."""
        return _TRANSACTION.match(_words(self.text)) is not None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text[:200].upper()))


def _comment_end(text: str, start: int) -> int:
    """Return where a comment ends that may hold others."""
    depth = 0
    for found in _COMMENT.finditer(text, start):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(text)


def split(text: str) -> list[Statement]:
    """Return the statements of a script, without the comments between and within them.

    A semicolon within quotes, dollar quotes, parentheses or the body of a routine (``BEGIN ATOMIC ... END``) ends no statement.
    """
    statements: list[Statement] = []
    current, begun, depth, parentheses, position = "", 0, 0, 0, 0
    while position < len(text):
        # One letter of any kind is a token at the least.
        found = t.cast("re.Match[str]", _TOKEN.match(text, position))
        token, start, position = found[0], position, found.end()
        if token == "/*":
            token, position = " ", _comment_end(text, start)
        elif token.startswith("--"):
            token = " "
        if token == ";" and depth == 0 and parentheses <= 0:
            if current.strip():
                statements.append(Statement(current.strip(), begun))
            current, parentheses = "", 0
            continue
        if not current.strip() and token.strip():
            begun = text.count("\n", 0, start) + 1
        parentheses += {"(": 1, ")": -1}.get(token, 0)
        word = token.upper()
        if word == "BEGIN" and _ROUTINE.match(_words(current)) or word == "CASE" and depth:
            depth += 1
        elif word == "END" and depth:
            depth -= 1
        current += token
    if current.strip():
        statements.append(Statement(current.strip(), begun))
    return statements
