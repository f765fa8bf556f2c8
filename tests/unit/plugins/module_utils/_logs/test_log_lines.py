# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a line says, and which lines are about a request."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._logs.find import Search, check_id, find
from ansible_collections.mainstay.ops.plugins.module_utils._logs.lines import Line, holds, postgresql_time, read_journal, read_line

ID = "5f0c1a7f3c8de01b"
NGINX = {"msec": 1795370400.5, "request_id": ID, "method": "GET", "uri": "/entries", "remote_addr": "192.0.2.9", "status": 200, "request_time": 0.012,
         "upstream_addr": "192.0.2.21:8000"}
APPLICATION = {"time": "2026-11-22T18:00:00.600+00:00", "message": "request", "request_id": ID, "method": "GET", "path": "/entries", "status": 200,
               "seconds": 0.01, "host": "app1", "level": "info"}
POSTGRESQL = {"timestamp": "2026-11-22 18:00:00.605 UTC", "pid": 7, "error_severity": "LOG", "user": "ledger",
              "message": f"duration: 2.500 ms  statement: SELECT 1 /* request_id={ID} */"}


@pytest.mark.parametrize(("fields", "source", "status", "seconds", "words"), [
    (NGINX, "nginx", 200, 0.012, "GET /entries from 192.0.2.9 answered 200 by 192.0.2.21:8000"),
    (APPLICATION, "application", 200, 0.01, "GET /entries; level: info"),
    (POSTGRESQL, "postgresql", 0, 0.0025, "LOG: duration: 2.500 ms"),
    ({**POSTGRESQL, "message": "duplicate key", "statement": f"INSERT /* request_id={ID} */"}, "postgresql", 0, 0.0, "statement: INSERT"),
    ({**APPLICATION, "exception": "Traceback"}, "application", 200, 0.01, "exception: Traceback"),
])
def test_read_line(fields: dict[str, t.Any], source: str, status: int, seconds: float, words: str) -> None:
    """Each of the three kinds by its fields."""
    line = read_line(json.dumps(fields), ID, "here")
    assert line is not None and (line.source, line.status, line.seconds) == (source, status, seconds) and words in line.text
    assert line.host == ("app1" if source == "application" else "here")
    assert 1795370400 <= line.time < 1795370401


@pytest.mark.parametrize("text", [
    json.dumps({**NGINX, "request_id": ID + "0"}), json.dumps({**NGINX, "request_id": "0" + ID}), f"words of {ID}", "[1]", json.dumps([ID]), "",
])
def test_lines_that_are_not_about_it(text: str) -> None:
    """A longer id, and what is no JSON where nothing else is expected."""
    assert read_line(text, ID, "here") is None


def test_journal() -> None:
    """A message in JSON is read as such; any other one is what it is, with the journal's own time and host."""
    entry = {"MESSAGE": json.dumps(APPLICATION), "_HOSTNAME": "app2", "SYSLOG_IDENTIFIER": "ledger-blue", "__REALTIME_TIMESTAMP": "1795370400700000"}
    assert read_journal(entry, ID).source == "application"
    plain = {**entry, "MESSAGE": list(f"ERROR /* request_id={ID} */ \xff".encode("latin-1")), "SYSLOG_IDENTIFIER": "postgres"}
    assert read_journal(plain, ID) == Line(1795370400.7, "app2", "postgresql", f"ERROR /* request_id={ID} */ �")
    assert read_journal({**entry, "MESSAGE": "nothing"}, ID) is None
    assert read_journal({**entry, "MESSAGE": None}, ID) is None


def test_holds() -> None:
    """A dot in an id is a dot."""
    assert holds("a.b: x", "a.b") and not holds("aXb", "a.b") and holds("x a.b.", "a.b")


def test_time_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    """UTC, or else what the host has."""
    assert postgresql_time("2026-11-22 18:00:00.250 UTC") == 1795370400.25
    monkeypatch.setenv("TZ", "CET-1")
    __import__("time").tzset()
    try:
        assert postgresql_time("2026-11-22 19:00:00.250 CET") == 1795370400.25
    finally:
        monkeypatch.undo()
        __import__("time").tzset()


@pytest.mark.parametrize("text", ["", "abc", "a" * 65, "x; rm -rf", "../etc", "a b c d", "{{ x }}"])
def test_ids_that_are_refused(text: str) -> None:
    """Before anything is read."""
    with pytest.raises(InvalidInput, match="4 to 64"):
        check_id(text)


@pytest.mark.parametrize(("status", "errors", "fails"), [(1, "", False), (0, "", False), (1, "no such folder", True), (2, "", True)])
def test_journalctl_that_fails_is_no_journal_without_a_line(tmp_path: pathlib.Path, status: int, errors: str, fails: bool) -> None:
    """Status 1 alone means that nothing was found."""
    search = Search(ID, 0, 2e9, True, "", (str(tmp_path / "none*"),), "here")
    if fails:
        with pytest.raises(MainstayError, match="read the journal"):
            find(search, lambda _argv: (status, "", errors))
    else:
        assert find(search, lambda _argv: (status, "", errors)).searched == ("the journal",)
