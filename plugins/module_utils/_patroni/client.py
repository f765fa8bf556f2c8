# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The REST API of Patroni: options, requests, and what an answer means. Reading needs no password, changing does."""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import http.client
import json
import ssl
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import join_address, split_address, tls_context

API_PORT = 8008
SHOWN_CHARACTERS = 300
"""So much of an unexpected answer is shown."""

REACH = "check the endpoints, ca_cert, and that Patroni runs"


def patroni_argument_spec() -> dict[str, t.Any]:
    """Return the options of all modules that speak to Patroni; the documentation is the ``patroni`` fragment."""
    return {
        "endpoints": {"type": "list", "elements": "str", "required": True},
        "api_user": {"type": "str"},
        "api_password": {"type": "str", "no_log": True},
        "ca_cert": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
        "connect_timeout": {"type": "int", "default": 5},
    }


class Unreachable(MainstayError):
    """No answer came."""


class Refused(MainstayError):
    """Patroni understood and said no."""


class LoginFailed(Refused):
    """User, password or client certificate are not what Patroni expects."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where a REST API listens."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        """The URL for messages."""
        return f"{'https' if self.tls else 'http'}://{join_address(self.host, self.port)}"


def parse_endpoint(text: str) -> Endpoint:
    """Understand a URL such as ``https://data1:8008``, or ``host`` or ``host:port``, which mean ``https``; a path is left out.

    Raises:
        InvalidInput: it is none of these, or it holds credentials.
    """
    if "://" not in text:
        host, port = split_address(text)
        return Endpoint(host, port or API_PORT, True)
    doing = "understand an endpoint"
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidInput(doing, error) from error
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(doing, "it holds credentials, and URLs are logged", "use api_user and api_password")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"understand the endpoint {text}", "it is not https://HOST:PORT, HOST:PORT or HOST")
    return Endpoint(parts.hostname, port or API_PORT, parts.scheme == "https")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a REST API answered."""

    endpoint: Endpoint
    status: int
    text: str

    def document(self) -> dict[str, t.Any]:
        """Return the answer's JSON object, or an empty one if it is none."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def words(self) -> str:
        """Return the answer for messages."""
        return f"it answered {self.status}: {self.text.strip()[:SHOWN_CHARACTERS] or 'nothing'}"


class Client:
    """Speaks to the REST APIs of one cluster."""

    def __init__(self, endpoints: t.Sequence[Endpoint], user: str | None, password: str | None, context: ssl.SSLContext | None, timeout: float) -> None:
        """Prepare requests; nothing is sent yet.

        Args:
            endpoints: where to begin; they are tried in this order.
            user: for requests that change something.
            password: the user's.
            context: how TLS is checked.
            timeout: seconds for connecting, and for the answer to a request that only reads.
        """
        self.endpoints = tuple(endpoints)
        self.has_login = bool(user)
        self._login = "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode() if user else ""
        self._context = context
        self._timeout = timeout

    def get(self, endpoint: Endpoint, path: str) -> Answer:
        """Read from one endpoint.

        Raises:
            Unreachable: no answer came.
        """
        return self._request(endpoint, "GET", path, None, self._timeout, f"read {path} from Patroni at {endpoint}")

    def get_all(self, wishes: t.Sequence[tuple[Endpoint, str]]) -> list[Answer | Unreachable]:
        """Read from several endpoints at the same time; return for each its answer, or why there is none."""

        def ask(wish: tuple[Endpoint, str]) -> Answer | Unreachable:
            try:
                return self.get(*wish)
            except Unreachable as error:
                return error

        if not wishes:
            return []
        with concurrent.futures.ThreadPoolExecutor(len(wishes)) as pool:
            return list(pool.map(ask, wishes))

    def send(self, endpoint: Endpoint, method: str, path: str, body: dict[str, t.Any], timeout: float, doing: str) -> Answer:
        """Ask one endpoint to change something; the password goes along.

        Args:
            endpoint: whom to ask.
            method: of HTTP.
            path: on the endpoint.
            body: the request; it never shows in an error.
            timeout: seconds for the answer.
            doing: what this is for, for the error's sentence.

        Raises:
            LoginFailed: user, password or certificate were refused.
            Unreachable: no answer came; the request may have been received.
        """
        if self._login and not endpoint.tls and any(other.tls for other in self.endpoints):
            raise InvalidInput(doing, f"{endpoint} would get the password without TLS", "set restapi.connect_address and its certificates on that member")
        answer = self._request(endpoint, method, path, body, timeout, doing)
        if answer.status in (401, 403):
            wanted = "check api_user and api_password" if answer.status == 401 else "check client_cert, client_key and the allowlist of the REST API"
            raise LoginFailed(doing, f"{endpoint} refused the login ({answer.words()})", wanted)
        return answer

    def prove_login(self, endpoint: Endpoint) -> None:
        """Find out whether changes would be permitted, by one that is empty: Patroni looks at the login first, and then refuses it.

        Raises:
            LoginFailed: user, password or certificate were refused.
            Unreachable: no answer came.
        """
        self.send(endpoint, "PATCH", "/config", {}, self._timeout, f"log in to Patroni at {endpoint}")

    def _request(self, endpoint: Endpoint, method: str, path: str, body: dict[str, t.Any] | None, timeout: float, doing: str) -> Answer:
        headers = {"Accept": "*/*"}
        if body is not None:
            headers["Content-Type"] = "application/json"
            if self._login:
                headers["Authorization"] = self._login
        connection: http.client.HTTPConnection
        if endpoint.tls:
            connection = http.client.HTTPSConnection(endpoint.host, endpoint.port, timeout=self._timeout, context=self._context)
        else:
            connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=self._timeout)
        try:
            connection.connect()
            connection.sock.settimeout(timeout)
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(endpoint, response.status, response.read().decode(errors="replace"))
        except http.client.RemoteDisconnected as error:
            cause = f"{endpoint} closed the connection without an answer, as Patroni does when it cannot read its configuration store"
            raise Unreachable(doing, cause, "check the configuration store (etcd) and the log of Patroni") from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(doing, f"{endpoint}: {str(error) or type(error).__name__}", REACH) from error
        finally:
            connection.close()


def client_from(params: t.Mapping[str, t.Any]) -> Client:
    """Build the client from a module's parameters.

    Raises:
        InvalidInput: an option that cannot be right.
    """
    doing = "reach Patroni"
    if not params["endpoints"]:
        raise InvalidInput(doing, "endpoints is empty", "name the REST API of at least one member")
    if params["connect_timeout"] < 1:
        raise InvalidInput(doing, f"connect_timeout is {params['connect_timeout']}, it must be at least 1")
    if bool(params["api_user"]) != bool(params["api_password"]):
        raise InvalidInput(doing, "api_user and api_password are needed together")
    endpoints = [parse_endpoint(text) for text in params["endpoints"]]
    context = tls_context(params["validate_certs"], params["ca_cert"], params["client_cert"], params["client_key"])
    return Client(endpoints, params["api_user"], params["api_password"], context, float(params["connect_timeout"]))
