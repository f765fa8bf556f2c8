# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd_units: tables for the planner, and what systemd prints for the parser."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils import _systemd
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._systemd import Unit, Wanted

NAME = "a.service"
FILE = "/usr/lib/systemd/system/a.service"
STOPPED = Unit(NAME, "loaded", "inactive", "dead", "disabled", FILE, can_reload=True, file=FILE)
RUNNING = dataclasses.replace(STOPPED, active="active", sub="running", file_state="enabled")
FAILED = dataclasses.replace(STOPPED, active="failed", sub="failed")
MASKED = Unit(NAME, "masked", "inactive", "dead", "masked", "/dev/null", file="/dev/null")
MISSING = Unit(NAME)
STATIC = dataclasses.replace(STOPPED, file_state="static")
ONCE = dataclasses.replace(STOPPED, lasting=False)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("nginx", "nginx.service"),
        ("nginx.service", "nginx.service"),
        ("app@1", "app@1.service"),
        ("app@v1.2", "app@v1.2.service"),
        ("x.timer", "x.timer"),
        ("php8.2-fpm", "php8.2-fpm.service"),
        ("dev-sda1.device", "dev-sda1.device"),
        (r"a\x2db.mount", r"a\x2db.mount"),
    ],
)
def test_full_name(name: str, full: str) -> None:
    """A service is what has no suffix that systemd knows."""
    assert _systemd.full_name(name) == full


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b.service", "app@.service", "app@"])
def test_bad_names(name: str) -> None:
    """No option, no path, no template."""
    with pytest.raises(InvalidInput):
        _systemd.full_name(name)


def test_wanted() -> None:
    """What is left out stays None."""
    found = _systemd.parse_wanted([{"name": "a", "state": "started", "enabled": None}, {"name": "b.timer", "masked": True, "state": "stopped"}])
    assert found == (Wanted(NAME, "started"), Wanted("b.timer", "stopped", masked=True))


@pytest.mark.parametrize(
    "units",
    [
        [{"name": "a"}, {"name": "a.service"}],
        [{"name": "a", "masked": True, "state": "started"}],
        [{"name": "a", "masked": True, "enabled": True}],
        [{"name": "a", "masked": True, "state": "restarted"}],
    ],
)
def test_contradictions(units: list[dict[str, t.Any]]) -> None:
    """They are refused with the unit's name."""
    with pytest.raises(InvalidInput, match=r"a\.service"):
        _systemd.parse_wanted(units)


@pytest.mark.parametrize(
    ("wanted", "unit", "actions", "after"),
    [
        ({}, STOPPED, [], (False, False, False)),
        ({"state": "started"}, STOPPED, ["start"], (True, False, False)),
        ({"state": "started"}, RUNNING, [], (True, True, False)),
        ({"state": "started"}, dataclasses.replace(RUNNING, active="reloading"), [], (True, True, False)),
        ({"state": "started"}, dataclasses.replace(RUNNING, active="activating", sub="auto-restart"), ["start"], (True, True, False)),
        ({"state": "started"}, FAILED, ["reset failed", "start"], (True, False, False)),
        ({"state": "started"}, ONCE, ["start"], (False, False, False)),
        ({"state": "stopped"}, RUNNING, ["stop"], (False, True, False)),
        ({"state": "stopped"}, STOPPED, [], (False, False, False)),
        ({"state": "stopped"}, FAILED, [], (False, False, False)),
        ({"state": "stopped"}, dataclasses.replace(RUNNING, active="activating"), ["stop"], (False, True, False)),
        ({"state": "restarted"}, RUNNING, ["restart"], (True, True, False)),
        ({"state": "restarted"}, STOPPED, ["start"], (True, False, False)),
        ({"state": "restarted"}, FAILED, ["reset failed", "start"], (True, False, False)),
        ({"state": "reloaded"}, RUNNING, ["reload"], (True, True, False)),
        ({"state": "reloaded"}, STOPPED, ["start"], (True, False, False)),
        ({"state": "reload_or_restarted"}, RUNNING, ["reload or restart"], (True, True, False)),
        ({"state": "reload_or_restarted"}, STOPPED, ["start"], (True, False, False)),
        ({"enabled": True}, STOPPED, ["enable"], (False, True, False)),
        ({"enabled": True}, dataclasses.replace(STOPPED, file_state="enabled-runtime"), ["enable"], (False, True, False)),
        ({"enabled": True}, RUNNING, [], (True, True, False)),
        ({"enabled": True}, STATIC, [], (False, True, False)),
        ({"enabled": False}, RUNNING, ["disable"], (True, False, False)),
        ({"enabled": False}, STOPPED, [], (False, False, False)),
        ({"enabled": False}, STATIC, [], (False, True, False)),
        ({"state": "started", "enabled": True}, STOPPED, ["enable", "start"], (True, True, False)),
        ({"state": "stopped", "masked": True}, RUNNING, ["stop", "mask"], (False, False, True)),
        ({"masked": True}, MASKED, [], (False, False, True)),
        ({"masked": False}, STOPPED, [], (False, False, False)),
        ({"masked": False, "state": "started", "enabled": True}, MASKED, ["unmask", "enable", "start"], (True, True, False)),
        ({"masked": False, "enabled": False}, MASKED, ["unmask", "disable"], (False, False, False)),
        ({"state": "started", "enabled": True}, MISSING, ["enable", "start"], (True, True, False)),
        ({"state": "stopped", "enabled": False}, MISSING, [], (False, False, False)),
    ],
)
def test_plans(wanted: dict[str, t.Any], unit: Unit, actions: list[str], after: tuple[bool, bool, bool]) -> None:
    """Each wish against each state: the calls of systemctl, and what the unit is like afterwards."""
    plan = _systemd.plan_units([Wanted(NAME, **wanted)], [unit])
    assert [str(step) for step in plan.steps] == [f"{action} {NAME}" for action in actions]
    described = _systemd.describe(plan.outcomes[0])
    assert described == {"name": NAME, "active": after[0], "enabled": after[1], "masked": after[2], "changed": bool(actions)}
    assert len(_systemd.diff_of(plan)) == bool(actions)


