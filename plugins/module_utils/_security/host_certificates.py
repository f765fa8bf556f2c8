# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates: those in files of a host, and the ends that ``openssl x509`` prints. Reads only."""

from __future__ import annotations

import calendar
import os
import re
import time
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.host import NotKnown, Run
from ansible_collections.mainstay.ops.plugins.module_utils._security.host_files import SKIPPED

_SUFFIXES = (".crt", ".pem", ".cer", ".cert")
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FILE_BYTES = 65536
"""A file of certificates is smaller; the bundle of all authorities is not one of ours."""

ARGV = ["openssl", "x509", "-noout", "-subject", "-dates"]
"""Describes the certificate of its standard input."""


def find_certificates(run: Run, paths: t.Sequence[str], limit: int = 200) -> list[dict[str, t.Any]]:
    """Return the certificates in files, each with ``where``, ``name``, ``not_before`` and ``not_after`` (Unix times); of copies the first.

    Raises:
        NotKnown: there are more than ``limit``.
    """
    found: dict[str, str] = {}
    for top in paths:
        for path in _files(top):
            for block in _BLOCK.findall(_content(path)):
                found.setdefault(block.strip(), path)
    if len(found) > limit:
        raise NotKnown(f"there are more than {limit} certificates below {', '.join(paths)}; name fewer folders")
    described = ({"where": path, **parsed} for block, path in found.items() if (parsed := describe_certificate(run, block)))
    return sorted(described, key=lambda certificate: (certificate["where"], certificate["name"]))


def describe_certificate(run: Run, block: str) -> dict[str, t.Any] | None:
    """Return what ``openssl`` says of a certificate, None if it cannot read it."""
    status, out, _err = run(ARGV, data=block)
    return parse_certificate(out) if status == 0 else None


def parse_certificate(out: str) -> dict[str, t.Any] | None:
    """Read the lines ``subject=``, ``notBefore=`` and ``notAfter=``."""
    lines = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    name = re.search(r"CN\s*=\s*([^,/]+)", lines.get("subject", ""))
    before, after = _moment(lines.get("notBefore", "")), _moment(lines.get("notAfter", ""))
    if before is None or after is None:
        return None
    return {"name": name[1].strip() if name else lines.get("subject", "").strip(), "not_before": before, "not_after": after}


def _moment(text: str) -> int | None:
    """Return the Unix time of ``Feb 25 16:04:00 2027 GMT``, which openssl writes in English whatever the locale is."""
    match = re.fullmatch(r"(\w{3})\s+(\d+) (\d+):(\d+):(\d+) (\d{4}) GMT", text.strip())
    if not match or match[1] not in _MONTHS:
        return None
    return calendar.timegm(time.struct_time((int(match[6]), _MONTHS.index(match[1]) + 1, *(int(match[part]) for part in range(2, 6)), 0, 0, 0)))


def _files(top: str) -> t.Iterator[str]:
    for folder, names, files in os.walk(top):
        names[:] = sorted(name for name in names if f"{folder}/{name}" not in SKIPPED)
        for name in sorted(files):
            path = f"{folder}/{name}"
            # Followed, for the client of an authority leaves links to the newest.
            if name.endswith(_SUFFIXES) and os.path.isfile(path) and os.path.getsize(path) <= FILE_BYTES:
                yield path


def _content(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
