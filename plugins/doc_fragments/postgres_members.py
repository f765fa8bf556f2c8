# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that asks a primary and its standbys; their specification is in ``module_utils/_postgres/replication.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the members are, and how all of them are logged in to."""

    DOCUMENTATION = r"""
options:
  members:
    description: The primary and its standbys, all of them, also those that do not run.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the member, for other options and for messages.
        type: str
        required: true
      host:
        description:
          - Host by which it is reached, from the host where the module runs and from the other members.
          - Without it the name is the host. A path is the folder of a socket.
        type: str
      port:
        description: Port of its server.
        type: int
        default: 5432
  login_user:
    description: Role to log in as.
    type: str
    default: postgres
  login_password:
    description: The role's password.
    type: str
  login_db:
    description: Database to connect to.
    type: str
    default: postgres
  ssl_mode:
    description: Whether TLS is used and the servers' certificates are checked, as libpq's C(sslmode).
    type: str
    default: prefer
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: Path of the CA certificates that the servers' certificates are checked against.
    type: path
  ssl_cert:
    description: Path of the client's certificate.
    type: path
  ssl_key:
    description: Path of the key of the client's certificate.
    type: path
requirements:
  - psycopg2 on the host where the module runs
  - PostgreSQL 13 or later on the members
"""