@pytest.mark.parametrize(
    ("wanted", "unit", "words"),
    [
        ({"state": "started"}, MISSING, "does not exist"),
        ({"enabled": True}, MISSING, "does not exist"),
        ({"state": "started"}, MASKED, "is masked"),
        ({"enabled": True}, MASKED, "is masked"),
        ({"state": "started", "masked": False}, MASKED, ""),
        ({"state": "reloaded"}, dataclasses.replace(RUNNING, can_reload=False), "ExecReload"),
        ({"state": "reloaded"}, dataclasses.replace(RUNNING, can_reload=False, need_reload=True), ""),
        ({"state": "reloaded"}, dataclasses.replace(STOPPED, can_reload=False), ""),
        ({"state": "started"}, dataclasses.replace(STOPPED, load="bad-setting", error="Unit a has a bad setting."), "Unit a has a bad setting."),
        ({"state": "stopped"}, dataclasses.replace(STOPPED, load="bad-setting"), ""),
        ({"masked": True}, dataclasses.replace(STOPPED, file="/etc/systemd/system/a.service", fragment="/etc/systemd/system/a.service"), "in the way"),
        ({"state": "stopped", "enabled": False}, MISSING, ""),
    ],
)
def test_blockers(wanted: dict[str, t.Any], unit: Unit, words: str) -> None:
    """What cannot succeed is known before anything is done; check mode plans it all the same."""
    blockers = _systemd.plan_units([Wanted(NAME, **wanted)], [unit]).blockers
    assert len(blockers) == bool(words)
    assert all(NAME in text and words in text for text in blockers)


@pytest.mark.parametrize(
    ("unit", "stale"),
    [
        (STOPPED, False),
        (MISSING, False),
        (MASKED, False),
        (dataclasses.replace(RUNNING, need_reload=True), True),
        (dataclasses.replace(MISSING, file="/etc/systemd/system/a.service"), True),
        (dataclasses.replace(RUNNING, file="/etc/systemd/system/a.service"), True),
        (dataclasses.replace(RUNNING, fragment="/run/systemd/generator/a.service", file=""), False),
        (dataclasses.replace(RUNNING, unread_drop_in=True), True),
        (dataclasses.replace(MASKED, unread_drop_in=True), False),
    ],
)
def test_unit_files_are_read_again_if_needed(unit: Unit, stale: bool) -> None:
    """Newer than loaded, not loaded yet, or shadowing what is loaded, which systemd itself does not notice."""
    plan = _systemd.plan_units([Wanted(NAME, "stopped")], [unit])
    assert ("reload the unit files of systemd" in [str(step) for step in plan.steps]) is stale
    assert any(part["before_header"] == "systemd" for part in _systemd.diff_of(plan)) is stale


def test_order() -> None:
    """Unmask, read unit files, enable, then start and stop in the order of the list, mask at the end."""
    wanted = [Wanted("a.service", "stopped", masked=True), Wanted("b.service", "started", True, False), Wanted("c.service", "restarted", False)]
    units = [RUNNING, dataclasses.replace(MASKED, name="b.service"), dataclasses.replace(RUNNING, name="c.service", need_reload=True)]
    assert [(step.verb, step.name) for step in _systemd.plan_units(wanted, units).steps] == [
        ("unmask", "b.service"),
        ("daemon-reload", ""),
        ("enable", "b.service"),
        ("disable", "c.service"),
        ("stop", "a.service"),
        ("start", "b.service"),
        ("restart", "c.service"),
        ("mask", "a.service"),
    ]


