# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done: a pure comparison of what is asked for with what is there."""

from __future__ import annotations

import dataclasses
import fnmatch
import posixpath
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.request import Entry, Validator, parents_of
from ansible_collections.mainstay.ops.plugins.module_utils._config_tree.state import DIFF_LIMIT, Current, Host
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

_HIDDEN = "(sensitive: {} content not shown)\n"


@dataclasses.dataclass(frozen=True)
class Change:
    """One entry with what is there now and the word for the difference: created, modified, mode, removed or unchanged."""

    entry: Entry
    current: Current
    change: str
    attributes: bool = False
    uid: int = -1
    gid: int = -1


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that will be done.

    Attributes:
        changes: every entry with what becomes of it.
        parents: folders above them that are made.
        validators: those that a change concerns.
        blockers: what makes it impossible on this host as it is now.
        late: units that run since before a file was written that they read.
    """

    changes: tuple[Change, ...]
    parents: tuple[str, ...]
    validators: tuple[Validator, ...]
    blockers: tuple[str, ...] = ()
    late: frozenset[str] = frozenset()

    @property
    def pending(self) -> tuple[Change, ...]:
        """The entries that are not yet as they shall be."""
        return tuple(change for change in self.changes if change.change != "unchanged")

    @property
    def readers(self) -> dict[str, list[str]]:
        """The units that read files which are as they shall be, each with those files."""
        found: dict[str, list[str]] = {}
        for change in self.changes:
            for unit in change.entry.readers if change.change == "unchanged" else ():
                found.setdefault(unit, []).append(change.entry.dest)
        return found

    @property
    def unread(self) -> tuple[Change, ...]:
        """The entries that are as they shall be, but not yet in force: a run was ended between writing and its handlers."""
        return tuple(change for change in self.changes if change.change == "unchanged" and self.late.intersection(change.entry.readers))

    @property
    def writes(self) -> bool:
        """Whether anything on the host is changed."""
        return bool(self.pending or self.parents)

    @property
    def changed(self) -> bool:
        """Whether there is anything to do, here or by handlers."""
        return self.writes or bool(self.unread)

    @property
    def changed_files(self) -> list[str]:
        """The paths that differ, in the order of the list."""
        return [change.entry.dest for change in self.pending]

    @property
    def notify(self) -> list[str]:
        """The topics of what differs or is not in force, each once, in order."""
        return list(dict.fromkeys(topic for change in self.pending + self.unread for topic in change.entry.notify))

    @property
    def actions(self) -> list[str]:
        """What is done, in words; the same in check mode and in a real run."""
        words = [f"validate with {validator.shown}" for validator in self.validators]
        words += [f"create folder {path} with mode 0755" for path in self.parents]
        words += [_words(change) for change in self.pending]
        return words + [f"have {unit} read {change.entry.dest}" for change in self.unread for unit in change.entry.readers if unit in self.late]

    @property
    def diff(self) -> list[dict[str, str]]:
        """Before and after for each path that differs, sensitive contents left out."""
        return [part for change in self.pending for part in _diff(change)] + [_part(path, "", "folder\n", " (folder)") for path in self.parents]


def _attributes(owner: str, group: str, mode: int) -> str:
    return f"owner {owner}, group {group}, mode {mode:04o}"


def _wanted(entry: Entry) -> str:
    return _attributes(entry.owner, entry.group, entry.mode)


def _words(change: Change) -> str:
    entry = change.entry
    if change.change == "removed":
        return f"remove {entry.dest}"
    if entry.state == "link":
        return f"link {entry.dest} to {entry.target}"
    kind = "folder" if entry.state == "directory" else "file"
    if change.change == "mode":
        return f"set {_wanted(entry)} on {kind} {entry.dest}"
    verb = "create" if change.change == "created" else "update"
    return f"{verb} {kind} {entry.dest}" + (f" with {_wanted(entry)}" if change.attributes else "")


def _part(path: str, before: str, after: str, suffix: str = "") -> dict[str, str]:
    return {"before_header": path + suffix, "after_header": path + suffix, "before": before, "after": after}


def _text(content: bytes | None, size: int) -> str:
    """A file's content for a diff, or a note where it cannot be shown."""
    if content is None or len(content) > DIFF_LIMIT:
        return f"(too large to show: {size} bytes)\n"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return f"(not text: {size} bytes)\n"
    return f"(not text: {size} bytes)\n" if "\0" in text else text


def _before(current: Current) -> str:
    if current.kind == "link":
        return f"link to {current.target}\n"
    return "" if current.kind == "absent" else f"{current.kind}\n"


