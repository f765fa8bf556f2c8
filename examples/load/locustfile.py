# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load test of the sample application, which fails where users would wait too long or get errors: ``make load``.

Limits come from the environment: ``LOAD_P95_MS`` (milliseconds, 500 by default) and ``LOAD_ERROR_PERCENT`` (1 by default). ``LOAD_CA`` is a file with the
authority of the site's certificate.
"""

from __future__ import annotations

import logging
import os
import typing as t

from locust import HttpUser, between, events, task

P95_MS = float(os.environ.get("LOAD_P95_MS", "500"))
ERROR_PERCENT = float(os.environ.get("LOAD_ERROR_PERCENT", "1"))


class Visitor(HttpUser):
    """Looks at the page, and at what was stored."""

    wait_time = between(0.5, 1.5)

    def on_start(self) -> None:
        """Trust the site's own authority where that was said."""
        self.client.verify = os.environ.get("LOAD_CA") or True

    @task(8)
    def look(self) -> None:
        """The page."""
        self.client.get("/")

    @task(2)
    def read(self) -> None:
        """What the database has of one client."""
        self.client.get("/entries?client=load", name="/entries")


@events.quitting.add_listener
def judge(environment: t.Any, **_kwargs: t.Any) -> None:
    """End with 1 where a limit was passed, and say which."""
    total = environment.stats.total
    reasons = []
    if total.num_requests == 0:
        reasons.append("nothing was answered")
    else:
        percent = 100 * total.fail_ratio
        p95 = total.get_response_time_percentile(0.95)
        if percent > ERROR_PERCENT:
            reasons.append(f"{percent:.2f} % of the requests failed, more than {ERROR_PERCENT:g} %")
        if p95 > P95_MS:
            reasons.append(f"the 95th percentile is {p95:.0f} ms, more than {P95_MS:g} ms")
        logging.info("%d requests, %.2f %% failed, 95th percentile %.0f ms", total.num_requests, percent, p95)
    for reason in reasons:
        logging.error("Too bad for users: %s", reason)
    environment.process_exit_code = 1 if reasons else 0
