# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest's configuration as a pure function of the options, so that the module and ``archive_command`` on the hosts mean the same repository.

The names and meanings of the options are those of https://pgbackrest.org/configuration.html.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

BUNDLE_SINCE = (2, 39)
BLOCK_SINCE = (2, 46)
STANDBY_PREFER_SINCE = (2, 54)
"""The versions that brought ``repo-bundle``, ``repo-block`` and ``backup-standby=prefer`` (pgBackRest's release notes)."""
CIPHER = "aes-256-cbc"
CONFIG_PATH = "/etc/pgbackrest/pgbackrest.conf"
"""Where pgBackRest, and so ``archive_command``, looks for its configuration."""

_OURS = re.compile(
    r"repo\d+-(path|type|cipher-type|cipher-pass|s3-(bucket|endpoint|key|key-secret|token)|retention-.*)|pg\d+-(path|host.*)|stanza|config.*|repo"
)
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the configuration is rendered from; the fields are the module's options of these names.

    Args:
        name: the catalogue's name, which is the stanza.
        stores: the option ``store``, then those of ``copies``: repository 1, 2, ...
        passphrase: what the repositories are encrypted with; None leaves them in clear text, which ``encrypted`` must say.
        encrypted: whether the repositories are encrypted.
        data_dir: data directory of the cluster on this host; empty for commands that need none.
        socket_path: folder of its socket; empty for pgBackRest's default.
        port: its port.
        user: whom pgBackRest logs in as.
        peers: the option ``peers``.
        jobs: how many processes pgBackRest uses.
        compression: the option ``compression``.
        version: version of the pgBackRest that reads it, for what only newer ones know; None leaves that out.
        options: further options as the user gave them; they come last.
        server: pgBackRest's TLS server on this host for the other members: ``ca_file``, ``cert_file``, ``key_file``, ``clients`` (names in their
            certificates), ``address`` and ``port``; None for no server.
    """

    name: str
    stores: tuple[t.Mapping[str, t.Any], ...]
    passphrase: str | None = dataclasses.field(default=None, repr=False)
    encrypted: bool = True
    data_dir: str = ""
    socket_path: str = ""
    port: int = 5432
    user: str = ""
    peers: tuple[t.Mapping[str, t.Any], ...] = ()
    jobs: int = 1
    compression: t.Mapping[str, t.Any] = dataclasses.field(default_factory=lambda: {"type": "zstd", "level": 3})
    version: tuple[int, ...] | None = None
    options: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    server: t.Mapping[str, t.Any] | None = None


def render(settings: Settings, own: t.Mapping[str, str] | None = None) -> str:
    """Return the text of a configuration file. It holds secrets.

    Args:
        settings: what is asked for.
        own: options that the module sets for its own runs; they come before the user's.

    Raises:
        InvalidInput: something in it cannot be said to pgBackRest, or must not be.
    """
    common: dict[str, t.Any] = {}
    for number, store in enumerate(settings.stores, 1):
        common.update(_repository(number, store, settings))
    common["process-max"] = settings.jobs
    common.update(_compression(settings.compression))
    common["start-fast"] = True
    common.update(own or {})
    if settings.server:
        common.update(_server(settings))
    stanza = _clusters(settings)
    for name, value in _checked(settings.options).items():
        (stanza if re.match(r"pg\d+-", name) else common)[name] = value
    lines = [f"# pgBackRest: the repositories and the cluster of {settings.name}, written by mainstay.ops", "[global]", *_lines(common)]
    lines += ["", f"[{settings.name}]", *_lines(stanza)]
    return "\n".join(lines) + "\n"


def repository_path(store: t.Mapping[str, t.Any], name: str) -> str:
    """Return the path of a catalogue's repository within its store, which is ``pgbackrest/NAME`` below the store's own path or prefix."""
    base = store["path"].rstrip("/") if store["type"] == "local" else "/" + (store.get("prefix") or "").strip("/")
    return f"{base.rstrip('/')}/pgbackrest/{name}"


def describe_repository(store: t.Mapping[str, t.Any], name: str) -> str:
    """Return where a repository is, in words, for messages."""
    path = repository_path(store, name)
    return path if store["type"] == "local" else f"s3://{store['bucket']}{path}"


def _repository(number: int, store: t.Mapping[str, t.Any], settings: Settings) -> dict[str, t.Any]:
    given: dict[str, t.Any] = {"path": repository_path(store, settings.name)}
    if store["type"] == "s3":
        given.update(_s3(store))
    if settings.encrypted:
        if not settings.passphrase:
            next_step = "give repository_passphrase, or ask for clear text by encryption.type=none"
            raise InvalidInput(f"encrypt the repository of {settings.name}", "repository_passphrase is missing", next_step)
        given.update({"cipher-type": CIPHER, "cipher-pass": settings.passphrase})
    else:
        given["cipher-type"] = "none"
    version = settings.version or (0,)
    if version >= BUNDLE_SINCE:
        given["bundle"] = True
    if version >= BLOCK_SINCE:
        given["block"] = True
    return {f"repo{number}-{name}": value for name, value in given.items()}


def _s3(store: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    doing = f"use the bucket {store['bucket']} as pgBackRest's repository"
    region = store.get("region") or "us-east-1"
    given: dict[str, t.Any] = {"type": "s3", "s3-bucket": store["bucket"], "s3-region": region}
    if store.get("endpoint_url"):
        url = urllib.parse.urlsplit(store["endpoint_url"])
        if url.scheme != "https":
            cause = f"pgBackRest speaks to a store by TLS only, and endpoint_url is {store['endpoint_url']}"
            raise InvalidInput(doing, cause, "name an https:// endpoint, or put a server that speaks TLS in front of it")
        if not url.hostname or url.path.strip("/") or url.username:
            raise InvalidInput(doing, f"endpoint_url is {store['endpoint_url']}, and only https://HOST or https://HOST:PORT can be used")
        given.update({"s3-endpoint": url.hostname, "s3-uri-style": "path"})
        if url.port and url.port != 443:
            given["storage-port"] = url.port
    else:
        given["s3-endpoint"] = f"s3.{region}.amazonaws.com"
        if "." in store["bucket"]:
            given["s3-uri-style"] = "path"
    if store.get("profile") and not store.get("access_key"):
        raise InvalidInput(doing, "pgBackRest reads no AWS profiles", "give access_key and secret_key, or neither these nor profile for an instance's role")
    if store.get("access_key"):
        given.update({"s3-key": store["access_key"], "s3-key-secret": store["secret_key"]})
        if store.get("session_token"):
            given["s3-token"] = store["session_token"]
    else:
        given["s3-key-type"] = "auto"
    if store.get("validate_certs") is False:
        given["storage-verify-tls"] = False
    elif store.get("aws_ca_bundle"):
        given["storage-ca-file"] = store["aws_ca_bundle"]
    return given


def _compression(compression: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    if compression["type"] == "none":
        return {"compress-type": "none"}
    return {"compress-type": "zst", "compress-level": compression.get("level", 3)}


def _clusters(settings: Settings) -> dict[str, t.Any]:
    """Return the options of the stanza: the cluster on this host, then its peers."""
    stanza: dict[str, t.Any] = {}
    if settings.data_dir:
        stanza["pg1-path"] = settings.data_dir
        stanza["pg1-port"] = settings.port
        if settings.socket_path:
            stanza["pg1-socket-path"] = settings.socket_path
        if settings.user:
            stanza["pg1-user"] = settings.user
    for number, peer in enumerate(settings.peers, 2):
        given = {
            "host": peer["host"],
            "host-type": "tls",
            "host-port": peer.get("port") or 8432,
            "host-ca-file": peer["ca_file"],
            "host-cert-file": peer["cert_file"],
            "host-key-file": peer["key_file"],
            "path": peer.get("data_dir") or settings.data_dir,
            "port": peer.get("postgres_port") or 5432,
            "socket-path": peer.get("socket_path") or "/var/run/postgresql",
        }
        if settings.user:
            given["user"] = settings.user
        stanza.update({f"pg{number}-{name}": value for name, value in given.items()})
    return stanza


def _server(settings: Settings) -> dict[str, t.Any]:
    server = settings.server or {}
    return {
        "tls-server-address": server.get("address") or "*",
        "tls-server-port": server.get("port") or 8432,
        "tls-server-ca-file": server["ca_file"],
        "tls-server-cert-file": server["cert_file"],
        "tls-server-key-file": server["key_file"],
        "tls-server-auth": [f"{client}={settings.name}" for client in server.get("clients") or ()],
    }


def _checked(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the user's own options after a look at each.

    Raises:
        InvalidInput: one of them loses write-ahead log, or belongs to an option of the module.
    """
    for name in options:
        doing = f"give pgBackRest the option {name}"
        if name == "archive-push-queue-max":
            cause = "it drops write-ahead log while it reports success to PostgreSQL, and so breaks the chain that a restore needs"
            raise InvalidInput(doing, cause, "give the log more room and let the archive's alert tell you")
        if not _NAME.fullmatch(str(name)):
            raise InvalidInput(doing, "that is no name of an option")
        if _OURS.fullmatch(name):
            raise InvalidInput(doing, "it follows from other options", "use store, copies, repository_passphrase, data_dir, peers or retention")
    return dict(options)


def _lines(options: t.Mapping[str, t.Any]) -> list[str]:
    lines = []
    for name, value in options.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            text = {True: "y", False: "n"}.get(item, str(item)) if isinstance(item, bool) else str(item)
            if text != text.strip() or "\n" in text or "\r" in text or not text:
                raise InvalidInput(f"write pgBackRest's option {name}", "its value is empty, begins or ends with a space, or holds a line break")
            lines.append(f"{name}={text}")
    return lines
