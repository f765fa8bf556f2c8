# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves behind: its report, its page, a line of the history, its figures."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import Store
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._recovery import drill_metrics, history, page
from ansible_collections.mainstay.ops.plugins.module_utils._recovery.record import Record
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import metrics


@dataclasses.dataclass(frozen=True)
class Places:
    """Where it goes; what is None is left out.

    Args:
        dest: folder for ``report.json`` and ``report.html``.
        store: where the history is.
        metrics: the file of the figures, which ends in ``.prom``.
        late_after: seconds after which the last success is too old, for the figures.
    """

    dest: str | None = None
    store: Store | None = None
    metrics: str | None = None
    late_after: int | None = None


@dataclasses.dataclass
class Left:
    """What was left, or would be in check mode."""

    actions: list[str] = dataclasses.field(default_factory=list)
    history: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    texts: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

    def diff(self) -> list[dict[str, str]]:
        """Return the files that change, before and after; the page follows from the report, and is left out."""
        shown = [(path, before, after) for path, (before, after) in self.texts.items() if not path.endswith(".html")]
        return [{"before_header": path, "after_header": path, "before": before, "after": after} for path, before, after in shown]


def check(places: Places, record: Record) -> None:
    """Find out whether the places can be used, before anything is written.

    Raises:
        InvalidInput: one cannot.
    """
    history.folder(record.name)
    if places.metrics is not None:
        check_metrics(places.metrics)
    if places.dest is not None:
        _check_parent("the report", places.dest)


def check_metrics(path: str) -> None:
    """Find out whether figures can be written there.

    Raises:
        InvalidInput: they cannot.
    """
    if not path.endswith(".prom"):
        raise InvalidInput(f"write the figures to {path}", "the collector reads only files that end in .prom")
    _check_parent("the figures", path)


def _check_parent(what: str, path: str) -> None:
    if not os.path.isdir(os.path.dirname(path.rstrip("/"))):
        raise InvalidInput(f"write {what} to {path}", "its parent folder does not exist", "make it, or name another place")


def leave(places: Places, record: Record, check_mode: bool) -> Left:
    """Write everything that is not there yet: the history first, since the page shows it.

    Raises:
        MainstayError: something could not be written. A store that fails keeps neither the report nor the figures from being written.
    """
    check(places, record)
    left, failure = Left(history=[record.line()]), None
    try:
        _add_line(left, places, record, check_mode)
    except MainstayError as error:
        failure = error
    if places.dest is not None:
        if not os.path.isdir(places.dest):
            left.actions.append(f"make the folder {places.dest}")
            if not check_mode:
                _make_folder(places.dest)
        report = json.dumps(record.report(), indent=2, ensure_ascii=False, default=str) + "\n"
        _replace(left, os.path.join(places.dest, "report.json"), report, check_mode)
        _replace(left, os.path.join(places.dest, "report.html"), page.render(record, left.history), check_mode)
    if places.metrics is not None:
        _write_metrics(left, places.metrics, lambda state: drill_metrics.learn(state, record, places.late_after), check_mode)
    if failure is not None:
        raise failure
    return left


def announce(path: str, name: str, level: str, late_after: int | None, check_mode: bool) -> Left:
    """Write figures that say that drills are expected from now on, unless they say so already, so that one that never comes raises an alert.

    Raises:
        MainstayError: they could not be written.
    """
    check_metrics(path)
    left = Left()
    _write_metrics(left, path, lambda state: drill_metrics.expect(state, name, level, late_after, round(time.time(), 3)), check_mode)
    return left


def _add_line(left: Left, places: Places, record: Record, check_mode: bool) -> None:
    if places.store is None:
        return
    line = record.line()
    key = history.key_of(record.name, line)
    left.history = history.read(places.store, record.name)
    if line in left.history:
        return
    left.actions.append(f"add {key} to the history in {places.store.describe()}")
    if not check_mode:
        history.append(places.store, record.name, line)
    left.history = sorted([*left.history, line], key=lambda entry: entry["finished"])


def _write_metrics(left: Left, path: str, change: t.Callable[[dict[str, t.Any]], dict[str, t.Any]], check_mode: bool) -> None:
    with metrics.locked(os.path.dirname(path)):
        before = metrics.read_state(f"{path}.state")
        after = change(before)
        if after != before and not check_mode:
            metrics.write(f"{path}.state", metrics.dump(after))
        _replace(left, path, drill_metrics.render(after), check_mode)


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise MainstayError(f"make the folder {path}", error.strerror or error) from error


def _replace(left: Left, path: str, text: str, check_mode: bool) -> None:
    """Replace a file in one step, unless it is as it should be."""
    before = ""
    try:
        with open(path, encoding="utf-8") as stream:
            before = stream.read()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise MainstayError(f"read {path}", error) from error
    if before == text:
        return
    left.actions.append(f"write {path}")
    left.texts[path] = (before, text)
    if not check_mode:
        metrics.write(path, text)
