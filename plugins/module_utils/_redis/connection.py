# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a Redis server: options, ordinary commands through the ``redis`` library, and the raw socket that replication needs."""

from __future__ import annotations

import dataclasses
import ipaddress
import socket
import ssl
import typing as t

from ansible.module_utils.basic import missing_required_lib
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    redis = None  # type: ignore[assignment]

CONNECT_SECONDS = 5.0
"""Patience for connecting and for the answer to an ordinary command."""


def redis_argument_spec() -> dict[str, t.Any]:
    """Return the connection options of all Redis modules; the documentation is the ``redis`` fragment."""
    return {
        "login_host": {"type": "str", "default": "localhost"},
        "login_port": {"type": "int", "default": 6379},
        "login_user": {"type": "str"},
        "login_password": {"type": "str", "no_log": True},
        "login_unix_socket": {"type": "path"},
        "tls": {"type": "bool", "default": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_certs": {"type": "path"},
        "client_cert_file": {"type": "path"},
        "client_key_file": {"type": "path"},
    }


@dataclasses.dataclass(frozen=True)
class Login:
    """Where a server is and how to log in; the password never shows in its representation."""

    host: str = "localhost"
    port: int = 6379
    user: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    unix_socket: str | None = None
    tls: bool = False
    validate_certs: bool = True
    ca_certs: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None

    @property
    def address(self) -> str:
        """The server's address for messages."""
        if self.unix_socket:
            return self.unix_socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def at(self, host: str, port: int) -> Login:
        """Return the same credentials for another address."""
        return dataclasses.replace(self, host=host, port=port, unix_socket=None)

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings.

        Raises:
            InvalidInput: a certificate or key file cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_certs)
            if not self.validate_certs:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.client_cert_file:
                context.load_cert_chain(self.client_cert_file, self.client_key_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"prepare TLS for Redis at {self.address}", error, "check ca_certs, client_cert_file and client_key_file") from error
        return context


def login_from(params: t.Mapping[str, t.Any]) -> Login:
    """Build the login from a module's parameters.

    Raises:
        InvalidInput: options that exclude each other, or a missing library.
    """
    if redis is None:
        raise InvalidInput("talk to Redis", missing_required_lib("redis"))
    if params["login_user"] and not params["login_password"]:
        raise InvalidInput("log in to Redis", "login_user is given without login_password")
    if bool(params["client_cert_file"]) != bool(params["client_key_file"]):
        raise InvalidInput("prepare TLS for Redis", "client_cert_file and client_key_file are needed together")
    return Login(
        host=params["login_host"],
        port=params["login_port"],
        user=params["login_user"],
        password=params["login_password"],
        unix_socket=params["login_unix_socket"],
        tls=params["tls"] and not params["login_unix_socket"],
        validate_certs=params["validate_certs"],
        ca_certs=params["ca_certs"],
        client_cert_file=params["client_cert_file"],
        client_key_file=params["client_key_file"],
    )


