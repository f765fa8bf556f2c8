# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check an HTTP(S) endpoint: its status, its body by regular expression, and its JSON by JMESPath. Other kinds that speak HTTP ask through this one."""

from __future__ import annotations

import dataclasses
import functools
import http.client
import json
import re
import ssl
import typing as t
import urllib.parse

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe import proxy as proxies
from ansible_collections.mainstay.ops.plugins.module_utils._probe.assertions import Assertion, compile_assertions, failed_assertions
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.masking import mask
from ansible_collections.mainstay.ops.plugins.module_utils._probe.proxy import DEFAULT_PORTS, Proxy
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer, Wire, connect, join_address, split_address, tls_context

#: What says how to ask, whatever is made of the answer.
REQUEST_OPTIONS = frozenset({
    "url", "headers", "secret_headers", "follow_redirects", "max_redirects", "login_user", "login_password", "bearer_token", "connect_to",
    "server_hostname", "ca_cert", "client_cert", "client_key", "validate_certs",
}) | proxies.OPTIONS
OPTIONS = REQUEST_OPTIONS | {"method", "body", "status", "body_regex", "assertions"}
OBSERVED = ("address", "url", "http_status", "location", "body_start")
#: Bytes of a body that are read and looked at. A health endpoint that says more is cut there.
MAX_BODY = 1 << 20
#: Characters of a failing answer's body that are shown.
SHOWN_BODY = 200
#: Characters of it that are masked before it is cut, so that no part of a secret is left at the cut.
MASKED_BODY = 1 << 14
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Headers that are refused in `headers`, because those are logged.
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
#: The word before what ``Authorization`` holds; that is a secret without it too.
SCHEME = re.compile(r"^[A-Za-z]+ (?=\S+$)")
#: A token as RFC 9110, section 5.6.2, defines it.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclasses.dataclass(frozen=True)
class Target:
    """A request, and what its answer has to be."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    secret_headers: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    body: bytes | None = dataclasses.field(default=None, repr=False)
    status: tuple[int, ...] = (200,)
    body_regex: re.Pattern[str] | None = None
    assertions: tuple[Assertion, ...] = ()
    max_redirects: int = 0
    connect_to: tuple[str, int | None] | None = None
    server_hostname: str | None = None
    context: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    secrets: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    max_body: int = MAX_BODY

    def __str__(self) -> str:
        """How the target is called."""
        return self.url

    def shown(self, text: str) -> str:
        """The start of what an endpoint said, without secrets."""
        return mask(text[:MASKED_BODY], self.secrets)[:SHOWN_BODY]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a URL points."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """The value of the ``Host`` header."""
        return join_address(self.host, None if self.port == DEFAULT_PORTS[self.scheme] else self.port)


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer whose body was read to its end or to the target's ``max_body``."""

    address: str
    url: str
    status: int
    location: str | None
    body: str


def plan(options: dict[str, t.Any]) -> Target:
    """The request that the check's options describe.

    Raises:
        InvalidInput: the URL, a header, a regular expression, an assertion or a file is of no use.
    """
    place = locate(options["url"])
    method = options["method"].upper()
    if not TOKEN.fullmatch(method):
        raise InvalidInput(f"send method {method!r}", "it is not an HTTP method")
    if not options["status"]:
        raise InvalidInput("judge the status", "status is an empty list", "leave it out to expect 200")
    body, content_type = _encode_body(options["body"])
    headers = {"User-Agent": "mainstay-health-probe", "Accept": "*/*", **content_type, **_plain_headers(options["headers"] or {})}
    secret = _secret_headers(options)
    context = functools.partial(tls_context, options["validate_certs"], options["ca_cert"], options["client_cert"], options["client_key"])
    wants_tls = place.scheme == "https" or options["follow_redirects"]
    proxy = proxies.plan_proxy(options, context)
    values = [*secret.values(), *(proxy.headers.values() if proxy else ())]
    passwords = [options[option] for option in ("login_password", "proxy_password") if options[option]]
    return Target(
        url=options["url"],
        method=method,
        headers=_checked(headers),
        secret_headers=_checked(secret),
        body=body,
        status=tuple(options["status"]),
        body_regex=_compile_regex(options["body_regex"]),
        assertions=compile_assertions(options["assertions"] or []),
        max_redirects=options["max_redirects"] if options["follow_redirects"] else 0,
        connect_to=split_address(options["connect_to"]) if options["connect_to"] else None,
        server_hostname=options["server_hostname"],
        context=context() if wants_tls else None,
        proxy=proxy,
        secrets=(*passwords, *values, *(SCHEME.sub("", value) for value in values)),
    )


