# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Response times by endpoint, from the JSON access log that the role nginx_tls has nginx write."""

from __future__ import annotations

import collections
import json
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._traffic.figures import Figures, bucket
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.log import CLIENT_CLOSED, parse

MOST_ENDPOINTS = 2000
"""Endpoints that are told apart; what comes after counts as one, so that a scanner does not fill the memory."""
SHOWN = 50
OTHERS = "others"
_VARIABLE = re.compile(r"\d+|[0-9a-f]{8}-[0-9a-f-]{27}|(?=[^/]*\d)[0-9A-Za-z_=%.~-]{16,}|[^/]{48,}")
"""A part of a path that names one thing among many: a number, an identifier, a token."""


def endpoint(method: str, uri: str) -> str:
    """Return a request's endpoint: its path without query, identifiers replaced by ``:id``. Tokens in paths do not leave the host."""
    path = uri.partition("?")[0].partition("#")[0]
    parts = [":id" if _VARIABLE.fullmatch(part) else part for part in path.split("/")]
    return f"{method} {'/'.join(parts) or '/'}"


def count(lines: t.Iterable[bytes]) -> dict[str, t.Any]:
    """Return the endpoints that took the most time in all, and totals.

    Args:
        lines: of the log.
    """
    found: dict[str, Figures] = collections.defaultdict(Figures)
    whole, unreadable = Figures(), 0
    for line in lines:
        entry = parse(line)
        if entry is None:
            unreadable += 1
            continue
        fields = json.loads(line.decode("utf-8", "replace"))
        name = endpoint(str(fields.get("method", "")), str(fields.get("uri", "")))
        seconds = float(fields.get("request_time") or 0)
        for figures in (found[name if name in found or len(found) < MOST_ENDPOINTS else OTHERS], whole):
            _add(figures, entry.status, seconds)
    ranked = sorted(found.items(), key=lambda item: -_total(item[1]))
    shown = [{"endpoint": name, **figures.summary().as_dict(), "total_seconds": round(_total(figures), 3)} for name, figures in ranked[:SHOWN]]
    return {"endpoints": shown, "endpoints_left_out": len(ranked[SHOWN:]), "all": whole.summary().as_dict(), "unreadable": unreadable}


def _add(figures: Figures, status: int, seconds: float) -> None:
    figures.requests += 1
    if status == CLIENT_CLOSED:
        figures.aborted += 1
        return
    figures.errors += status >= 500
    figures.times[bucket(seconds)] += 1


def _total(figures: Figures) -> float:
    return sum(milliseconds * number for milliseconds, number in figures.times.items()) / 1000
