# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What :meth:`Systemctl.show` reads, read by a shell: for a look at units without Python on their host."""

from __future__ import annotations

import dataclasses
import shlex
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import PROPERTIES, SEARCH_PATH, Unit, parse_show, unit_file_paths

_PART = "\f\n"
"""Stands between the parts of the answer: no property of systemd has a form feed."""

_FUNCTIONS = r"""
part() { printf '\f\n'; }
first() { for path; do if [ -e "$path" ]; then readlink -f -- "$path"; return; fi; done; echo; }
confs() { for path; do if [ -e "$path" ]; then printf '%s\n' "$path"; fi; done; }
"""


def look_script(names: t.Sequence[str], folders: t.Sequence[str] = SEARCH_PATH) -> str:
    """A script that prints the state of units, where their loaded files lead to, and for each which file and which drop-ins are on disk.

    Args:
        names: the units, with suffixes.
        folders: where unit files lie, strongest first; drop-ins are looked for in the first one.
    """
    show = shlex.join(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *names])
    lines = [
        f"shown=$({show}) || exit",
        "printf '%s\\n' \"$shown\"; part",
        "printf '%s\\n' \"$shown\" | sed -n 's/^FragmentPath=\\(.\\)/\\1/p' | while IFS= read -r path; do readlink -m -- \"$path\"; done",
    ]
    for name in names:
        lines.append(f"part; first {shlex.join(unit_file_paths(name, folders))}; confs {shlex.quote(f'{folders[0]}/{name}.d')}/*.conf")
    return _FUNCTIONS + "\n".join(lines)


def parse_look(names: t.Sequence[str], output: str) -> tuple[Unit, ...]:
    """The units, from what the script printed.

    Args:
        names: the units that it was made for.
        output: its standard output. Ansible gives a command a terminal, which ends lines with CR LF.

    Raises:
        MainstayError: something is missing in it.
    """
    parts = output.replace("\r\n", "\n").split(_PART)
    if len(parts) != len(names) + 2:
        raise MainstayError("read the state of the units", f"the answer has {len(parts)} parts instead of {len(names) + 2}")
    shown, resolved = parts[0], iter(parts[1].splitlines())
    disk = {name: part.splitlines() for name, part in zip(names, parts[2:])}
    units = parse_show(names, shown, {name: lines[0] for name, lines in disk.items()}, {name: frozenset(lines[1:]) for name, lines in disk.items()})
    return tuple(dataclasses.replace(unit, fragment=next(resolved)) if unit.fragment else unit for unit in units)
