# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that finds its servers through Sentinel; their specification is in ``module_utils/_redis/topology.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """How the Sentinels are reached, and how they and the servers that they name are logged in to."""

    DOCUMENTATION = r"""
options:
  sentinels:
    description:
      - The Sentinels to ask, best all of them. They name the servers, whose addresses are not given here.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Host of the Sentinel.
        type: str
        required: true
      port:
        description: Port of the Sentinel.
        type: int
        default: 26379
  sentinel_user:
    description: User to log in to the Sentinels as. Without it the password is that of the default user.
    type: str
  sentinel_password:
    description: Password to log in to the Sentinels with. Without it there is no login, since a Sentinel has users of its own.
    type: str
  master_name:
    description: Name by which the Sentinels know the master.
    type: str
    default: main
  other_site:
    description:
      - Addresses of another site's servers that replicate from this one. The Sentinels learn of them from the master, cannot log in there, and take them for
        down; they are left out of everything.
    type: list
    elements: str
    default: []
  login_user:
    description: User to log in to the servers as. Without it the password is that of the default user.
    type: str
  login_password:
    description: Password to log in to the servers with.
    type: str
  tls:
    description: Whether the connections use TLS, those to the Sentinels too. The same holds for the options about certificates.
    type: bool
    default: true
  validate_certs:
    description: Whether the TLS certificates and the names in them are checked.
    type: bool
    default: true
  ca_certs:
    description: Path of the CA certificates that certificates are checked against. Without it the host's own ones are used.
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
