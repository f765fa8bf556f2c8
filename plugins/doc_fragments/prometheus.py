# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Prometheus is reached; the specification is in ``module_utils/_reports/prometheus.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """The option that every module has which asks Prometheus."""

    DOCUMENTATION = r"""
options:
  prometheus:
    description: The Prometheus that is asked, or anything that speaks its HTTP API.
    type: dict
    required: true
    suboptions:
      url:
        description: Its URL, without a query string.
        type: str
        required: true
      timeout:
        description: Seconds that the answer to one query may take.
        type: float
        default: 30.0
      login_user:
        description: User for Basic authentication.
        type: str
      login_password:
        description: Password of that user.
        type: str
      bearer_token:
        description: Token to log in with, instead of a user.
        type: str
      headers:
        description: Further headers. They are logged.
        type: dict
      secret_headers:
        description: Further headers that are not logged.
        type: dict
      connect_to:
        description: Address to connect to, C(HOST) or C(HOST:PORT), in place of the one of the URL.
        type: str
      server_hostname:
        description: Name that the certificate is checked against, in place of the one of the URL.
        type: str
      ca_cert:
        description: Path of the only CA to trust. Without it the host's own ones are.
        type: path
        aliases: [ca_certs]
      client_cert:
        description: Path of the client's certificate.
        type: path
      client_key:
        description: Path of its key, if that is not in the same file.
        type: path
      validate_certs:
        description: Whether the certificate and its name are checked.
        type: bool
        default: true
"""
