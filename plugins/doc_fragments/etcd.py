# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that speaks to etcd; their specification is in ``module_utils/_etcd/client.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """How the members of a cluster are reached."""

    DOCUMENTATION = r"""
options:
  endpoints:
    description: URLs of the members, such as V(https://data1:2379). They are tried in this order, and any one that answers will do.
    type: list
    elements: str
    required: true
  ca_cert:
    description: Path of the only CA certificates that the members' certificates are checked against. Without it the host's own ones are used.
    type: path
  client_cert:
    description: Path of the client's certificate, which etcd with C(client-cert-auth) asks for.
    type: path
  client_key:
    description: Path of the private key of O(client_cert), without a passphrase.
    type: path
  validate_certs:
    description: Whether the members' TLS certificates and their names are checked.
    type: bool
    default: true
  timeout:
    description: Seconds that each member may take for an answer.
    type: int
    default: 10
notes:
  - Tried with etcd 3.4 of Debian 12 and 3.5 of Debian 13. The module speaks to the JSON API (C(enable-grpc-gateway)), and needs no library or other program.
"""
