# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files of Redis, Valkey and Sentinel, and how a running daemon differs from them. Nothing here talks to a daemon."""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

SECRETS = frozenset({"masterauth", "requirepass", "tls-key-file-pass", "tls-client-key-file-pass", "auth-pass", "sentinel-pass"})
"""Settings whose values never show."""

TLS_FILES = frozenset({"tls-cert-file", "tls-key-file", "tls-ca-cert-file"})
"""Settings that name files which a running server reads again when they are set."""

AT_START = frozenset(
    "aclfile always-show-logo appenddirname appendfilename cluster-enabled cluster-config-file daemonize databases disable-thp enable-debug-command "
    "enable-module-command enable-protected-configs io-threads io-threads-do-reads logfile pidfile rdbchecksum set-proc-title socket-mark-id supervised "
    "syslog-enabled syslog-facility syslog-ident tcp-backlog unixsocket unixsocketperm "
    # These can be set at run time, but not without cutting off whoever sets them, or a replica from its master.
    "bind port tls-port tls-replication tls-cluster "
    # CONFIG SET refuses these unless enable-protected-configs allows it.
    "dbfilename dir".split()
)
"""Settings that count from the next start on (``IMMUTABLE_CONFIG`` and ``PROTECTED_CONFIG`` in src/config.c of Redis 7 and 8 and of Valkey 8)."""

NOT_SETTINGS = frozenset({"include", "loadmodule", "rename-command", "user", "sentinel", "replicaof", "slaveof"})
"""Directives that are no settings that ``CONFIG GET`` knows."""

_UNITS = {"": 1, "k": 1000, "kb": 1 << 10, "m": 1000**2, "mb": 1 << 20, "g": 1000**3, "gb": 1 << 30}
"""redis.conf: 1k is 1000 bytes, 1kb is 1024."""
_SIZE = re.compile(r"(\d+)([kmg]b?)?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class ConfigFile:
    """What a file asks for: plain settings, and Sentinel's own for one master (``master``) and for itself (``sentinel``)."""

    settings: t.Mapping[str, str]
    sentinel: t.Mapping[str, str]
    master: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Difference:
    """A setting of the running daemon that is not as in its file."""

    name: str
    live: str
    wanted: str

    @property
    def at_start(self) -> bool:
        """Whether only a restart brings it about."""
        return self.name in AT_START

    def lines(self) -> tuple[str, str]:
        """The setting before and after, for a diff."""
        hidden = self.name in SECRETS
        return f"{self.name} {'(secret)' if hidden else self.live}".rstrip(), f"{self.name} {'(another secret)' if hidden else self.wanted}".rstrip()


_OF_A_MASTER = frozenset({"auth-pass", "auth-user", "down-after-milliseconds", "failover-timeout", "parallel-syncs", "quorum"})


def parse(text: str, master_name: str = "", doing: str = "read the configuration") -> ConfigFile:
    """Read a configuration file; of a directive that is there twice the last one counts, as for the daemons.

    Args:
        text: the file's content.
        master_name: the master whose directives (``sentinel down-after-milliseconds NAME 5000``) are wanted.
        doing: verb phrase for the error.

    Raises:
        InvalidInput: a line has quotes that do not match.
    """
    settings: dict[str, str] = {}
    sentinel: dict[str, str] = {}
    master: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise InvalidInput(doing, f"line {number}: {error}", "look at its quotes") from error
        name = words[0].lower()
        if name == "sentinel" and len(words) > 2:
            option = words[1].lower()
            if option in _OF_A_MASTER and len(words) == 4:
                if words[2] == master_name:
                    master[option] = words[3]
            elif option not in _OF_A_MASTER:
                sentinel[option] = words[2]
        elif name not in NOT_SETTINGS:
            settings[name] = " ".join(words[1:])
    return ConfigFile(settings, sentinel, master)


def same(wanted: str, live: str) -> bool:
    """Say whether two spellings of a setting's value mean the same: blanks and case of yes and no apart, and sizes as bytes."""
    ours, theirs = wanted.split(), live.split()
    return len(ours) == len(theirs) and all(_plain(one) == _plain(other) for one, other in zip(ours, theirs))


def _plain(word: str) -> str:
    match = _SIZE.fullmatch(word)
    if match:
        return str(int(match[1]) * _UNITS[(match[2] or "").lower()])
    return word.lower() if word.lower() in ("yes", "no") else word


def differences(wanted: t.Mapping[str, str], live: t.Mapping[str, str]) -> tuple[Difference, ...]:
    """Compare a file's settings with those of the running daemon; what the daemon does not know, or does not tell, is left out."""
    return tuple(Difference(name, live[name], value) for name, value in sorted(wanted.items()) if name in live and not same(value, live[name]))
