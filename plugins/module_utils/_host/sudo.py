# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who becomes root by sudo, as far as it is written in files: so that a run does not take it away from itself."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

MAIN, FOLDER = "/etc/sudoers", "/etc/sudoers.d"
# What the role base writes.
OWN = f"{FOLDER}/60-mainstay"
NOT, BY_PASSWORD, FREELY = 0, 1, 2
_WORDS = {NOT: "could not become root any more", BY_PASSWORD: "would be asked for a password to become root, as it is not now"}
# Users, hosts, whom one may become (root if it is not said), tags, and ALL alone: a rule for some commands makes nobody root. See sudoers(5).
_RULE = re.compile(r"(?P<who>[^\s,=]+(?:\s*,\s*[^\s,=]+)*)\s+[^=]+=\s*(?:\((?P<as>[^):]*)(?::[^)]*)?\)\s*)?(?P<tags>(?:[A-Z_]+\s*:\s*)*)ALL")
_NO_RULE = re.compile(r"#|@|Defaults\b|\w+_Alias\b")


@dataclass(frozen=True)
class Rule:
    """Who may do everything as root, by names, groups (with ``%``) or ``ALL``, and whether by a password."""

    who: tuple[str, ...]
    way: int

    def covers(self, user: str, groups: t.Collection[str]) -> bool:
        """Whether it is about a user."""
        return bool({"ALL", user, *(f"%{group}" for group in groups)} & set(self.who))


@dataclass(frozen=True)
class Sudo:
    """The files of sudoers by path, and all rules that the role's own will have, by user; ``None`` where that stays as it is."""

    files: t.Mapping[str, str]
    rules: t.Mapping[str, t.Sequence[str]] | None = None

    def wanted(self) -> t.Mapping[str, str]:
        """The files as they will be."""
        if self.rules is None:
            return self.files
        return {**self.files, OWN: "".join(f"{user} {rule}\n" for user, rules in self.rules.items() for rule in rules)}


def read_files() -> dict[str, str]:
    """The files that sudo reads, by path; none where it is not installed."""
    try:
        names = sorted(name for name in os.listdir(FOLDER) if "." not in name and not name.endswith("~"))
    except OSError:
        names = []
    found = {}
    for path in [MAIN, *(f"{FOLDER}/{name}" for name in names)]:
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                found[path] = stream.read()
        except OSError:
            continue
    return found


def read_rules(files: t.Mapping[str, str]) -> list[Rule]:
    """The rules that make somebody root, in the order in which sudo reads them. Aliases are not looked up."""
    rules = []
    for path in sorted(files, key=lambda path: (path != MAIN, path)):
        for line in files[path].replace("\\\n", " ").splitlines():
            match = None if _NO_RULE.match(line.strip()) else _RULE.fullmatch(line.partition(" #")[0].strip())
            if match and (match["as"] is None or {"ALL", "root"} & set(re.split(r"[\s,]+", match["as"].strip()))):
                rules.append(Rule(tuple(re.split(r"\s*,\s*", match["who"])), FREELY if "NOPASSWD" in match["tags"] else BY_PASSWORD))
    return rules


def way_of(files: t.Mapping[str, str], user: str, groups: t.Collection[str]) -> int:
    """How a user becomes root: the last rule that fits counts."""
    return next((rule.way for rule in reversed(read_rules(files)) if rule.covers(user, groups)), NOT)


def refuse_loss(sudo: Sudo, login: str, groups: t.Collection[str], groups_after: t.Collection[str]) -> None:
    """Stop where the account that the run came in as would not be root any more, and could not even end the run.

    Args:
        sudo: what there is, and what will be.
        login: the account.
        groups: those that it is in.
        groups_after: those that it will be in; they change after the rules were written.

    Raises:
        InvalidInput: so it is.
    """
    now = way_of(sudo.files, login, groups)
    after = min(way_of(sudo.wanted(), login, some) for some in (groups, groups_after))
    if after < now:
        cause = f"it is the one that this run came in as, and it {_WORDS[after]}"
        next_step = "give it rules of its own (sudo, in base_users) that do not depend on what is taken away, or log in as somebody else to do that"
        raise InvalidInput(f"change groups and rules of the user {login}", cause, next_step)
