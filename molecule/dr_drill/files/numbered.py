# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application of the drill: ``POST /NUMBER`` writes a row to PostgreSQL of this site, and answers with the site's name once it is committed."""

from __future__ import annotations

import contextlib
import http.server
import json
import pathlib
import threading

import psycopg2

SETTINGS = json.loads(pathlib.Path("/etc/numbered.json").read_text(encoding="utf-8"))
SITE = SETTINGS.pop("site")


class Database(threading.local):
    """A connection of each thread to whichever member of the site takes writes."""

    connection = None

    def write(self, number: int) -> None:
        """Write a row, and return when it is committed."""
        try:
            if self.connection is None:
                self.connection = psycopg2.connect(**SETTINGS, target_session_attrs="read-write", connect_timeout=2, sslmode="require")
                self.connection.autocommit = True
            with self.connection.cursor() as cursor:
                cursor.execute("INSERT INTO numbered VALUES (%s)", (number,))
        except psycopg2.Error:
            with contextlib.suppress(psycopg2.Error):
                if self.connection is not None:
                    self.connection.close()
            self.connection = None
            raise


DATABASE = Database()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    timeout = 10

    def do_GET(self) -> None:  # noqa: N802
        """Say which site this is."""
        self._answer(200, SITE)

    def do_POST(self) -> None:  # noqa: N802
        """Write a row."""
        try:
            DATABASE.write(int(self.path.strip("/")))
        except (psycopg2.Error, ValueError) as error:
            self._answer(503, type(error).__name__)
            return
        self._answer(200, SITE)

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *unused: object) -> None:
        """Say nothing."""


http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
