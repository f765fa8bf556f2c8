# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that lists accounts of people."""

from __future__ import annotations


class ModuleDocFragment:
    """Accounts as they should be."""

    DOCUMENTATION = r"""
options:
  users:
    description: The accounts. What an entry does not say stays as it is.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      state:
        description: V(absent) removes the account and leaves its home.
        type: str
        choices: [present, absent]
        default: present
      groups:
        description: All groups besides the one of its own; those that do not exist are made.
        type: list
        elements: str
      keys:
        description: All keys that may log in, as lines of C(authorized_keys). Any other is removed.
        type: list
        elements: str
      shell:
        description: The shell. A new account gets C(/bin/bash).
        type: path
      comment:
        description: Whose account it is.
        type: str
  sudo:
    description:
      - All rules that C(/etc/sudoers.d/60-mainstay) has or will have, by user, as in sudoers without the name. They are written by the role
        P(mainstay.ops.base#role), before the users are changed, and are only looked at here.
      - Left out, that file stays as it is.
    type: dict
"""
