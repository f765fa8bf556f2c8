# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the SSH server: its settings as ``sshd -T`` prints them, and what ``Match`` blocks loosen.

The facts are ``settings`` (a dictionary with lower-case names) and ``matches`` (a list of ``path``, ``line``, ``keyword``, ``setting``).
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._security.model import CRITICAL, HIGH, LOW, MEDIUM, Facts, Hit, Rule

CIS = "CIS Debian Linux Benchmark, SSH server"
MOZILLA = "Mozilla OpenSSH guidelines"

_WEAK_CIPHERS = re.compile(r"-cbc|3des|arcfour|rc4|blowfish|cast128")
_WEAK_KEX = re.compile(r"group1-sha1|group14-sha1|group-exchange-sha1|rsa1024")
_WEAK_MACS = re.compile(r"md5|sha1(?!\d)|umac-64|-96")
_PASSWORDS = ("passwordauthentication", "kbdinteractiveauthentication")
LOOSENED = {"passwordauthentication": ("yes",), "kbdinteractiveauthentication": ("yes",), "permitrootlogin": ("yes",), "permitemptypasswords": ("yes",)}
"""What a ``Match`` block must not set, for whomever it is."""


def _is(keyword: str, *wrong: str) -> t.Callable[[Facts], t.Iterator[Hit]]:
    def find(facts: Facts) -> t.Iterator[Hit]:
        found = str(facts["settings"].get(keyword, "")).lower()
        if found in wrong:
            yield Hit(keyword, f"sshd -T says {keyword} {found}")

    return find


def _above(keyword: str, limit: int, zero_is_endless: bool = False) -> t.Callable[[Facts], t.Iterator[Hit]]:
    def find(facts: Facts) -> t.Iterator[Hit]:
        found = str(facts["settings"].get(keyword, ""))
        if found.isdigit() and (int(found) > limit or (zero_is_endless and int(found) == 0)):
            yield Hit(keyword, f"sshd -T says {keyword} {found}, where {limit} is enough")

    return find


def _weak(keyword: str, pattern: re.Pattern[str]) -> t.Callable[[Facts], t.Iterator[Hit]]:
    def find(facts: Facts) -> t.Iterator[Hit]:
        weak = [name for name in str(facts["settings"].get(keyword, "")).split(",") if pattern.search(name)]
        if weak:
            yield Hit(keyword, f"offered: {', '.join(weak)}")

    return find


def _root(facts: Facts) -> t.Iterator[Hit]:
    if str(facts["settings"].get("permitrootlogin", "")).lower() != "yes":
        return
    passwords = any(str(facts["settings"].get(keyword, "")).lower() == "yes" for keyword in _PASSWORDS)
    yield Hit("permitrootlogin", "sshd -T says permitrootlogin yes" + (", and passwords are taken" if passwords else ""), HIGH if passwords else MEDIUM)


def _match_blocks(facts: Facts) -> t.Iterator[Hit]:
    for entry in facts["matches"]:
        if entry["setting"].lower() in LOOSENED.get(entry["keyword"].lower(), ()):
            yield Hit(entry["path"], f"line {entry['line']} sets {entry['keyword']} {entry['setting']} in a Match block")


_DROP_IN = "Set it in a file of /etc/ssh/sshd_config.d, see that sshd -t is content, and reload ssh."

