# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several systemd units in one go: read all with one call, plan, act, look again."""

from __future__ import annotations

import dataclasses
import glob
import os
import posixpath
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

Run = t.Callable[[list[str]], tuple[int, str, str]]
"""Runs an argv and returns its exit status, standard output and standard error."""

STATES = ("started", "stopped", "restarted", "reloaded", "reload_or_restarted")
SUFFIXES = frozenset("automount device mount path scope service slice socket swap target timer".split())
PROPERTIES = tuple("Id LoadState LoadError ActiveState SubState UnitFileState FragmentPath DropInPaths NeedDaemonReload CanReload Type RemainAfterExit".split())
SEARCH_PATH = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
"""Where unit files of the system lie, strongest first: systemd.unit(5)."""

JOURNAL_LINES = 20
_NAME = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*")
_ACTIVE = frozenset({"active", "reloading", "refreshing"})
_ENABLED = frozenset({"enabled", "static", "alias", "indirect", "generated"})
"""The answers of is-enabled that end with status 0 and outlast a reboot: systemctl(1)."""
_DISABLEABLE = frozenset({"enabled", "enabled-runtime"})
_SECRET = re.compile(r"(?i)((?:pass(?:word|wd)?|secret|token|api_?key)\S*?\s*[=:]\s*)\S+|(://[^/\s:@]*:)[^@\s]+(?=@)")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A unit as it shall be; None leaves that side of it alone."""

    name: str
    state: str | None = None
    enabled: bool | None = None
    masked: bool | None = None


@dataclasses.dataclass(frozen=True)
class Unit:
    """A unit as systemd knows it.

    ``file`` is its unit file on disk as systemd would find it now, empty if there is none; ``unread_drop_in`` says that a drop-in lies
    on disk that systemd has not loaded.
    """

    name: str
    load: str = "not-found"
    active: str = "inactive"
    sub: str = "dead"
    file_state: str = ""
    fragment: str = ""
    need_reload: bool = False
    can_reload: bool = False
    lasting: bool = True
    error: str = ""
    file: str = ""
    unread_drop_in: bool = False

    @property
    def exists(self) -> bool:
        """Whether systemd knows the unit, or would after reading its files again."""
        return self.load != "not-found" or bool(self.file)

    @property
    def is_active(self) -> bool:
        """Whether it runs."""
        return self.active in _ACTIVE

    @property
    def is_enabled(self) -> bool:
        """Whether ``systemctl is-enabled`` says yes, for good."""
        return self.file_state in _ENABLED

    @property
    def is_masked(self) -> bool:
        """Whether it is masked for good."""
        return self.file_state == "masked"

    @property
    def stale(self) -> bool:
        """Whether what systemd has loaded is older than what is on disk."""
        if self.load == "not-found":
            return bool(self.file)
        shadowed = self.file.startswith(("/etc/", "/run/")) and self.fragment not in ("", self.file)
        return self.need_reload or ((self.unread_drop_in or shadowed) and not self.is_masked)


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of systemctl."""

    verb: str
    name: str

    def __str__(self) -> str:
        """The step in words."""
        return f"{self.verb.replace('-', ' ')} {self.name}" if self.name else "reload the unit files of systemd"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a unit will be like, and the steps that concern it."""

    before: Unit
    steps: tuple[Step, ...]
    active: bool
    enabled: bool
    masked: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """All steps in the order in which they are done, and ``blockers``: what makes them impossible on this host as it is now."""

    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]
    blockers: tuple[str, ...]


def full_name(name: str) -> str:
    """A unit's name with its suffix, ``.service`` if none is given.

    Raises:
        InvalidInput: it is no unit's name, or a template without an instance.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"use the unit name {name!r}", "it is not a unit's name")
    full = name if name.rpartition(".")[2] in SUFFIXES and "." in name else f"{name}.service"
    if "@." in full:
        raise InvalidInput(f"use the unit name {full}", "it is a template", f"name an instance, for example {full.replace('@.', '@1.')}")
    return full


