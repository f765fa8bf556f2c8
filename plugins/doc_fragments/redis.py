# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that speaks to a Redis server; their specification is in ``module_utils/_redis/connection.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """How the server is reached and logged in to."""

    DOCUMENTATION = r"""
options:
  login_host:
    description: Host of the Redis or Valkey server.
    type: str
    default: localhost
  login_port:
    description: Port of the server.
    type: int
    default: 6379
  login_user:
    description: User to log in as. Without it the password is that of the default user.
    type: str
  login_password:
    description: Password to log in with.
    type: str
  login_unix_socket:
    description: Path of the server's Unix socket, used instead of host and port and without TLS.
    type: path
  tls:
    description: Whether the connection uses TLS.
    type: bool
    default: true
  validate_certs:
    description: Whether the server's TLS certificate and its name are checked.
    type: bool
    default: true
  ca_certs:
    description: Path of the CA certificates that the server's certificate is checked against. Without it the host's own ones are used.
    type: path
  client_cert_file:
    description: Path of the client's certificate, together with O(client_key_file).
    type: path
  client_key_file:
    description: Path of the private key of O(client_cert_file).
    type: path
requirements:
  - redis (Python library, 4.3 or later)
"""
