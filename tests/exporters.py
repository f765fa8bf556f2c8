# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exporters that the role prometheus installs, run on loopback: what they really serve."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import typing as t
import urllib.request

from ports import free_port
from waiting import until

NAMES = ("node", "postgres", "redis", "nginx")
_METRIC = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)[ {]", re.MULTILINE)


def program(name: str) -> str:
    """Return the path of an exporter."""
    found = shutil.which(f"prometheus-{name}-exporter")
    assert found, f"prometheus-{name}-exporter is missing; install the package of that name"
    return found


def scrape(url: str) -> str:
    """Return what is served at a URL."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def metrics(text: str) -> set[str]:
    """Return the names of the metrics in what an exporter serves."""
    return set(_METRIC.findall(text))


@contextlib.contextmanager
def exporter(name: str, arguments: t.Sequence[str] = (), environment: t.Mapping[str, str] | None = None) -> t.Iterator[int]:
    """Yield the port of a running exporter.

    Args:
        name: one of :data:`NAMES`.
        arguments: further ones; where it listens comes besides.
        environment: what it is told by the environment.
    """
    port = free_port()
    argv = [program(name), f"--web.listen-address=127.0.0.1:{port}", *arguments]
    process = subprocess.Popen(argv, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: scrape(f"http://127.0.0.1:{port}/metrics"), f"the exporter of {name}", ignoring=(OSError,))
        yield port
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def nginx(folder: pathlib.Path) -> t.Iterator[str]:
    """Yield the URL of the status page of an nginx."""
    port = free_port()
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\nhttp {{ {temporary} access_log off;\n"
        f"server {{ listen 127.0.0.1:{port}; location /stub_status {{ stub_status; }} }} }}\n", encoding="utf-8",
    )
    process = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-e", f"{folder}/error.log"], stdin=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/stub_status"
    try:
        until(lambda: scrape(url), "nginx", ignoring=(OSError,))
        yield url
    finally:
        process.terminate()
        process.wait(20)
