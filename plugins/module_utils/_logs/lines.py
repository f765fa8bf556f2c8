# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a line of a log says, whoever wrote it: nginx, the application, PostgreSQL, or anything else whose words hold the id."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import time
import typing as t

#: An id that can stand in a log and in a pattern: that of nginx is 32 digits, and what an application accepts from elsewhere is much the same.
ID = re.compile(r"[A-Za-z0-9._-]{4,64}")
#: Characters of a text that is returned.
TEXT_MAX = 2000


@dataclasses.dataclass(frozen=True, order=True)
class Line:
    """One line of a log.

    Attributes:
        time: Unix time.
        host: which host wrote it.
        source: ``nginx``, ``application``, ``postgresql``, or the identifier that the journal has.
        text: what it says, for people.
        status: HTTP status, 0 if it has none.
        seconds: how long it took, 0 if it does not say.
    """

    time: float
    host: str
    source: str
    text: str
    status: int = 0
    seconds: float = 0.0


def holds(text: str, wanted: str) -> bool:
    """Whether a text has the id, and not a longer one that it is a part of."""
    return re.search(rf"(?<![A-Za-z0-9._-]){re.escape(wanted)}(?![A-Za-z0-9_-])", text) is not None


def read_line(text: str, wanted: str, host: str, fallback: Line | None = None) -> Line | None:
    """Return what a line says about a request; None if it is not about it.

    Args:
        text: the line, or the message of an entry of the journal.
        wanted: the id.
        host: which host the line is from, where it does not say so itself.
        fallback: what is returned of a line that is no JSON; None returns nothing then.
    """
    if not holds(text, wanted):
        return None
    try:
        fields = json.loads(text)
    except ValueError:
        return fallback
    if not isinstance(fields, dict):
        return fallback
    for reader in (_nginx, _postgresql, _application):
        if found := reader(fields, host):
            return found
    return fallback


def read_journal(entry: t.Mapping[str, t.Any], wanted: str) -> Line | None:
    """Return what an entry of the journal says about a request, as ``journalctl --output=json`` gives it; None if it is not about it."""
    message = entry.get("MESSAGE")
    # What is no UTF-8 comes as a list of bytes.
    text = bytes(message).decode(errors="replace") if isinstance(message, list) else str(message or "")
    host, source = str(entry.get("_HOSTNAME", "")), str(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or "journal")
    moment = int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6
    kind = "postgresql" if source.startswith(("postgres", "patroni")) else source
    return read_line(text, wanted, host, Line(moment, host, kind, text[:TEXT_MAX]))


def _nginx(fields: t.Mapping[str, t.Any], host: str) -> Line | None:
    if "msec" not in fields or "request_id" not in fields:
        return None
    status, seconds = int(fields.get("status", 0)), float(fields.get("request_time", 0))
    upstream = f" by {fields['upstream_addr']}" if fields.get("upstream_addr") else ""
    text = f"{fields.get('method', '?')} {fields.get('uri', '?')} from {fields.get('remote_addr', '?')} answered {status}{upstream}"
    return Line(float(fields["msec"]), host, "nginx", text[:TEXT_MAX], status, seconds)


def _postgresql(fields: t.Mapping[str, t.Any], host: str) -> Line | None:
    if "timestamp" not in fields or "pid" not in fields or "message" not in fields:
        return None
    parts = [f"{fields.get('error_severity', 'LOG')}: {fields['message']}"]
    parts += [f"{name}: {fields[name]}" for name in ("detail", "hint", "statement") if fields.get(name)]
    took = re.search(r"duration: ([0-9.]+) ms", str(fields["message"]))
    return Line(postgresql_time(str(fields["timestamp"])), host, "postgresql", "; ".join(parts)[:TEXT_MAX], 0, float(took[1]) / 1000 if took else 0.0)


def _application(fields: t.Mapping[str, t.Any], host: str) -> Line | None:
    if "time" not in fields or "message" not in fields:
        return None
    moment = datetime.datetime.fromisoformat(str(fields["time"]).replace("Z", "+00:00")).timestamp()
    parts = [f"{fields['method']} {fields.get('path', '')}" if "method" in fields else str(fields["message"])]
    parts += [f"{name}: {fields[name]}" for name in ("level", "exception") if fields.get(name)]
    status, seconds = int(fields.get("status", 0)), float(fields.get("seconds", 0))
    return Line(moment, str(fields.get("host") or host), "application", "; ".join(parts)[:TEXT_MAX], status, seconds)


def postgresql_time(text: str) -> float:
    """Return the Unix time of ``2026-11-28 08:00:00.123 UTC``. Another zone than UTC is taken for that of this host, since its letters can mean several."""
    stamp, zone = text[:23], text[24:]
    moment = datetime.datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S.%f")
    if zone in ("UTC", "GMT", "Etc/UTC"):
        return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
    return time.mktime(moment.timetuple()) + moment.microsecond / 1e6