class Server:
    """Ordinary commands to one server; connects with the first one, and tries each once."""

    def __init__(self, login: Login, timeout: float = CONNECT_SECONDS) -> None:
        """Prepare the client; nothing is sent yet."""
        self.login = login
        settings: dict[str, t.Any] = {"host": login.host, "port": login.port}
        if login.unix_socket:
            settings = {"unix_socket_path": login.unix_socket}
        elif login.tls:
            login.context()
            settings |= {
                "ssl": True,
                "ssl_cert_reqs": "required" if login.validate_certs else "none",
                "ssl_check_hostname": login.validate_certs,
                "ssl_ca_certs": login.ca_certs,
                "ssl_certfile": login.client_cert_file,
                "ssl_keyfile": login.client_key_file,
            }
        if not login.unix_socket:
            settings["socket_connect_timeout"] = timeout
        if redis.VERSION[0] >= 5:  # earlier ones speak RESP 2 only; this makes all of them do the same
            settings["protocol"] = 2
        self._client = redis.Redis(
            username=login.user, password=login.password, socket_timeout=timeout, retry=Retry(NoBackoff(), 0), single_connection_client=False, **settings
        )
        for name in ("INFO", "CONFIG GET", "CLIENT LIST", "ACL LIST"):
            self._client.set_response_callback(name, lambda reply, **unused: reply)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def command(self, *words: str | int, doing: str = "") -> t.Any:
        """Send one command and return its reply; bulk strings are bytes.

        Args:
            words: the command and its arguments; a name of two words such as ``CONFIG GET`` is one argument.
            doing: what this is for, for the error's sentence; the command's name if empty. Arguments are never shown.

        Raises:
            Refused: the server answered with an error.
            MainstayError: it could not be reached, or the login failed.
        """
        doing = doing or f"run {words[0]}"
        doing = f"{doing} on Redis at {self.login.address}"
        try:
            return self._client.execute_command(*words)
        except redis.exceptions.AuthenticationError as error:
            raise LoginFailed(doing, error, "check login_user and login_password") from error
        except redis.exceptions.ResponseError as error:
            raise refusal(doing, str(error)) from error
        except redis.exceptions.BusyLoadingError as error:
            raise Loading(doing, error, "try again later") from error
        except (redis.exceptions.RedisError, OSError) as error:
            raise Unreachable(doing, error, "check login_host, login_port, tls and that the server runs") from error
        except BaseException:  # redis-py before 4.5 keeps a connection whose reply was not read, and takes it for the next command's
            self._client.connection_pool.disconnect()
            raise

    def info(self) -> dict[str, str]:
        """Return the fields of ``INFO``."""
        return parse_info(self.command("INFO", doing="read the state"))

    def config(self, *names: str) -> dict[str, str]:
        """Return settings of the running server; names that it does not know are left out.

        Raises:
            Refused: ``CONFIG`` is renamed or not permitted.
        """
        found: dict[str, str] = {}
        for name in names:
            reply = self.command("CONFIG GET", name, doing=f"read the setting {name}")
            pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2])
            found |= {_text(key): _text(value) for key, value in pairs}
        return found

    def set_config(self, name: str, value: str) -> None:
        """Change a setting of the running server; the value never shows in an error."""
        self.command("CONFIG SET", name, value, doing=f"change the setting {name}")

    def client_names(self) -> tuple[str, ...]:
        """Return the names that connected clients gave themselves."""
        lines = _text(self.command("CLIENT LIST", doing="list the clients")).splitlines()
        return tuple(field.removeprefix("name=") for line in lines for field in line.split(" ") if field.startswith("name="))


class Refused(MainstayError):
    """The server understood and said no."""


class LoginFailed(Refused):
    """User or password are not what the server expects."""


class Unreachable(MainstayError):
    """The server could not be reached, or the connection broke."""


class Loading(Unreachable):
    """The server is loading its data, and does little else until it has them. To redis-py that is an error of the connection."""


def refusal(doing: str, answer: str) -> Refused:
    """Turn a server's error line into an error with a next step."""
    code = answer.split(" ", 1)[0].lstrip("-")
    if code in {"WRONGPASS", "NOAUTH"} or "invalid password" in answer or "without any password configured" in answer:
        return LoginFailed(doing, answer, "check login_user and login_password")
    if code == "NOPERM" or "no permissions" in answer:
        return Refused(doing, answer, "give the user the permission by ACL SETUSER")
    return Refused(doing, answer)


def open_socket(login: Login, timeout: float) -> socket.socket:
    """Open the raw connection for replication; no login yet.

    Args:
        login: where to; only its address and TLS settings are used here.
        timeout: seconds without a byte after which reading fails.

    Raises:
        Unreachable: no connection, or TLS failed.
    """
    raw: socket.socket | None = None
    try:
        if login.unix_socket:
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(CONNECT_SECONDS)
            raw.connect(login.unix_socket)
        else:
            raw = socket.create_connection((login.host, login.port), CONNECT_SECONDS)
        if login.tls:
            raw = login.context().wrap_socket(raw, server_hostname=login.host)
        raw.settimeout(timeout)
        return raw
    except OSError as error:
        if raw is not None:
            raw.close()
        raise Unreachable(f"connect to Redis at {login.address}", error, "check login_host, login_port, tls and that the server runs") from error


def is_local(login: Login) -> bool:
    """Tell whether the address belongs to the host that this runs on."""
    if login.unix_socket:
        return True
    try:
        found = socket.getaddrinfo(login.host, 0, type=socket.SOCK_DGRAM)
    except OSError:
        return False
    return any(_is_own(family, address[0]) for family, _type, _protocol, _name, address in found)


def _is_own(family: int, address: t.Any) -> bool:
    if ipaddress.ip_address(address.split("%")[0]).is_loopback:
        return True
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def parse_info(reply: bytes | str) -> dict[str, str]:
    """Return the fields of an ``INFO`` reply, sections and empty lines left out."""
    pairs = (line.split(":", 1) for line in _text(reply).splitlines() if ":" in line and not line.startswith("#"))
    return {name: value.strip() for name, value in pairs}


def _text(reply: t.Any) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
