# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Prometheus on loopback whose past the test writes."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
import typing as t
import urllib.parse
import urllib.request

from ports import free_port
from waiting import until

EVERY = 240
"""Seconds between two points of the past: less than the five minutes for which Prometheus believes in a point."""


class Past:
    """Series of the past, as OpenMetrics."""

    def __init__(self, end: float, days: float) -> None:
        """Take when it ends (Unix time), and how long it is."""
        self._moments = [end - days * 86400 + number * EVERY for number in range(int(days * 86400 / EVERY) + 1)]
        self._lines: list[str] = []

    def series(self, name: str, value: t.Callable[[float], float | None], **labels: str) -> None:
        """Add a series.

        Args:
            name: of the metric.
            value: tells the value for the days since the beginning; None for no point.
            labels: of the series.
        """
        told = ",".join(f'{label}="{content}"' for label, content in labels.items())
        for moment in self._moments:
            found = value((moment - self._moments[0]) / 86400)
            if found is not None:
                self._lines.append(f"{name}{{{told}}} {found:.6f} {moment:.0f}")

    def write(self, folder: pathlib.Path) -> None:
        """Make the blocks of a database of it."""
        text = folder / "past.txt"
        text.write_text("".join(f"{line}\n" for line in self._lines) + "# EOF\n", encoding="utf-8")
        argv = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=1000h", "openmetrics", str(text), str(folder / "data")]
        subprocess.run(argv, check=True, capture_output=True)
        text.unlink()


def ask(url: str, query: str, at: float | None = None) -> list[dict[str, t.Any]]:
    """Return the series of an instant query."""
    arguments = {"query": query} | ({"time": f"{at:.0f}"} if at else {})
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode(arguments)}", timeout=30) as answer:
        return list(json.load(answer)["data"]["result"])


@contextlib.contextmanager
def prometheus(folder: pathlib.Path, past: Past | None = None, config: str = "{}\n") -> t.Iterator[str]:
    """Yield the URL of a Prometheus.

    Args:
        folder: an empty folder for its files.
        past: what its database has from the beginning.
        config: its configuration.
    """
    if past:
        past.write(folder)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    port = free_port()
    argv = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: ask(url, "vector(1)"), f"Prometheus, see {folder}/log", ignoring=(OSError, ValueError))
        yield url
    finally:
        process.terminate()
        process.wait(20)