def parse_wanted(raw: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Wanted, ...]:
    """The option ``units``.

    Raises:
        InvalidInput: a name is wrong or listed twice, or the wishes for a unit contradict each other.
    """
    found: dict[str, Wanted] = {}
    for item in raw:
        wanted = Wanted(full_name(item["name"]), item.get("state"), item.get("enabled"), item.get("masked"))
        if wanted.name in found:
            raise InvalidInput(f"read the list of units, {wanted.name}", "it is listed twice")
        if wanted.masked and (wanted.enabled or wanted.state not in (None, "stopped")):
            raise InvalidInput(f"read the list of units, {wanted.name}", "a masked unit can be neither enabled nor started", "drop masked or the rest")
        found[wanted.name] = wanted
    return tuple(found.values())


def parse_show(
    names: t.Sequence[str], output: str, files: t.Mapping[str, str], drop_ins: t.Mapping[str, frozenset[str]] | None = None
) -> tuple[Unit, ...]:
    """What ``systemctl show NAMES --property=...`` printed.

    Args:
        names: the units that were asked for; systemctl answers in the same order, one paragraph each.
        output: its standard output.
        files: the unit file of each name, as :func:`find_unit_file` gives it.
        drop_ins: the drop-ins of each name, as :func:`find_drop_ins` gives them.

    Raises:
        MainstayError: the answer has another number of paragraphs.
    """
    paragraphs = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in re.split(r"\n{2,}", output.strip()) if block]
    if len(paragraphs) != len(names):
        raise MainstayError("read the state of the units", f"systemctl answered for {len(paragraphs)} of {len(names)}")
    units = []
    for name, found in zip(names, paragraphs):
        get = found.get
        lasting = get("Type") != "oneshot" or get("RemainAfterExit") == "yes"
        error = (get("LoadError") or "").partition(" ")[2].strip('" ')
        units.append(
            Unit(
                name,
                get("LoadState", ""),
                get("ActiveState", ""),
                get("SubState", ""),
                get("UnitFileState", ""),
                get("FragmentPath", ""),
                get("NeedDaemonReload") == "yes",
                get("CanReload") == "yes",
                lasting,
                error,
                files.get(name, ""),
                bool((drop_ins or {}).get(name, frozenset()) - frozenset((get("DropInPaths") or "").split())),
            )
        )
    return tuple(units)


def find_unit_file(name: str, folders: t.Sequence[str] = SEARCH_PATH) -> str:
    """The file that systemd would load a unit from, links resolved; empty if there is none."""
    return next((os.path.realpath(path) for path in unit_file_paths(name, folders) if os.path.exists(path)), "")


def unit_file_paths(name: str, folders: t.Sequence[str] = SEARCH_PATH) -> list[str]:
    """Where the file of a unit may lie, strongest first: an instance has its own name, or its template's."""
    stem, at, rest = name.partition("@")
    return [posixpath.join(folder, candidate) for candidate in ((name, f"{stem}@.{rest.rpartition('.')[2]}") if at else (name,)) for folder in folders]


def find_drop_ins(name: str, folder: str = SEARCH_PATH[0]) -> frozenset[str]:
    """The drop-ins of a unit in the strongest folder.

    systemd 252 (Debian 12) answers ``NeedDaemonReload=no`` for a unit whose folder of drop-ins is new, so they are looked for here.
    """
    return frozenset(glob.glob(posixpath.join(glob.escape(posixpath.join(folder, f"{name}.d")), "*.conf")))


def _state_verb(wanted: Wanted, unit: Unit) -> str | None:
    """The verb that brings a unit to its state, None if it is there already."""
    if wanted.state == "stopped":
        return None if unit.active in ("inactive", "failed") else "stop"
    if wanted.state in ("restarted", "reload_or_restarted") and unit.is_active:
        return "restart" if wanted.state == "restarted" else "reload-or-restart"
    if wanted.state == "reloaded" and unit.is_active:
        return "reload"
    return None if wanted.state is None or (unit.is_active and wanted.state == "started") else "start"


