# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages about a recovery: to Slack, to any webhook, by mail. One that cannot be sent is told, and stops nothing."""

from __future__ import annotations

import dataclasses
import email.message
import email.utils
import json
import smtplib
import ssl
import typing as t
import urllib.error
import urllib.parse

from ansible.module_utils.urls import open_url

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError


@dataclasses.dataclass(frozen=True)
class Message:
    """What is told.

    Args:
        title: in one line.
        lines: the rest, a line each.
        success: whether it is good news.
        report: what a webhook gets beside that.
    """

    title: str
    lines: tuple[str, ...]
    success: bool
    report: t.Mapping[str, t.Any]

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join([self.title, *(f"- {line}" for line in self.lines)])


def place_of(notice: t.Mapping[str, t.Any]) -> str:
    """Return who is told, without what is secret: the path of a webhook's address often is its password."""
    if notice["type"] == "mail":
        return f"mail to {', '.join(notice['to'])} through {notice['host']}"
    return f"{notice['type']} at {urllib.parse.urlsplit(notice['url']).hostname}"


def check(notices: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    """Find out whether messages can be sent there at all.

    Raises:
        InvalidInput: an address is none.
    """
    for notice in notices:
        if notice["type"] == "mail":
            broken = [address for address in (*notice["to"], notice["sender"]) if "@" not in address or any(character in address for character in "\r\n")]
            if broken or not notice["to"]:
                raise InvalidInput("send a mail", f"{broken[0]!r} is no address" if broken else "to is empty", "give addresses like operators@example.com")
        elif urllib.parse.urlsplit(notice["url"]).scheme not in ("http", "https") or not urllib.parse.urlsplit(notice["url"]).hostname:
            raise InvalidInput(f"send a message to {notice['type']}", "its url does not begin with https:// and a host", "correct it")


def send(notice: t.Mapping[str, t.Any], message: Message) -> None:
    """Send a message.

    Raises:
        MainstayError: it was not taken; the words hold nothing secret.
    """
    try:
        if notice["type"] == "mail":
            _mail(notice, message)
        elif notice["type"] == "slack":
            _post(notice, {"text": f"{'✅' if message.success else '❌'} {message.text}"}, {})
        else:
            body = {"title": message.title, "lines": list(message.lines), "success": message.success, "report": message.report}
            _post(notice, body, notice["headers"] or {})
    except urllib.error.HTTPError as error:
        raise MainstayError(f"send {place_of(notice)}", f"it answered {error.code}", "check the address") from error
    except (OSError, smtplib.SMTPException, ValueError) as error:
        # The library's words may repeat the address.
        secrets = [word for word in (notice.get("url"), notice.get("password"), *(notice.get("headers") or {}).values()) if word]
        said = str(getattr(error, "reason", None) or error) or type(error).__name__
        for word in secrets:
            said = said.replace(str(word), "***")
        raise MainstayError(f"send {place_of(notice)}", said, "check the address and the way to it") from error


def _post(notice: t.Mapping[str, t.Any], body: object, headers: t.Mapping[str, str]) -> None:
    given = {"Content-Type": "application/json", **{name: str(text) for name, text in headers.items()}}
    data = json.dumps(body, default=str)
    timeout, certificates = notice["timeout"], notice["validate_certs"]
    with open_url(notice["url"], method="POST", data=data, headers=given, timeout=timeout, validate_certs=certificates, ca_path=notice["ca_cert"]):
        pass


def _mail(notice: t.Mapping[str, t.Any], message: Message) -> None:
    mail = email.message.EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"], mail["To"] = notice["sender"], ", ".join(notice["to"])
    mail["Date"] = email.utils.localtime()
    mail["Message-ID"] = email.utils.make_msgid(domain=notice["sender"].rpartition("@")[2])
    mail.set_content(f"{message.text}\n")
    context = ssl.create_default_context(cafile=notice["ca_cert"])
    if not notice["validate_certs"]:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = notice["port"] or {"starttls": 587, "tls": 465, "none": 25}[notice["encryption"]]
    if notice["encryption"] == "tls":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(notice["host"], port, timeout=notice["timeout"], context=context)
    else:
        connection = smtplib.SMTP(notice["host"], port, timeout=notice["timeout"])
    with connection:
        if notice["encryption"] == "starttls":
            connection.starttls(context=context)
        if notice["user"]:
            connection.login(notice["user"], notice["password"] or "")
        connection.send_message(mail)