def _diff(change: Change) -> t.Iterator[dict[str, str]]:
    """The parts of a diff for one path: its content, then its attributes."""
    entry, current = change.entry, change.current
    if change.change == "removed":
        yield _part(entry.dest, _before(current), "", " (state)")
    elif entry.state == "link":
        yield _part(entry.dest, _before(current), f"link to {entry.target}\n", " (state)")
    elif entry.state == "file" and change.change in ("created", "modified"):
        before = _text(current.content, current.size) if current.kind == "file" else _before(current)
        after = _text(entry.content, len(entry.content))
        if entry.sensitive:
            before, after = (_HIDDEN.format("previous") if current.kind == "file" else _before(current)), _HIDDEN.format("new")
        yield _part(entry.dest, before, after)
    if change.attributes:
        known = current.kind == entry.state
        before = _attributes(current.owner, current.group, current.mode) + "\n" if known else ""
        yield _part(entry.dest, before, _wanted(entry) + "\n", " (attributes)")


def _refuse(entry: Entry, cause: str, next_step: str) -> MainstayError:
    return MainstayError(f"put {entry.dest} in place", cause, next_step)


def _owned(entry: Entry, current: Current, host: Host) -> Change:
    """The change for a file or a folder."""
    allowed = ("absent", "file", "link") if entry.state == "file" else ("absent", "directory")
    if current.kind not in allowed:
        what = "special file" if current.kind == "other" else "symbolic link" if current.kind == "link" else current.kind
        raise _refuse(entry, f"a {what} is there, not a {entry.state}", "move it away by hand if it is not needed")
    uid, gid = host.uids.get(entry.owner), host.gids.get(entry.group)
    differs = current.kind != entry.state or (current.uid, current.gid, current.mode) != (uid, gid, entry.mode)
    word = "mode" if differs else "unchanged"
    if current.kind == "absent":
        word = "created"
    elif entry.state == "file" and (current.kind == "link" or current.content != entry.content):
        word = "modified"
    return Change(entry, current, word, differs, -1 if uid is None else uid, -1 if gid is None else gid)


def _link(entry: Entry, current: Current) -> Change:
    if current.kind in ("directory", "other"):
        what = "folder" if current.kind == "directory" else "special file"
        raise _refuse(entry, f"a {what} is there, not a link", "move it away by hand if it is not needed")
    if current.kind == "link" and current.target == entry.target:
        return Change(entry, current, "unchanged")
    return Change(entry, current, "created" if current.kind == "absent" else "modified")


def _absent(entry: Entry, current: Current, gone: frozenset[str]) -> Change:
    if current.kind == "absent":
        return Change(entry, current, "unchanged")
    if current.kind == "other":
        raise _refuse(entry, "a special file is there", "remove it by hand if it is not needed")
    left = [name for name in current.children if posixpath.join(entry.dest, name) not in gone]
    if left:
        shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
        raise MainstayError(f"remove {entry.dest}", f"the folder is not empty: {shown}", "list what is in it as absent too, or remove it by hand")
    return Change(entry, current, "removed")


def _missing_parents(entries: t.Sequence[Entry], host: Host) -> dict[str, str]:
    """The folders that are neither there nor listed, outermost first, each with the entry that needs it."""
    made = {entry.dest for entry in entries if entry.state == "directory"}
    missing: dict[str, str] = {}
    for entry in entries:
        if entry.state == "absent":
            continue
        for path in reversed(parents_of(entry.dest)):
            kind = host.parents.get(path, "absent")
            if kind not in ("absent", "directory") and path not in made:
                raise _refuse(entry, f"{path} is not a folder", "move it away by hand if it is not needed")
            if kind == "absent" and path not in made:
                missing.setdefault(path, entry.dest)
    return missing


def _blockers(entries: t.Sequence[Entry], host: Host, missing: t.Mapping[str, str], parents: bool) -> t.Iterator[str]:
    for kind, ids, field in (("user", host.uids, "owner"), ("group", host.gids, "group")):
        for name in sorted(name for name, number in ids.items() if number is None):
            owned = [entry.dest for entry in entries if entry.state in ("file", "directory") and getattr(entry, field) == name]
            yield f"the {kind} {name} of {owned[0]} does not exist"
    if not parents:
        for path, dest in missing.items():
            yield f"the folder {path} of {dest} does not exist"


def plan_tree(entries: t.Sequence[Entry], validators: t.Sequence[Validator], host: Host, parents: bool) -> Plan:
    """Compare the tree with the host.

    Args:
        entries: the tree as it shall be.
        validators: all of them; the plan keeps those that a change concerns.
        host: what is there.
        parents: whether folders above the entries are made.

    Raises:
        MainstayError: something is in the way that must not be replaced silently.
    """
    gone = frozenset(entry.dest for entry in entries if entry.state == "absent")
    changes = []
    for entry in entries:
        current = host.paths[entry.dest]
        if entry.state == "absent":
            changes.append(_absent(entry, current, gone))
        else:
            changes.append(_link(entry, current) if entry.state == "link" else _owned(entry, current, host))
    missing = _missing_parents(entries, host)
    touched = [change.entry.dest for change in changes if change.change != "unchanged"]
    concerned = tuple(v for v in validators if any(fnmatch.fnmatchcase(dest, glob) for dest in touched for glob in v.when_changed))
    return Plan(tuple(changes), tuple(missing) if parents else (), concerned, tuple(_blockers(entries, host, missing, parents)))
