# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports for people who run the stack: what is asked of Prometheus, AWS and hosts, how it is judged, and the pages that are made of it."""

from __future__ import annotations
