# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to reach a PostgreSQL server; the specification is in ``module_utils/_postgres/connection.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """The connection options, named as in community.postgresql."""

    DOCUMENTATION = r"""
options:
  login_host:
    description: Host of the server. Empty means the local socket.
    type: str
    default: ''
  login_port:
    description: Port of the server; it is part of a socket's name too.
    type: int
    default: 5432
  login_user:
    description: Role to log in as.
    type: str
    default: postgres
  login_password:
    description: The role's password. It is handed to PostgreSQL's programs in a password file that exists in memory only.
    type: str
  login_unix_socket:
    description: Folder of the server's socket, which is used instead of O(login_host).
    type: path
  login_db:
    description: Database to connect to for what concerns the whole server.
    type: str
    default: postgres
  ssl_mode:
    description: Whether TLS is used and the server's certificate is checked, as libpq's C(sslmode).
    type: str
    default: prefer
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
  ca_cert:
    description: Path of the CA certificates that the server's certificate is checked against.
    type: path
  ssl_cert:
    description: Path of the client's certificate.
    type: path
  ssl_key:
    description: Path of the key of the client's certificate.
    type: path
requirements:
  - psycopg2 on the host where the module runs
"""
