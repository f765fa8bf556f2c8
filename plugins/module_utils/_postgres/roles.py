# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles from ``pg_dumpall --globals-only``: applied over libpq, one known statement at a time, never through psql.

A line that starts with a backslash would be a command to psql (CVE-2025-8714, CVE-2026-18408); here it is dropped, and a statement of a kind
that is not expected is never run.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import execute, rows, silence

_TOKEN = re.compile(
    r"""--[^\n]* | \\[^\n]* | [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | ; | (?:(?!--)[^;'"\\eE]|[eE](?!'))+ | .""",
    re.VERBOSE | re.DOTALL,
)
_NAME = r"""("(?:[^"]|"")+"|[^\s",;]+)"""
_ROLE = re.compile(rf"(?:CREATE|ALTER|COMMENT ON|SECURITY LABEL FOR {_NAME} ON) ROLE {_NAME}(?=\s|$)", re.IGNORECASE)
_MEMBERSHIP = re.compile(rf"GRANT {_NAME} TO {_NAME}(?=\s|$)", re.IGNORECASE)
_GRANTOR = re.compile(rf" GRANTED BY {_NAME}$", re.IGNORECASE)
_PARAMETER = re.compile(rf"GRANT [A-Z, ]+ ON PARAMETER {_NAME} TO {_NAME}(?=\s|$)", re.IGNORECASE)
_IN_DATABASE = re.compile(rf"ALTER ROLE {_NAME} IN DATABASE {_NAME}(?=\s|$)", re.IGNORECASE)
_SILENT = re.compile(r"SET \w+ ?(?:=|TO) |(?:RE)?SET SESSION AUTHORIZATION|SELECT pg_catalog\.set_config\(", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class RoleStatement:
    """A statement about roles: the ones it concerns, and whether it makes the first of them."""

    text: str
    roles: tuple[str, ...]
    creates: bool


@dataclasses.dataclass(frozen=True)
class Globals:
    """What a globals object says: statements about roles, the beginnings of those that are not run, and the databases in which it gives roles settings.

    Those settings are in the manifest too, and a database that is restored gets them from there.
    """

    statements: tuple[RoleStatement, ...]
    skipped: tuple[str, ...]
    set_in: tuple[str, ...] = ()

    @property
    def created(self) -> tuple[str, ...]:
        """The roles that it can make."""
        return tuple(statement.roles[0] for statement in self.statements if statement.creates)


def split(text: str) -> list[str]:
    """Return the statements of a script without comments, and without anything from a backslash outside of a quoted text to the end of its line."""
    statements: list[str] = []
    current = ""
    for token in _TOKEN.findall(text):
        if token == ";":
            statements.append(current)
            current = ""
        elif not token.startswith(("--", "\\")):
            current += token
    statements.append(current)
    return [statement.strip() for statement in statements if statement.strip()]


def parse(text: str) -> Globals:
    """Read the output of ``pg_dumpall --globals-only``."""
    statements: list[RoleStatement] = []
    skipped: list[str] = []
    set_in: list[str] = []
    for statement in split(text):
        if inside := _IN_DATABASE.match(statement):
            set_in.append(_unquote(inside[2]))
        elif role := _ROLE.match(statement):
            statements.append(RoleStatement(statement, (_unquote(role[2]),), statement[:6].upper() == "CREATE"))
        elif membership := _MEMBERSHIP.match(statement):
            statements.append(RoleStatement(statement, (_unquote(membership[1]), _unquote(membership[2])), False))
        elif (parameter := _PARAMETER.match(statement)) and parameter[2] != "PUBLIC":
            statements.append(RoleStatement(statement, (_unquote(parameter[2]),), False))
        elif not _SILENT.match(statement):
            skipped.append(" ".join(statement.split()[:4]))
    return Globals(tuple(statements), tuple(skipped), tuple(dict.fromkeys(set_in)))


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def select(wanted: Globals, existing: t.Container[str]) -> list[RoleStatement]:
    """Return the statements to run: those about roles that do not exist yet. What a role that exists may do and its password stay as they are."""
    made = {name for name in wanted.created if name not in existing}
    return [statement for statement in wanted.statements if any(name in made for name in statement.roles)]


def existing_roles(connection: t.Any) -> set[str]:
    """Return the names of the server's roles."""
    return {row["rolname"] for row in rows(connection, "SELECT rolname FROM pg_roles")}


def apply(connection: t.Any, statements: t.Sequence[RoleStatement]) -> None:
    """Run the statements in one transaction, and keep their passwords out of the server's log.

    ``GRANTED BY`` is left out: PostgreSQL 16 and newer take it only for who may grant on this server, and here whoever restores does.

    Raises:
        MainstayError: one failed; the message names the roles and never shows the statement, which may hold a password.
    """
    silence(connection, ["log_transaction_sample_rate"])
    execute(connection, "BEGIN")
    try:
        silence(connection, local=True)
        for statement in statements:
            try:
                execute(connection, _GRANTOR.sub("", statement.text))
            except Exception as error:
                message = getattr(getattr(error, "diag", None), "message_primary", None) or type(error).__name__
                raise MainstayError(f"create the role {' and '.join(statement.roles)}", message) from None
    except BaseException:
        execute(connection, "ROLLBACK")
        raise
    execute(connection, "COMMIT")
