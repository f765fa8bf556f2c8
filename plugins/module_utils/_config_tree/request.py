# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked for: the entries of a tree and its validators, checked before anything happens.

The controller parses what the task says, renders the contents and packs both; the host unpacks them.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import posixpath
import re
import shlex
import typing as t
import zlib

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

STATES = ("file", "directory", "link", "absent")
_KEYS: dict[str, frozenset[str]] = {
    "file": frozenset({"dest", "state", "notify", "readers", "src", "content", "vars", "owner", "group", "mode", "sensitive"}),
    "directory": frozenset({"dest", "state", "notify", "owner", "group", "mode"}),
    "link": frozenset({"dest", "state", "notify", "target"}),
    "absent": frozenset({"dest", "state", "notify"}),
}
_VALIDATOR_KEYS = frozenset({"argv", "name", "when_changed"})
_MODE = re.compile(r"0?[0-7]{3,4}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_DOING = "read the list of files"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One path of the tree as it shall be.

    ``mode`` is a number; ``content`` holds bytes and is empty for what is not a file. ``readers`` are units that read a file only when they start or are
    reloaded.
    """

    dest: str
    state: str = "file"
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    target: str = ""
    sensitive: bool = False
    notify: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    content: bytes = dataclasses.field(default=b"", repr=False)


@dataclasses.dataclass(frozen=True)
class Request:
    """An entry before its contents are known: a template to render (``src``) or literal ``text``."""

    entry: Entry
    src: str | None = None
    text: str | None = dataclasses.field(default=None, repr=False)
    variables: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class Validator:
    """A program that judges the staged tree; ``when_changed`` are globs over ``dest`` (``*`` matches ``/`` too), ``name`` is what messages call it."""

    argv: tuple[str, ...]
    when_changed: tuple[str, ...] = ("*",)
    name: str = ""

    @property
    def shown(self) -> str:
        """What it is called in messages: its name, or else the command."""
        return self.name or shlex.join(self.argv)


def _bad(what: str, cause: str, next_step: str = "") -> InvalidInput:
    return InvalidInput(f"{_DOING}, {what}", cause, next_step)


def _strings(where: str, key: str, value: t.Any) -> tuple[str, ...]:
    """A string or a list of strings as a tuple."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(x, str) and x for x in listed):
        raise _bad(where, f"{key} must be a string or a list of strings")
    return tuple(str(x) for x in listed)


def _flag(where: str, key: str, value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(where, f"{key} must be true or false, not {value!r}")
    return bool(value)


def parse_mode(where: str, value: t.Any) -> int:
    """An octal mode as a number.

    Args:
        where: the entry that is talked about, for the message.
        value: what was given; a quoted octal string is the only form whose meaning YAML cannot change.

    Raises:
        InvalidInput: it is anything else.
    """
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        raise _bad(where, f"mode {value!r} is not an octal string", 'write it quoted, for example "0644"')
    return int(value, 8)


def _check_dest(number: int, raw: t.Any) -> str:
    where = f"entry {number}"
    dest = raw.get("dest")
    if not isinstance(dest, str) or not dest:
        raise _bad(where, "dest is missing")
    if not dest.startswith("/"):
        raise _bad(dest, "dest must be an absolute path")
    if dest.strip("/") == "" or dest.startswith("//") or posixpath.normpath(dest) != dest or "\0" in dest:
        raise _bad(dest, "dest must be a normal path", "write it without '..', doubled or trailing slashes")
    return str(dest)


def _check_keys(dest: str, state: str, raw: t.Mapping[str, t.Any]) -> None:
    known = frozenset().union(*_KEYS.values())
    unknown = sorted(str(key) for key in set(raw) - known)
    if unknown:
        raise _bad(dest, f"unknown key {', '.join(unknown)}", f"the keys are {', '.join(sorted(known))}")
    surplus = sorted(set(raw) - _KEYS[state])
    if surplus:
        raise _bad(dest, f"{', '.join(surplus)} has no meaning with state {state}", "leave it out")


def _text(dest: str, value: t.Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise _bad(dest, f"content is a {type(value).__name__}, not text", "turn it into text with a filter such as to_nice_json or string")


def parse_entry(number: int, raw: t.Any) -> Request:
    """One item of ``files``.

    Args:
        number: its place in the list, from 1, for entries that have no name yet.
        raw: what the task gave.

    Raises:
        InvalidInput: anything about it is unclear.
    """
    if not isinstance(raw, dict):
        raise _bad(f"entry {number}", f"it is a {type(raw).__name__}, not a dictionary")
    given = {str(key): value for key, value in raw.items() if value is not None}
    dest = _check_dest(number, given)
    state = given.get("state", "file")
    if state not in STATES:
        raise _bad(dest, f"state {state!r} is unknown", f"the states are {', '.join(STATES)}")
    _check_keys(dest, state, given)
    mode = parse_mode(dest, given["mode"]) if "mode" in given else 0o755 if state == "directory" else 0o644
    sensitive = _flag(dest, "sensitive", given.get("sensitive", False))
    texts = {key: given[key] for key in ("owner", "group", "target", "src") if key in given}
    for key, value in texts.items():
        if not isinstance(value, str) or not value:
            raise _bad(dest, f"{key} must be a string that is not empty")
    entry = Entry(
        dest,
        str(state),
        str(texts.get("owner", "root")),
        str(texts.get("group", "root")),
        mode,
        str(texts.get("target", "")),
        sensitive,
        _strings(dest, "notify", given.get("notify", [])),
        _strings(dest, "readers", given.get("readers", [])),
    )
    if state == "link" and not entry.target:
        raise _bad(dest, "a link needs a target")
    if state != "file":
        return Request(entry)
    if ("src" in given) == ("content" in given):
        raise _bad(dest, "src and content exclude each other" if "src" in given else "neither src nor content is given", "give one of the two")
    variables = given.get("vars", {})
    if not isinstance(variables, dict):
        raise _bad(dest, "vars must be a dictionary")
    return Request(entry, texts.get("src"), _text(dest, given["content"]) if "content" in given else None, variables)


def check_tree(entries: t.Sequence[Entry]) -> None:
    """Refuse entries that contradict each other.

    Raises:
        InvalidInput: a path is listed twice, or lies below one that is not a folder.
    """
    states: dict[str, str] = {}
    for entry in entries:
        if entry.dest in states:
            raise _bad(entry.dest, "dest is listed twice", "each path may appear once in a tree")
        states[entry.dest] = entry.state
    for entry in entries:
        if entry.state == "absent":
            continue
        for parent in parents_of(entry.dest):
            if states.get(parent, "directory") != "directory":
                raise _bad(entry.dest, f"it lies below {parent}, whose state is {states[parent]}")


def parents_of(path: str) -> tuple[str, ...]:
    """All folders above a path, nearest first, without ``/``."""
    parts = path.strip("/").split("/")
    return tuple("/" + "/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))


def parse_files(raw: t.Any) -> tuple[Request, ...]:
    """The option ``files``.

    Raises:
        InvalidInput: an entry is unclear or contradicts another one.
    """
    if not isinstance(raw, (list, tuple)):
        raise InvalidInput(_DOING, f"files is a {type(raw).__name__}, not a list")
    requests = tuple(parse_entry(number, item) for number, item in enumerate(raw, 1))
    check_tree([request.entry for request in requests])
    return requests


def parse_validators(raw: t.Any) -> tuple[Validator, ...]:
    """The option ``validators``.

    Raises:
        InvalidInput: one has no argv, or a key that is not known.
    """
    if raw is not None and not isinstance(raw, (list, tuple)):
        raise InvalidInput("read the list of validators", f"it is a {type(raw).__name__}, not a list")
    found = []
    for number, item in enumerate(raw or [], 1):
        where = f"validator {number}"
        if not isinstance(item, dict):
            raise _bad(where, f"it is a {type(item).__name__}, not a dictionary")
        unknown = sorted(str(key) for key in set(item) - _VALIDATOR_KEYS)
        if unknown:
            raise _bad(where, f"unknown key {', '.join(unknown)}", "the keys are argv, name and when_changed")
        argv = item.get("argv")
        if not isinstance(argv, (list, tuple)) or not argv or not all(isinstance(x, (str, int)) for x in argv):
            raise _bad(where, "argv must be a list of strings that is not empty")
        globs = item.get("when_changed")
        when_changed = ("*",) if globs is None else _strings(where, "when_changed", globs)
        found.append(Validator(tuple(str(x) for x in argv), when_changed, str(item.get("name") or "")))
    return tuple(found)


def check_name(name: str) -> str:
    """The name of a tree, which is a folder's name on the host.

    Raises:
        InvalidInput: it is not made of letters, digits, dots, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"use the tree name {name!r}", "it becomes a folder's name", "use letters, digits, dots, dashes and underscores")
    return name


def pack(entries: t.Sequence[Entry]) -> tuple[list[dict[str, t.Any]], str]:
    """The entries as a module's arguments: the list without contents, and all contents as one opaque string.

    The contents travel in one string so that hiding it (``no_log``) hides them whole and masks nothing else.
    """
    files = []
    for entry in entries:
        item: dict[str, t.Any] = {"dest": entry.dest, "state": entry.state, "notify": list(entry.notify)}
        if entry.state in ("file", "directory"):
            item |= {"owner": entry.owner, "group": entry.group, "mode": f"{entry.mode:04o}"}
        if entry.state == "file":
            item |= {"sensitive": entry.sensitive, "readers": list(entry.readers)}
        if entry.state == "link":
            item["target"] = entry.target
        files.append(item)
    contents = [base64.b64encode(entry.content).decode("ascii") for entry in entries if entry.state == "file"]
    return files, base64.b64encode(zlib.compress(json.dumps(contents).encode("ascii"))).decode("ascii")


def unpack(files: t.Sequence[t.Mapping[str, t.Any]], payload: str | None) -> tuple[Entry, ...]:
    """The opposite of :func:`pack`.

    Raises:
        InvalidInput: the contents are missing or do not belong to the list.
    """
    broken = InvalidInput("unpack the files' contents", "they do not belong to the list of files", "run the task through the action plugin of config_tree")
    try:
        contents = [base64.b64decode(text) for text in json.loads(zlib.decompress(base64.b64decode(payload or "")))]
    except (ValueError, zlib.error, binascii.Error):
        raise broken from None
    own = [{key: value for key, value in item.items() if key in _KEYS[item["state"]]} for item in files]  # without the defaults of other states
    entries = [request.entry for request in parse_files([{**item, "content": ""} if item["state"] == "file" else item for item in own])]
    if len(contents) != sum(entry.state == "file" for entry in entries):
        raise broken
    rest = iter(contents)
    return tuple(dataclasses.replace(entry, content=next(rest)) if entry.state == "file" else entry for entry in entries)
