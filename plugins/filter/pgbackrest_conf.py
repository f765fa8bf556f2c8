# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter ``pgbackrest_conf``: the text of ``/etc/pgbackrest/pgbackrest.conf`` from the options of ``pg_backup``."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError

_STORE = frozenset(
    ("type", "path", "bucket", "prefix", "region", "endpoint_url", "access_key", "secret_key", "session_token", "profile", "validate_certs", "aws_ca_bundle")
)
_PEER = frozenset(("host", "port", "data_dir", "postgres_port", "socket_path", "ca_file", "cert_file", "key_file"))
_SERVER = frozenset(("ca_file", "cert_file", "key_file", "clients", "address", "port"))


def _dictionary(value: object, what: str, required: t.Iterable[str], known: frozenset[str]) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        raise AnsibleFilterError(f"pgbackrest_conf: {what} must be a dictionary, not {type(value).__name__}")
    unknown, missing = sorted(set(value) - known), [name for name in required if not value.get(name)]
    if unknown or missing:
        said = f"does not know {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
        raise AnsibleFilterError(f"pgbackrest_conf: {what} {said}")
    return dict(value)


def _store(value: object, what: str) -> dict[str, t.Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(value, dict) and kind not in ("local", "s3"):
        raise AnsibleFilterError(f"pgbackrest_conf: {what} needs the type local or s3")
    store = _dictionary(value, what, ("path",) if kind == "local" else ("bucket",), _STORE)
    if store.get("access_key") and not store.get("secret_key"):
        raise AnsibleFilterError(f"pgbackrest_conf: {what} needs secret_key with access_key")
    return store


def pgbackrest_conf(
    store: dict[str, t.Any],
    name: str,
    *,
    data_dir: str = "",
    repository_passphrase: str | None = None,
    encrypted: bool = True,
    copies: t.Sequence[dict[str, t.Any]] = (),
    peers: t.Sequence[dict[str, t.Any]] = (),
    server: dict[str, t.Any] | None = None,
    login_unix_socket: str = "",
    login_port: int = 5432,
    login_user: str = "",
    jobs: int = 1,
    compression: dict[str, t.Any] | None = None,
    pgbackrest_options: dict[str, t.Any] | None = None,
    version: str = "",
) -> str:
    """Return the text of pgBackRest's configuration; the arguments are documented in ``pgbackrest_conf.yml``."""
    from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import Settings, render

    tls = ("host", "ca_file", "cert_file", "key_file")
    try:
        return render(
            Settings(
                name=name,
                stores=(_store(store, "the store"), *(_store(copy, f"copy {number}") for number, copy in enumerate(copies, 1))),
                passphrase=repository_passphrase,
                encrypted=encrypted,
                data_dir=data_dir,
                socket_path=login_unix_socket or "",
                port=int(login_port),
                user=login_user or "",
                peers=tuple(_dictionary(peer, f"peer {number}", tls, _PEER) for number, peer in enumerate(peers, 1)),
                jobs=int(jobs),
                compression={"type": "zstd", "level": 3, **(compression or {})},
                version=tuple(int(part) for part in str(version).split(".")[:2]) if version else None,
                options=pgbackrest_options or {},
                server=_dictionary(server, "the server", tls[1:], _SERVER) if server else None,
            )
        )
    except MainstayError as error:
        raise AnsibleFilterError(f"pgbackrest_conf: {error}") from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Return the filters by name."""
        return {"pgbackrest_conf": pgbackrest_conf}