def locate(url: str) -> Place:
    """Take a URL apart.

    Raises:
        InvalidInput: it is not an http or https URL, or it holds credentials.
    """
    doing = "understand the URL"
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("ascii" if ":" in (parts.hostname or "") else "idna").decode()
    except (ValueError, UnicodeError) as error:
        raise InvalidInput(doing, error) from error
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(doing, "it holds credentials, and URLs are logged", "use login_user and login_password")
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise InvalidInput(f"understand the URL {url}", "it is not http://HOST or https://HOST")
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{urllib.parse.quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    return Place(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path + query)


def probe(target: Target, budget: Budget) -> Finding:
    """Ask and judge the answer.

    Raises:
        NoAnswer: no complete answer came.
    """
    return judge_answer(target, ask(target, budget))


def ask(target: Target, budget: Budget) -> Answer:
    """Ask, and follow redirects if they are to be followed.

    Raises:
        NoAnswer: no complete answer came, or too many redirects.
    """
    answer = _ask_once(target, budget)
    hops = 0
    while target.max_redirects and answer.status in REDIRECTS and answer.location:
        hops += 1
        if hops > target.max_redirects:
            raise NoAnswer(f"more than {target.max_redirects} redirects, the last one to {target.shown(answer.location)}")
        target = redirected(target, answer.status, answer.location)
        answer = _ask_once(target, budget)
    return answer


def redirected(target: Target, status: int, location: str) -> Target:
    """The request that follows a redirect (RFC 9110, section 15.4).

    What was given for the first host (credentials, the address to connect to, the name to verify) is not taken to another one.

    Raises:
        NoAnswer: the redirect leads to what is not an HTTP URL.
    """
    url = urllib.parse.urljoin(target.url, location)
    try:
        old, new = locate(target.url), locate(url)
    except InvalidInput as error:
        raise NoAnswer(f"redirect to {target.shown(location)} cannot be followed: {error.cause}") from error
    changes: dict[str, t.Any] = {"url": url}
    if status == 303 or (status in (301, 302) and target.method == "POST"):
        changes.update(method="HEAD" if target.method == "HEAD" else "GET", body=None)
    if new.host != old.host:
        changes.update(secret_headers=(), connect_to=None, server_hostname=None)
    elif (new.scheme, new.port) != (old.scheme, old.port):
        same_host_other_port = (target.connect_to[0], None) if target.connect_to else None
        changes.update(secret_headers=target.secret_headers if new.scheme == "https" else (), connect_to=same_host_other_port)
    return dataclasses.replace(target, **changes)


def judge_answer(target: Target, answer: Answer) -> Finding:
    """Hold an answer against what was asked for."""
    problems: list[str] = []
    location = None if answer.location is None else target.shown(answer.location)
    if answer.status not in target.status:
        to = f" to {location}" if location else ""
        problems.append(f"answered {answer.status}{to}, expected {' or '.join(map(str, target.status))}")
    if target.body_regex is not None and not target.body_regex.search(answer.body):
        problems.append(f"body does not match {target.body_regex.pattern!r}")
    problems.extend(failed_assertions(target.assertions, answer.body, target.shown))
    start = target.shown(answer.body) if problems else None
    if start:
        problems.append(f"body starts with {start!r}")
    url = mask(answer.url, target.secrets)
    observed = {"address": answer.address, "url": url, "http_status": answer.status, "location": location, "body_start": start}
    return Finding(f"answered {answer.status}", tuple(problems), (), observed)


class _Lent:
    """What ``http.client`` needs of a socket; the wire is closed by its owner, after the body was read."""

    def __init__(self, wire: Wire) -> None:
        self.sendall = wire.sendall
        self.makefile = wire.makefile

    def close(self) -> None:
        """Leave the wire open."""


def _ask_once(target: Target, budget: Budget) -> Answer:
    place = locate(target.url)
    host, port = target.connect_to or (place.host, None)
    port = port or place.port
    proxy = target.proxy if target.proxy and target.proxy.serves(host, port) else None
    tunnel = proxy is not None and (place.scheme == "https" or target.connect_to is not None)
    path, more = (f"http://{place.host_header}{place.path}", proxy.headers) if proxy and not tunnel else (place.path, {})
    with connect(host, port, budget) if proxy is None else proxies.connect_to_proxy(proxy, budget) as wire:
        if proxy is not None and tunnel:
            proxies.open_tunnel(wire, proxy, host, port)
        if place.scheme == "https":
            wire.start_tls(t.cast(ssl.SSLContext, target.context), target.server_hostname or place.host)
        headers = {"Host": place.host_header, "Connection": "close", **dict(target.headers), **dict(target.secret_headers), **more}
        return _exchange(target, wire, path, headers)


def _exchange(target: Target, wire: Wire, path: str, headers: dict[str, str]) -> Answer:
    """Send a request over a wire that leads to the endpoint or its proxy, and read the answer."""
    connection = http.client.HTTPConnection("")
    connection.sock = t.cast(t.Any, _Lent(wire))
    try:
        connection.request(target.method, path, target.body, headers)
        response = connection.getresponse()
        body = response.read(target.max_body)
        if response.length and len(body) < target.max_body:
            raise NoAnswer(f"the answer {response.status} of {wire.address} was cut short: {response.length} bytes are missing")
    except (http.client.HTTPException, ConnectionError) as error:
        raise NoAnswer(f"{wire.address} gave no proper HTTP answer: {error or type(error).__name__}") from error
    return Answer(wire.address, target.url, response.status, response.getheader("Location"), _decode(body, response.headers.get_content_charset()))


def _decode(body: bytes, charset: str | None) -> str:
    try:
        return body.decode(charset or "utf-8", errors="replace")
    except LookupError:
        return body.decode("utf-8", errors="replace")


def _encode_body(body: t.Any) -> tuple[bytes | None, dict[str, str]]:
    if body is None:
        return None, {}
    if isinstance(body, str):
        return body.encode(), {}
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def _plain_headers(headers: dict[str, t.Any]) -> dict[str, str]:
    for name in headers:
        if str(name).lower() in SECRET_HEADERS:
            raise InvalidInput(f"send header {name}", "headers are logged", "give it in secret_headers")
    return {str(name): str(value) for name, value in headers.items()}


def _secret_headers(options: dict[str, t.Any]) -> dict[str, str]:
    """The headers whose contents are secrets, those of the login among them."""
    secret = {str(name): str(value) for name, value in (options["secret_headers"] or {}).items()}
    if options["login_user"] is not None and options["bearer_token"] is not None:
        raise InvalidInput("log in", "login_user and bearer_token exclude each other")
    if options["login_user"] is not None:
        secret["Authorization"] = proxies.basic(options["login_user"], options["login_password"])
    if options["bearer_token"] is not None:
        secret["Authorization"] = f"Bearer {options['bearer_token']}"
    return secret


def _checked(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    for name, value in headers.items():
        if not TOKEN.fullmatch(name):
            raise InvalidInput(f"send header {name!r}", "the name is not a token")
        if not value.isprintable() or not value.isascii():
            raise InvalidInput(f"send header {name}", "its value is not printable ASCII")
    return tuple((name.title(), value) for name, value in headers.items())


def _compile_regex(text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise InvalidInput(f"understand body_regex {text!r}", error) from error
