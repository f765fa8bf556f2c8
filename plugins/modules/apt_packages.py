# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install packages of Debian that a host lacks. It is an action: its code is in plugins/action."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_packages
version_added: "1.0.0"
short_description: Install packages of Debian that a host lacks
description:
  - Asks C(dpkg) whether the packages are there, and runs M(ansible.builtin.apt) only if one is not. On a host that lacks nothing this takes a few
    hundredths of a second, where M(ansible.builtin.apt) alone starts Python and reads all lists of packages, which takes most of a second of its CPU.
  - The lists are fetched anew only where something has to be installed.
extends_documentation_fragment:
  - mainstay.ops.attributes
attributes:
  action:
    description: Works on the controller, and starts what is needed on the host.
    support: full
author:
  - Mainstay Operations (@mainstay)
options:
  name:
    description: The packages. One with a version or a pattern (C(nginx=1.22*)) is left to M(ansible.builtin.apt) at each run.
    type: list
    elements: str
    required: true
  state:
    description: With V(latest) M(ansible.builtin.apt) looks for a newer version at each run.
    type: str
    choices: [present, latest]
    default: present
  cache_valid_time:
    description: How old the lists of packages may be, in seconds. With V(0) they are fetched at each run, whether something is missing or not.
    type: int
    default: 86400
  install_recommends:
    description: Whether what the packages recommend is installed as well.
    type: bool
    default: false
  lock_timeout:
    description: How long to wait for another run of apt or dpkg, in seconds.
    type: int
    default: 120
  policy_rc_d:
    description: What C(/usr/sbin/policy-rc.d) answers during the installation. With V(101) the packages start and restart nothing.
    type: int
seealso:
  - module: ansible.builtin.apt
"""

EXAMPLES = r"""
- name: Install | Install HAProxy, which is not to serve anybody yet
  mainstay.ops.apt_packages:
    name: [haproxy]
    policy_rc_d: 101
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words. What the packages need in turn is not listed.
  returned: success
  type: list
  elements: str
  sample: [install haproxy]
diff:
  description: What M(ansible.builtin.apt) says that changes.
  returned: in diff mode, if something is missing
  type: dict
"""
