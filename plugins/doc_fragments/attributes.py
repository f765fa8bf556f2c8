# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules of the collection promise about check mode and diff."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes shared by the modules' documentation."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and returns the changed status and the full plan without changing anything.
    support: full
  diff_mode:
    description: Returns what has changed, or would change in check mode, when in diff mode.
    support: full
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode); the module only reads.
    support: full
  diff_mode:
    description: The module only reads, so there is never a difference to show.
    support: N/A
"""

    PROGRESS = r"""
options: {}
attributes:
  action:
    description: Has a part that works on the controller, and shows there how far the module is on the host.
    support: full
    details:
      - Each phase shows itself by a line when it begins and when it ends, and in between by how much is done, the share, the rate and the time left.
      - Lines come every 10 seconds, in a terminal more often at first. The variable C(mainstay_progress_interval), or C(MAINSTAY_PROGRESS_INTERVAL) in the
        environment of the controller, sets the seconds between two lines; with V(0) the module runs without this part.
      - When the run is interrupted, or the keyword C(timeout) strikes, the module is ended on the host, and cleans up. A lost connection is tried again for
        four minutes. If the controller vanishes altogether, the module ends five minutes later.
  async:
    description: Supports the keyword C(async).
    support: full
    details: Nothing shows then until the end, and the module goes on when the run is interrupted.
"""
