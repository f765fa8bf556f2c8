# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for kernel settings.

The facts are ``settings`` (values as text, by the name that sysctl uses; what the kernel does not have is missing) and ``container`` (its kind, empty on
a machine of its own).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import HIGH, INFO, LOW, MEDIUM, Facts, Hit, Rule

CIS = "CIS Debian Linux Benchmark, kernel and network parameters"
KSPP = "Kernel Self Protection Project, recommended settings"
_MEND = "Set it in a file of /etc/sysctl.d, and run sysctl --system."


@dataclasses.dataclass(frozen=True)
class Setting:
    """Settings that should have one of some values, and what it means if they have not."""

    id: str
    severity: str
    names: tuple[str, ...]
    good: tuple[str, ...]
    problem: str
    why: str
    source: str = CIS


def _interfaces(version: int, name: str) -> tuple[str, ...]:
    return tuple(f"net.ipv{version}.conf.{interface}.{name}" for interface in ("all", "default"))


SETTINGS = (
    Setting("kernel_aslr", HIGH, ("kernel.randomize_va_space",), ("2",), "does not place programs at random", "A bug in any program is easier to use."),
    Setting("kernel_symlinks", MEDIUM, ("fs.protected_symlinks", "fs.protected_hardlinks"), ("1",), "lets links in shared folders be followed",
            "A user can have a service of root write where it should not."),
    Setting("kernel_fifos", LOW, ("fs.protected_fifos", "fs.protected_regular"), ("1", "2"), "lets files in shared folders be planted",
            "A user can have a service write into a file or pipe of his.", KSPP),
    Setting("kernel_core_dumps", MEDIUM, ("fs.suid_dumpable",), ("0", "2"), "dumps the memory of privileged programs for everybody",
            "Secrets of such a program are left in a file."),
    Setting("kernel_ptrace", LOW, ("kernel.yama.ptrace_scope",), ("1", "2", "3"), "lets a process read the memory of others of its user",
            "Whoever breaks into one process of a user has the secrets of all of them.", KSPP),
    Setting("kernel_pointers", LOW, ("kernel.kptr_restrict",), ("1", "2"), "shows addresses of the kernel", "An attack on the kernel needs them.", KSPP),
    Setting("kernel_messages", LOW, ("kernel.dmesg_restrict",), ("1",), "shows messages of the kernel to everybody",
            "They tell addresses and devices.", KSPP),
    Setting("kernel_bpf", MEDIUM, ("kernel.unprivileged_bpf_disabled",), ("1", "2"), "lets everybody load BPF programs",
            "Holes of the kernel were used that way again and again.", KSPP),
    Setting("net_redirects", MEDIUM, _interfaces(4, "accept_redirects") + _interfaces(6, "accept_redirects"), ("0",), "takes ICMP redirects",
            "A neighbour can lead the host's traffic past himself."),
    Setting("net_send_redirects", LOW, _interfaces(4, "send_redirects"), ("0",), "sends ICMP redirects", "Only a router has reason to."),
    Setting("net_source_route", MEDIUM, _interfaces(4, "accept_source_route") + _interfaces(6, "accept_source_route"), ("0", "-1"),
            "takes packets that choose their own way", "They come around filters."),
    Setting("net_reverse_path", LOW, ("net.ipv4.conf.default.rp_filter",), ("1", "2"), "takes packets whose sender cannot be where they came from",
            "Senders can be forged."),
    Setting("net_syncookies", MEDIUM, ("net.ipv4.tcp_syncookies",), ("1", "2"), "has no answer to floods of connections", "A small flood takes it down."),
    Setting("net_broadcasts", LOW, ("net.ipv4.icmp_echo_ignore_broadcasts",), ("1",), "answers pings to all", "It can be used against others."),
)  # fmt: skip

NAMES = tuple(name for setting in SETTINGS for name in setting.names)
"""What has to be read."""


def of_the_machine(name: str) -> bool:
    """Tell whether a container shares a setting with the machine that runs it; those of the network are its own."""
    return not name.startswith("net.")


def _wrong(setting: Setting) -> t.Callable[[Facts], t.Iterator[Hit]]:
    def find(facts: Facts) -> t.Iterator[Hit]:
        for name in setting.names:
            found = facts["settings"].get(name)
            if found is None or found in setting.good:
                continue
            if facts["container"] and of_the_machine(name):
                yield Hit(name, f"it is {found}, and is set on the machine that runs this container ({facts['container']})", INFO)
            else:
                yield Hit(name, f"it is {found}, and should be {' or '.join(setting.good)}")

    return find


RULES = tuple(
    Rule(setting.id, setting.severity, setting.problem, setting.why, _MEND, setting.source, _wrong(setting)) for setting in SETTINGS
)
