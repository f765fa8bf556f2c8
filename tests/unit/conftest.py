# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection's own plugins known to ansible-core, where that is installed; have signals do to children what they do to anybody."""

from __future__ import annotations

import signal

try:
    from ansible.plugins.loader import init_plugin_loader
    from ansible.utils.collection_loader import AnsibleCollectionConfig
except ImportError:  # the "modules" context of ansible-test has module_utils only
    pass
else:
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader([])

# Whoever was started by nohup, or in the background of a script, ignores these, and so do its children, which tests end by them.
for ignored in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)