def _outcome(wanted: Wanted, unit: Unit) -> Outcome:
    verbs = []
    if wanted.masked is False and (unit.is_masked or unit.load == "masked"):
        verbs.append("unmask")
    if wanted.enabled and not unit.is_enabled:
        verbs.append("enable")
    if wanted.enabled is False and (unit.file_state in _DISABLEABLE or "unmask" in verbs):
        verbs.append("disable")
    verb = _state_verb(wanted, unit)
    if verb in ("start", "restart") and unit.active == "failed":
        verbs.append("reset-failed")  # else a unit that failed often is refused, whatever was repaired since
    if verb:
        verbs.append(verb)
    if wanted.masked and not unit.is_masked:
        verbs.append("mask")
    active = unit.is_active if verb is None else verb != "stop" and unit.lasting
    masked = unit.is_masked if wanted.masked is None else wanted.masked
    enabled = unit.is_enabled if wanted.enabled is None else wanted.enabled or (unit.is_enabled and "disable" not in verbs)
    return Outcome(unit, tuple(Step(verb, unit.name) for verb in verbs), active, enabled and not masked, masked)


def _blocker(wanted: Wanted, unit: Unit, steps: t.Sequence[Step]) -> str:
    """Why the steps for a unit cannot succeed, empty if they can."""
    verbs = {step.verb for step in steps}
    starts = verbs & {"start", "restart", "reload", "reload-or-restart", "enable"}
    if "mask" in verbs and unit.file.startswith("/etc/systemd/system/"):
        return f"{unit.name} cannot be masked: {unit.file} is in the way; remove that file first"
    if starts and not unit.exists:
        return f"{unit.name} does not exist: install its package or write its unit file first"
    if starts and unit.is_masked and "unmask" not in verbs:
        return f"{unit.name} is masked: say masked false too"
    if starts and unit.load in ("error", "bad-setting") and not unit.stale:
        return f"{unit.name} cannot be loaded ({unit.error or unit.load}): run systemd-analyze verify {unit.name}"
    if "reload" in verbs and not unit.can_reload and not unit.stale:
        return f"{unit.name} has no ExecReload: use reload_or_restarted"
    return ""


_ORDER = {"unmask": 0, "enable": 2, "disable": 2, "mask": 4}
"""Unit files are read again (1) before anything depends on them; units are started and stopped (3) in the order of the list."""


def plan_units(wanted: t.Sequence[Wanted], units: t.Sequence[Unit]) -> Plan:
    """Compare the units with what is asked for.

    Args:
        wanted: the units as they shall be.
        units: the same units as they are, in the same order.
    """
    outcomes = tuple(_outcome(want, unit) for want, unit in zip(wanted, units))
    steps = [step for outcome in outcomes for step in outcome.steps]
    if any(unit.stale for unit in units):
        steps.append(Step("daemon-reload", ""))
    blockers = (_blocker(want, unit, outcome.steps) for want, unit, outcome in zip(wanted, units, outcomes))
    order = {**_ORDER, "daemon-reload": 1}
    return Plan(tuple(sorted(steps, key=lambda step: order.get(step.verb, 3))), outcomes, tuple(text for text in blockers if text))


def describe(outcome: Outcome) -> dict[str, t.Any]:
    """The part of the module's result that is about one unit."""
    return {"name": outcome.before.name, "active": outcome.active, "enabled": outcome.enabled, "masked": outcome.masked, "changed": bool(outcome.steps)}


def diff_of(plan: Plan) -> list[dict[str, str]]:
    """Before and after of each unit that something is done to."""
    reloaded = {"before_header": "systemd", "after_header": "systemd", "before": "unit files older than on disk\n", "after": "unit files as on disk\n"}
    first = [reloaded] if any(step.verb == "daemon-reload" for step in plan.steps) else []
    return first + [_unit_diff(outcome) for outcome in plan.outcomes if outcome.steps]


def _unit_diff(outcome: Outcome) -> dict[str, str]:
    unit, verbs = outcome.before, {step.verb for step in outcome.steps}
    again = next((f" ({verb.replace('-', ' ')})" for verb in ("restart", "reload-or-restart", "reload") if verb in verbs), "")
    before = _lines(unit.is_active, unit.is_enabled, unit.is_masked, "")
    return {"before_header": unit.name, "after_header": unit.name, "before": before, "after": _lines(outcome.active, outcome.enabled, outcome.masked, again)}


