# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that speaks to Patroni; their specification is in ``module_utils/_patroni/client.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """How the REST APIs of a cluster are reached and logged in to."""

    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - REST APIs of the cluster's members, as URLs such as V(https://data1:8008), or as V(HOST) or V(HOST:PORT), which mean TLS and port 8008.
      - They are tried in this order, and any one that answers will do. All members are then asked at the addresses that they announce
        (C(restapi.connect_address)), so that these have to be reachable from where the module runs.
    type: list
    elements: str
    required: true
  api_user:
    description: User for requests that change something, as C(restapi.authentication) of the members has it, together with O(api_password).
    type: str
  api_password:
    description: Password of O(api_user). It is never sent without TLS to a member if one of O(endpoints) uses TLS.
    type: str
  ca_cert:
    description: Path of the only CA certificates that the members' certificates are checked against. Without it the host's own ones are used.
    type: path
  client_cert:
    description: Path of the client's certificate, which a REST API with C(verify_client) asks for.
    type: path
  client_key:
    description: Path of the private key of O(client_cert), without a passphrase.
    type: path
  validate_certs:
    description: Whether the members' TLS certificates and their names are checked.
    type: bool
    default: true
  connect_timeout:
    description: Seconds that a connection, and the answer to a request that only reads, may take.
    type: int
    default: 5
notes:
  - Tried with Patroni 3.0 of Debian 12 and 4.0 of Debian 13. The module needs no library and no other program.
"""
