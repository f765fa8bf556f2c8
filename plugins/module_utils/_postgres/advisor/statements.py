# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be shown of a statement: without what its literals and comments say, and cut.

``pg_stat_activity`` holds what was sent. ``pg_stat_statements`` holds ``$1`` in the place of constants, but not in statements such as ALTER ROLE ... PASSWORD.
"""

from __future__ import annotations

import re

SHOWN_CHARACTERS = 300
MASK = "'***'"

_PLAIN = re.compile(
    r"""
      (?P<name> "(?:[^"]|"")*(?:"|\Z) )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<parameter> \$\d+ )
    | (?P<dollar> \$(?P<tag> (?:[^\W\d]\w*)? )\$ .*? (?:\$(?P=tag)\$|\Z) )
    | (?P<string> '(?:[^']|'')*(?:'|\Z) )
    | (?P<number> 0[xXoObB][0-9a-fA-F_]+ | (?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)? )
    | (?P<line> --[^\n]* )
    | (?P<block> /\* )
    | (?P<space> \s+ )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"'(?:[^'\\]|\\.|'')*(?:'|\\?\Z)", re.DOTALL)
_BLOCK_MARKS = re.compile(r"/\*|\*/")


def masked(text: str) -> str:
    """Return a statement with its literals replaced and its comments left out; what cannot be told apart is left out to the end."""
    parts: list[str] = []
    place = 0
    while place < len(text):
        match = _PLAIN.match(text, place)
        if match is None:
            break
        kind, found = match.lastgroup, match[0]
        place = match.end()
        if kind == "word" and found.lower() in ("e", "b", "x", "n") and text[place : place + 1] == "'":
            # A backslash takes the meaning from what follows it in E'...'; the others have no backslash.
            literal = (_ESCAPED if found.lower() == "e" else _PLAIN).match(text, place)
            place = literal.end() if literal else len(text)
            parts.append(MASK)
        elif kind == "string" and re.search(r"\\+'", found):
            # Where the literal ends depends on the session's standard_conforming_strings, which nobody can see from outside.
            return "".join([*parts, MASK, " ..."])
        elif kind in ("string", "dollar"):
            parts.append(MASK)
        elif kind == "number":
            parts.append("0")
        elif kind == "block":
            place = _end_of_comment(text, place)
            parts.append(" ")
        elif kind in ("line", "space"):
            parts.append(" ")
        else:
            parts.append(found)
    return "".join(parts)


def _end_of_comment(text: str, place: int) -> int:
    """Return where a comment that began before ``place`` ends; comments nest."""
    depth = 1
    for mark in _BLOCK_MARKS.finditer(text, place):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def shown(text: str | None, mask: bool = True) -> str:
    """Return what is shown of a statement: one line, masked unless that is not wanted, cut at :data:`SHOWN_CHARACTERS`."""
    line = " ".join((masked(text or "") if mask else text or "").split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[: SHOWN_CHARACTERS - 4].rstrip()} ..."