SHOWN = """Type=notify
RemainAfterExit=no
Id=ssh.service
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/usr/lib/systemd/system/ssh.service
UnitFileState=enabled
CanReload=yes
NeedDaemonReload=no

Type=
RemainAfterExit=no
Id=nonexist.service
LoadState=not-found
ActiveState=inactive
SubState=dead
FragmentPath=
UnitFileState=
CanReload=no
NeedDaemonReload=no
LoadError=org.freedesktop.systemd1.NoSuchUnit "Unit nonexist.service not found."

Id=apt-daily.timer
LoadState=masked
ActiveState=inactive
SubState=dead
FragmentPath=/etc/systemd/system/apt-daily.timer
UnitFileState=masked
CanReload=no
NeedDaemonReload=no

Type=oneshot
RemainAfterExit=no
Id=once.service
LoadState=bad-setting
ActiveState=inactive
SubState=dead
FragmentPath=/etc/systemd/system/once.service
UnitFileState=static
CanReload=no
NeedDaemonReload=yes
LoadError=org.freedesktop.systemd1.BadUnitSetting "Unit once.service has a bad unit file setting."
"""
NAMES = ["sshd.service", "nonexist.service", "apt-daily.timer", "once.service"]


def test_parse_show() -> None:
    """Paragraphs come in the order of the names, which may be aliases; a timer has no type."""
    ssh, missing, timer, once = _systemd.parse_show(NAMES, SHOWN, {"once.service": "/etc/systemd/system/once.service"})
    assert ssh == Unit("sshd.service", "loaded", "active", "running", "enabled", "/usr/lib/systemd/system/ssh.service", can_reload=True)
    assert missing == Unit("nonexist.service", error="Unit nonexist.service not found.")
    assert timer == Unit("apt-daily.timer", "masked", "inactive", "dead", "masked", "/etc/systemd/system/apt-daily.timer")
    assert (once.load, once.need_reload, once.lasting, once.error) == ("bad-setting", True, False, "Unit once.service has a bad unit file setting.")
    assert once.file == once.fragment
    with pytest.raises(MainstayError, match="4 of 3"):
        _systemd.parse_show(NAMES[:3], SHOWN, {})


def test_drop_ins_that_systemd_has_not_loaded(tmp_path: pathlib.Path) -> None:
    """A new folder of drop-ins, which systemd 252 does not notice by itself."""
    folder = tmp_path / "a.service.d"
    folder.mkdir()
    (folder / "one.conf").touch()
    (folder / "README").touch()
    found = _systemd.find_drop_ins("a.service", str(tmp_path))
    assert found == {str(folder / "one.conf")}
    shown = "LoadState=loaded\nDropInPaths={}\nNeedDaemonReload=no\n"
    assert _systemd.parse_show(["a.service"], shown.format(""), {}, {"a.service": found})[0].unread_drop_in
    loaded = f"/usr/lib/systemd/system/service.d/all.conf {folder / 'one.conf'}"
    assert not _systemd.parse_show(["a.service"], shown.format(loaded), {}, {"a.service": found})[0].unread_drop_in


def test_find_unit_file(tmp_path: pathlib.Path) -> None:
    """The strongest folder wins; an instance falls back to its template; links are resolved."""
    strong, weak = tmp_path / "etc", tmp_path / "usr"
    for folder in (strong, weak):
        folder.mkdir()
    for path in (weak / "a.service", weak / "app@.service", strong / "app@2.service", weak / "real.service"):
        path.write_text("")
    (strong / "alias.service").symlink_to(weak / "real.service")
    folders = [str(strong), str(weak)]
    expected = {
        "a.service": weak / "a.service",
        "app@1.service": weak / "app@.service",
        "app@2.service": strong / "app@2.service",
        "alias.service": weak / "real.service",
        "none.service": "",
        "app@x.timer": "",
    }
    assert {name: _systemd.find_unit_file(name, folders) for name in expected} == {name: str(path) for name, path in expected.items()}
    (strong / "a.service").write_text("")
    assert _systemd.find_unit_file("a.service", folders) == str(strong / "a.service")


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("password=hunter2", "password=********"),
        ("DB_PASSWORD: hunter2 next", "DB_PASSWORD: ******** next"),
        ("postgres://u:hunter2@db/x", "postgres://u:********@db/x"),
        ("redis://:hunter2@db", "redis://:********@db"),
        ("api_key = hunter2", "api_key = ********"),
        ("Main process exited, code=exited, status=3", "Main process exited, code=exited, status=3"),
        ("http://db:8080/x", "http://db:8080/x"),
    ],
)
def test_journal_without_secrets(line: str, hidden: str) -> None:
    """What is called a password, and passwords in URLs."""
    assert _systemd.hide_secrets(line) == hidden