RULES = (
    Rule(
        "ssh_passwords", HIGH, "lets people log in with passwords", "Passwords are guessed day and night by whoever can reach the port.",
        "Give everybody a key, then set PasswordAuthentication no. " + _DROP_IN, MOZILLA, _is("passwordauthentication", "yes"),
    ),
    Rule(
        "ssh_keyboard_interactive", HIGH, "lets people log in with passwords by way of PAM", "It is the same as PasswordAuthentication yes, by another name.",
        "Set KbdInteractiveAuthentication no, unless PAM asks for a second factor. " + _DROP_IN, CIS, _is("kbdinteractiveauthentication", "yes"),
    ),
    Rule(
        "ssh_empty_passwords", CRITICAL, "lets accounts without a password in", "No guess is needed.", "Set PermitEmptyPasswords no. " + _DROP_IN, CIS,
        _is("permitemptypasswords", "yes"),
    ),
    Rule(
        "ssh_root", HIGH, "lets root log in in every way", "Root's name need not be guessed, and the log does not say who it was.",
        "Set PermitRootLogin no, or prohibit-password where Ansible comes in as root. " + _DROP_IN, CIS, _root,
    ),
    Rule(
        "ssh_root_by_key", LOW, "lets root log in with a key", "The log does not say who it was.",
        "Have people and Ansible log in as themselves and use sudo, then set PermitRootLogin no. " + _DROP_IN, CIS,
        _is("permitrootlogin", "without-password", "prohibit-password"),
    ),
    Rule(
        "ssh_match_block", HIGH, "loosens the SSH server for some", "Whoever fits the block meets a weaker server than the rest.",
        "Take the line out of the Match block, see that sshd -t is content, and reload ssh.", CIS, _match_blocks,
    ),
    Rule(
        "ssh_host_based", HIGH, "trusts other hosts", "Whoever owns one of them owns this one.", "Set HostbasedAuthentication no. " + _DROP_IN, CIS,
        _is("hostbasedauthentication", "yes"),
    ),
    Rule(
        "ssh_user_environment", MEDIUM, "lets users set the environment of their sessions", "LD_PRELOAD gets around a forced command.",
        "Set PermitUserEnvironment no. " + _DROP_IN, CIS, _is("permituserenvironment", "yes"),
    ),
    Rule(
        "ssh_strict_modes", MEDIUM, "takes keys from files that others can write", "Whoever can write the file can log in as its owner.",
        "Set StrictModes yes. " + _DROP_IN, CIS, _is("strictmodes", "no"),
    ),
    Rule(
        "ssh_ciphers", MEDIUM, "offers ciphers that are broken", "What is sent can be read or changed on the way, with effort.",
        "Set Ciphers to those with gcm, ctr and chacha20. " + _DROP_IN, MOZILLA, _weak("ciphers", _WEAK_CIPHERS),
    ),
    Rule(
        "ssh_key_exchange", MEDIUM, "offers key exchanges with SHA-1 or short groups", "A recorded session can be opened later, with effort.",
        "Set KexAlgorithms to those with sntrup761, mlkem768, curve25519 and SHA-2. " + _DROP_IN, MOZILLA, _weak("kexalgorithms", _WEAK_KEX),
    ),
    Rule(
        "ssh_macs", LOW, "offers weak message authentication codes", "They are shorter or older than they need to be.",
        "Set MACs to the -etm ones with SHA-2 and umac-128. " + _DROP_IN, MOZILLA, _weak("macs", _WEAK_MACS),
    ),
    Rule(
        "ssh_x11", LOW, "forwards X11", "A server that was broken into can reach the screen of whoever logs in.", "Set X11Forwarding no. " + _DROP_IN, CIS,
        _is("x11forwarding", "yes"),
    ),
    Rule(
        "ssh_tries", LOW, "lets a connection try many times", "Guessing is cheaper.", "Set MaxAuthTries 4. " + _DROP_IN, CIS, _above("maxauthtries", 4),
    ),
    Rule(
        "ssh_grace", LOW, "keeps connections open that do not log in", "A few of them keep others out.", "Set LoginGraceTime 60. " + _DROP_IN, CIS,
        _above("logingracetime", 60, zero_is_endless=True),
    ),
    Rule(
        "ssh_log", MEDIUM, "logs nothing of those who log in", "Nobody sees an attack, nor who was there.", "Set LogLevel VERBOSE. " + _DROP_IN, MOZILLA,
        _is("loglevel", "quiet", "fatal"),
    ),
)  # fmt: skip