def _lines(active: bool, enabled: bool, masked: bool, note: str) -> str:
    return f"{'active' if active else 'inactive'}{note}\n{'masked' if masked else 'enabled' if enabled else 'disabled'}\n"


def hide_secrets(text: str) -> str:
    """A log's text without the values of what is called password, secret, token or key, and without passwords in URLs."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}********", text)


class Systemctl:
    """The programs systemctl and journalctl."""

    def __init__(self, run: Run) -> None:
        """Use ``run`` to start programs."""
        self._run = run

    def show(self, names: t.Sequence[str]) -> tuple[Unit, ...]:
        """Read all units with one call.

        Raises:
            MainstayError: systemd does not answer.
        """
        if not names:
            return ()
        rc, out, err = self._run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", "--", *names])
        if rc != 0:
            raise MainstayError("read the state of the units", err.strip() or f"systemctl ended with status {rc}", "the host must run systemd")
        units = parse_show(names, out, {name: find_unit_file(name) for name in names}, {name: find_drop_ins(name) for name in names})
        return tuple(self._completed(unit) for unit in units)

    def _completed(self, unit: Unit) -> Unit:
        """A unit with the links of its path resolved and, if the manager has not loaded it yet, with what the disk says about it."""
        if unit.load == "not-found" and unit.file:
            return dataclasses.replace(unit, file_state=self._run(["systemctl", "is-enabled", "--", unit.name])[1].strip())
        return dataclasses.replace(unit, fragment=os.path.realpath(unit.fragment)) if unit.fragment else unit

    def do(self, step: Step) -> None:
        """Carry out a step and wait until its job is done.

        Raises:
            MainstayError: it failed; for a start the last lines of the unit's journal are part of the message.
        """
        rc, out, err = self._run(["systemctl", "--no-ask-password", step.verb, *(["--", step.name] if step.name else [])])
        if rc == 0:
            return
        if step.verb in ("start", "restart", "reload", "reload-or-restart", "stop"):
            raise self.failure(step)
        raise MainstayError(str(step), hide_secrets((err or out).strip()) or f"systemctl ended with status {rc}")

    def failure(self, step: Step) -> MainstayError:
        """The error for a unit that did not do what the step asked for, with the end of its journal."""
        unit = self.show([step.name])[0]
        rc, out, err = self._run(["journalctl", "--namespace=*", f"--unit={step.name}", f"--lines={JOURNAL_LINES}", "--no-pager", "--output=cat", "--quiet"])
        lines = hide_secrets(out if rc == 0 else err).strip().splitlines()[-JOURNAL_LINES:]
        cause = f"it is {unit.active} ({unit.sub}); its journal ends with:\n" + ("\n".join(lines) or "(nothing)")
        return MainstayError(str(step), cause, journal=lines, unit=step.name)

    def check(self, steps: t.Sequence[Step]) -> None:
        """Look once more at the units that were started.

        Raises:
            MainstayError: one failed, or waits to be started again, after its start had been reported done.
        """
        started = [step for step in steps if step.verb in ("start", "restart", "reload", "reload-or-restart")]
        for step, unit in zip(started, self.show([step.name for step in started])):
            if unit.active == "failed" or unit.sub == "auto-restart":
                raise self.failure(step)


def ensure_units(wanted: t.Sequence[Wanted], systemctl: Systemctl, check_mode: bool) -> Plan:
    """Bring the units to what is asked for, or only say what that takes.

    Raises:
        MainstayError: a unit does not exist or cannot be used as asked (before anything is changed), or a step failed.
    """
    names = [want.name for want in wanted]
    units = systemctl.show(names)
    plan = plan_units(wanted, units)
    if check_mode or not plan.steps:
        return plan
    if plan.blockers:
        raise MainstayError("run the units", "; ".join(plan.blockers))
    for step in plan.steps:
        systemctl.do(step)
        if step.verb == "daemon-reload":
            broken = [text for text in plan_units(wanted, systemctl.show(names)).blockers if "cannot be loaded" in text]
            if broken:
                raise MainstayError("run the units", "; ".join(broken))
    systemctl.check(plan.steps)
    return plan