class Programs:
    """Answers like the programs of a host: the units as they are, and which steps fail. Keeps what was called."""

    def __init__(self, *states: str, fail: str = "", journal: str = "") -> None:
        """The paragraphs of each ``systemctl show`` in turn; the last one is repeated."""
        self.states, self.fail, self.journal = list(states), fail, journal
        self.calls: list[str] = []

    def __call__(self, argv: list[str]) -> tuple[int, str, str]:
        """Run."""
        self.calls.append(" ".join(word for word in argv if not word.startswith("--")))
        if argv[1] == "show":
            return 0, self.states.pop(0) if len(self.states) > 1 else self.states[0], ""
        if argv[0] == "journalctl":
            return 0, self.journal, ""
        return (1, "", f"Failed to {argv[2]}: reasons") if argv[2] == self.fail else (0, "", "")


def shown(**changes: str) -> str:
    """One paragraph of ``systemctl show``."""
    found = {"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "UnitFileState": "disabled", "NeedDaemonReload": "no", **changes}
    return "".join(f"{key}={value}\n" for key, value in found.items())


UP = shown(ActiveState="active", SubState="running", UnitFileState="enabled")
DOWN = shown(ActiveState="failed", SubState="failed")
START = [Wanted("zz-no-such-file.service", "started", True)]


def ensure(programs: Programs, wanted: t.Sequence[Wanted] = tuple(START), check_mode: bool = False) -> list[str]:
    """Run and return the programs that were called."""
    _systemd.ensure_units(wanted, _systemd.Systemctl(programs), check_mode)
    return programs.calls


def test_one_look_if_there_is_nothing_to_do() -> None:
    """One program for all units, in check mode and else."""
    two = [*START, Wanted("zz-other.service", "started")]
    for check_mode in (False, True):
        assert ensure(Programs(f"{UP}\n{UP}"), two, check_mode) == ["systemctl show zz-no-such-file.service zz-other.service"]


def test_check_mode_only_looks() -> None:
    """Whatever there is to do, and whatever blocks it."""
    for state in (shown(), shown(LoadState="not-found"), shown(NeedDaemonReload="yes")):
        assert ensure(Programs(state), check_mode=True) == ["systemctl show zz-no-such-file.service"]


def test_a_run_looks_again_afterwards() -> None:
    """Enable, start, look."""
    name = "zz-no-such-file.service"
    assert ensure(Programs(shown(), UP)) == [f"systemctl {verb} {name}" for verb in ("show", "enable", "start", "show")]


def test_nothing_is_touched_if_one_unit_is_missing() -> None:
    """The check comes before the first step."""
    programs = Programs(f"{shown()}\n{shown(LoadState='not-found')}")
    with pytest.raises(MainstayError, match="zz-other.service does not exist"):
        ensure(programs, [*START, Wanted("zz-other.service", "started")])
    assert len(programs.calls) == 1


def test_a_unit_file_that_turns_out_broken() -> None:
    """It is found when the files were read again, before the unit is touched."""
    programs = Programs(shown(NeedDaemonReload="yes"), shown(LoadState="bad-setting", LoadError='x.Bad "bad line 3"'))
    with pytest.raises(MainstayError, match="cannot be loaded .bad line 3."):
        ensure(programs)
    assert [call.split()[1] for call in programs.calls] == ["show", "daemon-reload", "show"]


@pytest.mark.parametrize(
    "programs",
    [
        Programs(shown(), DOWN, fail="start", journal="one\ntwo password=hunter2\n"),
        Programs(shown(), DOWN, journal="one\ntwo password=hunter2\n"),
        Programs(shown(), shown(ActiveState="activating", SubState="auto-restart"), journal="one\ntwo password=hunter2\n"),
    ],
)
def test_a_start_that_fails(programs: Programs) -> None:
    """At once, right afterwards, or over and over: the end of the journal is part of the message."""
    with pytest.raises(MainstayError, match="could not start zz-no-such-file.service: it is .*journal ends with:\none\ntwo password=") as caught:
        ensure(programs)
    assert "hunter2" not in str(caught.value) + str(caught.value.details)
    assert caught.value.details == {"journal": ["one", "two password=********"], "unit": "zz-no-such-file.service"}


def test_only_the_end_of_the_journal() -> None:
    """Twenty lines."""
    with pytest.raises(MainstayError) as caught:
        ensure(Programs(shown(), DOWN, fail="start", journal="\n".join(str(number) for number in range(100))))
    assert caught.value.details["journal"] == [str(number) for number in range(80, 100)]


def test_an_enable_that_fails() -> None:
    """systemctl's own words."""
    with pytest.raises(MainstayError, match="could not enable zz-no-such-file.service: Failed to enable: reasons"):
        ensure(Programs(shown(), UP, fail="enable"))
