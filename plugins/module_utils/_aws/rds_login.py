# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging in to an instance of RDS, which does not say when it is ready for that."""

from __future__ import annotations

import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._aws.patience import Patience
from ansible_collections.mainstay.ops.plugins.module_utils._aws.rds import Row
from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.connection import Login, connect


def login_to(instance: Row, params: t.Mapping[str, t.Any], user: str, password: str, database: str) -> Login:
    """Return how one logs in to an instance; the module's options say how far the connection is protected."""
    endpoint = instance["Endpoint"]
    return Login(endpoint["Address"], endpoint["Port"], user, password, database, ssl_mode=params["ssl_mode"], ca_cert=params["ca_cert"])


def wait_login(login: Login, doing: str, patience: Patience, problem_of: t.Callable[[t.Any], str] = lambda connection: "") -> None:
    """Wait until one can log in.

    Args:
        login: how.
        doing: what for, as a verb phrase.
        patience: how long.
        problem_of: says of a connection what is still wrong, and nothing when it is as it should be.

    Raises:
        MainstayError: nobody could until the time was over.
    """

    def attempt() -> str:
        try:
            with connect(login) as connection:
                return problem_of(connection)
        except MainstayError as error:
            return error.cause.splitlines()[-1]

    patience.wait(doing, attempt, lambda problem: problem)
