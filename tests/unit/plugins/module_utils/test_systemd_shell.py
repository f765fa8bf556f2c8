# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shell sees of units what the module sees: its script is run with a systemctl that answers as the real one does."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils import _systemd
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._systemd_shell import look_script, parse_look

NAMES = ["plain.service", "app@1.service", "shadowed.service", "dropped.service", "none.timer", r"od\x2dd.mount", "masked.service"]


@pytest.fixture
def host(tmp_path: pathlib.Path) -> tuple[list[str], str, dict[str, str]]:
    """Folders of unit files, what systemctl says, and an environment in which it says that."""
    strong, weak, programs = tmp_path / "etc", tmp_path / "usr", tmp_path / "bin"
    for folder in (strong, weak, programs):
        folder.mkdir()
    for path in (weak / "plain.service", weak / "app@.service", weak / "shadowed.service", strong / "shadowed.service", weak / "dropped.service"):
        path.touch()
    (strong / "masked.service").symlink_to("/dev/null")
    for name in ("dropped.service", r"od\x2dd.mount"):
        (strong / f"{name}.d").mkdir()
        (strong / f"{name}.d" / "10 new.conf").touch()
        (strong / f"{name}.d" / "README").touch()
    loaded = {"app@1.service": weak / "app@.service", "none.timer": "", r"od\x2dd.mount": "", "masked.service": strong / "masked.service"}
    shown = "\n\n".join(
        f"Id={name}\nLoadState={'loaded' if loaded.get(name, True) else 'not-found'}\nActiveState=active\nFragmentPath={loaded.get(name, weak / name)}\n"
        f"UnitFileState={'masked' if name == 'masked.service' else 'enabled'}\nNeedDaemonReload=no\nType=simple"
        for name in NAMES
    )
    (tmp_path / "shown").write_text(shown + "\n")
    (programs / "systemctl").write_text(f"#!/bin/sh\n[ $# = {len(NAMES) + 3} ] && cat {tmp_path}/shown\n")
    (programs / "systemctl").chmod(0o755)
    return [str(strong), str(weak)], shown, {"PATH": f"{programs}:/usr/bin:/bin"}


def test_a_shell_sees_what_the_module_sees(host: tuple[list[str], str, dict[str, str]]) -> None:
    """Files, templates, files that shadow others, drop-ins, masks, and units that are not there."""
    folders, shown, environment = host
    output = subprocess.run(["sh", "-c", look_script(NAMES, folders)], env=environment, check=True, capture_output=True, text=True).stdout
    files = {name: _systemd.find_unit_file(name, folders) for name in NAMES}
    drop_ins = {name: _systemd.find_drop_ins(name, folders[0]) for name in NAMES}
    units = _systemd.parse_show(NAMES, shown, files, drop_ins)
    seen = parse_look(NAMES, output)
    assert [unit.fragment for unit in seen] == [unit.fragment and os.path.realpath(unit.fragment) for unit in units]
    assert [dataclasses.replace(unit, fragment="") for unit in seen] == [dataclasses.replace(unit, fragment="") for unit in units]
    assert parse_look(NAMES, output.replace("\n", "\r\n")) == seen
    assert [unit.name for unit in seen if unit.unread_drop_in] == ["dropped.service", r"od\x2dd.mount"]
    assert files["app@1.service"].endswith("app@.service") and files["masked.service"] == "/dev/null"


def test_an_answer_that_is_cut_off_is_none(host: tuple[list[str], str, dict[str, str]]) -> None:
    """The module then looks by itself."""
    with pytest.raises(MainstayError, match="2 parts instead of 9"):
        parse_look(NAMES, host[1] + "\f\n")
