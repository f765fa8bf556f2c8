# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a report goes; the specification is in ``module_utils/_reports/publish.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """The option that every report has, and the one of those that report up to a time."""

    DOCUMENTATION = r"""
options:
  report_dir:
    description:
      - Folder for C(report.html) and C(report.json), which is made if need be. Without it nothing is written, and the report is only returned.
      - Files are readable by their owner alone, and replaced in one step. What would stay the same is not written.
    type: path
"""

    UNTIL = r"""
options:
  end:
    description: The time up to which is reported, as ISO 8601. The default is now, by the clock of the host where the module runs.
    type: str
"""
