# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What playbooks/postgres_upgrade.yml hands to the module."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from psycopg2.extensions import parse_dsn

PLAYBOOK = pathlib.Path(__file__).resolve().parents[2] / "playbooks/postgres_upgrade.yml"


def reached(**variables: t.Any) -> dict[str, str]:
    """Return how the old server reaches the new one, as libpq reads it."""
    loader = DataLoader()
    plays = loader.load_from_file(str(PLAYBOOK), trusted_as_template=True)
    given = {"postgres_replication_members": [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}], "postgres_replication_superuser_password": "x", **variables}
    text = plays[1]["tasks"][0]["vars"]["postgres_upgrade_target"]["replication_conninfo"]
    return parse_dsn(Templar(loader=loader, variables=given).template(text))


@pytest.mark.parametrize("password", ["plain", "it's", "back\\slash", "both\\'", "two\\\\ and space ", "'"])
def test_a_password_arrives_as_it_is(password: str) -> None:
    found = reached(postgres_replication_superuser_password=password)
    assert found["password"] == password and found["host"] == "10.0.0.1,10.0.0.2" and found["target_session_attrs"] == "primary"


def test_the_ca_can_be_elsewhere() -> None:
    assert reached()["sslrootcert"] == "/etc/patroni/tls/ca.crt"
    assert reached(postgres_upgrade_old_ca_path="/etc/postgresql/tls/ca.crt")["sslrootcert"] == "/etc/postgresql/tls/ca.crt"
