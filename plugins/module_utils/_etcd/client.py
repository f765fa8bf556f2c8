# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JSON API of etcd 3.4 and later: options, requests, and a login."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import join_address, tls_context

REACH = "check the endpoints, the certificates, and that etcd runs with enable-grpc-gateway"


def etcd_argument_spec() -> dict[str, t.Any]:
    """Return the options of all modules that speak to etcd; the documentation is the ``etcd`` fragment."""
    return {
        "endpoints": {"type": "list", "elements": "str", "required": True},
        "ca_cert": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 10},
    }


class Refused(MainstayError):
    """etcd understood and said no."""


def encode(text: str) -> str:
    """Return a key as etcd's JSON has it."""
    return base64.b64encode(text.encode()).decode()


def decode(text: str) -> str:
    """Return a key of etcd's JSON as text."""
    return base64.b64decode(text).decode(errors="replace")


def prefix_end(prefix: str) -> str:
    """Return the end of the range of all keys that begin with a prefix, as etcd counts: the last character one higher."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


class Client:
    """Speaks to one cluster of etcd, through the first endpoint that answers."""

    def __init__(self, endpoints: t.Sequence[str], context: ssl.SSLContext, timeout: float) -> None:
        """Prepare requests; nothing is sent yet.

        Args:
            endpoints: URLs such as ``https://data1:2379``; they are tried in this order.
            context: how TLS is checked.
            timeout: seconds for each endpoint.

        Raises:
            InvalidInput: one of them is no such URL.
        """
        self._endpoints = [_parse(endpoint) for endpoint in endpoints]
        if not self._endpoints:
            raise InvalidInput("reach etcd", "endpoints is empty", "name at least one member")
        self._context = context
        self._timeout = timeout
        self._token = ""

    def call(self, path: str, body: t.Mapping[str, t.Any], doing: str) -> dict[str, t.Any]:
        """Send one request.

        Args:
            path: of the API, such as ``/v3/kv/range``.
            body: the request; it never shows in an error.
            doing: what this is for, for the error's sentence.

        Raises:
            Refused: etcd said no.
            MainstayError: no endpoint answered.
        """
        causes = []
        for endpoint in self._endpoints:
            try:
                return self._send(endpoint, path, body, doing)
            except (OSError, http.client.HTTPException, ValueError) as error:
                causes.append(f"{join_address(endpoint.hostname or '', endpoint.port or 2379)}: {error or type(error).__name__}")
        raise MainstayError(doing, "; ".join(causes), REACH)

    def login(self, user: str, password: str) -> bool:
        """Log in for all further requests; return whether etcd asks for a login at all.

        Raises:
            Refused: it is another password.
            MainstayError: no endpoint answered.
        """
        doing = f"log in to etcd as {user}"
        try:
            self._token = self.call("/v3/auth/authenticate", {"name": user, "password": password}, doing)["token"]
        except Refused as error:
            if "authentication is not enabled" in error.cause:
                return False
            raise Refused(doing, error.cause, "check the user and its password") from error
        return True

    def accepts(self, user: str, password: str) -> bool:
        """Tell whether this is the password of a user, where etcd asks for a login; the own login stays."""
        try:
            self.call("/v3/auth/authenticate", {"name": user, "password": password}, f"try the password of {user}")
        except Refused:
            return False
        return True

    def _send(self, endpoint: urllib.parse.SplitResult, path: str, body: t.Mapping[str, t.Any], doing: str) -> dict[str, t.Any]:
        host, port = endpoint.hostname or "", endpoint.port or 2379
        connection: http.client.HTTPConnection
        if endpoint.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        headers = {"Content-Type": "application/json", **({"Authorization": self._token} if self._token else {})}
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        finally:
            connection.close()
        if response.status == 200:
            return json.loads(text)
        raise Refused(doing, _reason(text) or f"it answered {response.status}")


def _parse(endpoint: str) -> urllib.parse.SplitResult:
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise InvalidInput("understand an endpoint of etcd", "it is not https://HOST:PORT")
    return parts


def _reason(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    return str(found.get("message") or found.get("error") or "").removeprefix("etcdserver: ") if isinstance(found, dict) else ""


def client_from(params: t.Mapping[str, t.Any]) -> Client:
    """Build the client from a module's parameters.

    Raises:
        InvalidInput: an option that cannot be right.
    """
    if params["timeout"] < 1:
        raise InvalidInput("reach etcd", f"timeout is {params['timeout']}, it must be at least 1")
    context = tls_context(params["validate_certs"], params["ca_cert"], params["client_cert"], params["client_key"])
    return Client(params["endpoints"], context, float(params["timeout"]))
