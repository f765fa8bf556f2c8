# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the certificates of nginx's sites valid: says which ones are due, lets lego order them, and puts them into service once they were checked.

Each site has one file in /etc/nginx/acme that holds its certificate, the chain and the key, so that one rename replaces all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import typing as t

CONFIG = pathlib.Path("/etc/nginx-acme/config.json")
SECRETS = pathlib.Path("/etc/nginx-acme/secret.env")
FOLDER = pathlib.Path("/etc/nginx/acme")
STATE = pathlib.Path("/var/lib/nginx-acme")
PID_FILE = pathlib.Path("/run/nginx.pid")

PAUSES = (60, 600, 6000, 86400)
"""Seconds until the next try after the first failure, the second and so on: what Let's Encrypt's integration guide asks clients to wait."""

ORDER_SECONDS = 900
PROOF_SECONDS = 30
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class AcmeError(Exception):
    """What went wrong, in a sentence."""


UNEXPECTED = (AcmeError, OSError, LookupError, ValueError)
"""What may go wrong with one site, such as output that is no text; the sites after it have their turn all the same."""


def words_of(error: Exception) -> str:
    """An error in words: what is no sentence is named by its kind."""
    return str(error) if isinstance(error, (AcmeError, OSError)) else f"{type(error).__name__}: {error}"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """What a certificate says.

    Attributes:
        serial: its serial number, in hexadecimal.
        start: from when it is valid, in seconds since 1970.
        end: until when.
        names: its DNS names and addresses, in lower case.
    """

    serial: str
    start: float
    end: float
    names: frozenset[str]

    def share_left(self, now: float) -> float:
        """The part of its lifetime that is left, from 1 down to 0 and below."""
        return (self.end - now) / max(self.end - self.start, 1.0)


def run(argv: t.Sequence[str], doing: str, text: str = "", seconds: float = 60, **environment: str) -> str:
    """Run a program and return what it printed.

    Raises:
        AcmeError: it failed; the message ends with the last lines that it printed.
    """
    try:
        done = subprocess.run(
            argv, input=text, capture_output=True, text=True, timeout=seconds, check=False, env={**os.environ, **environment, "LC_ALL": "C.UTF-8"}
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise AcmeError(f"could not {doing}: {exc}") from None
    if done.returncode != 0:
        raise AcmeError(f"could not {doing}: {' / '.join((done.stderr or done.stdout).strip().splitlines()[-4:])}")
    return done.stdout


def seconds_of(text: str) -> float:
    """A time as openssl writes it in ISO 8601, in seconds since 1970."""
    return datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()


def read_certificate(pem: str) -> Certificate:
    """Read the first certificate of a text.

    Raises:
        AcmeError: there is none in it.
    """
    argv = ["openssl", "x509", "-noout", "-serial", "-startdate", "-enddate", "-dateopt", "iso_8601", "-ext", "subjectAltName"]
    output = run(argv, "read the certificate", pem)
    found = dict(re.findall(r"^(serial|notBefore|notAfter)=(.+)$", output, re.MULTILINE))
    names = re.findall(r"(?:DNS|IP Address):([^,\s]+)", output)
    return Certificate(found["serial"], seconds_of(found["notBefore"]), seconds_of(found["notAfter"]), frozenset(name.lower() for name in names))


def due(certificate: Certificate | None, names: t.Collection[str], known: t.Mapping[str, t.Any], fingerprint: str, share: float, now: float) -> str:
    """Why a site needs a new certificate, empty if it needs none.

    Args:
        certificate: the one that it has.
        names: the names that it must be for.
        known: what was recorded when its certificate was issued.
        fingerprint: of how it is ordered now.
        share: the part of the lifetime below which it is renewed.
        now: the time, in seconds since 1970.
    """
    if certificate is None:
        return "it has none"
    if known.get("serial") != certificate.serial:
        return "the one that it has was not issued for it"
    if {name.lower() for name in names} != certificate.names:
        return "its names are other ones now"
    if known.get("fingerprint") != fingerprint:
        return "it is ordered in another way now"
    left = certificate.share_left(now)
    return f"{max(left, 0):.0%} of its lifetime is left" if left < share else ""


def pause_after(failures: int, jitter: float) -> float:
    """Seconds to wait after so many failures in a row; ``jitter`` from 0 to 1 lengthens it by up to a quarter."""
    return PAUSES[min(failures, len(PAUSES)) - 1] * (1 + jitter / 4)


def write(path: pathlib.Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step, on disk before it is seen."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def stand_in(folder: pathlib.Path, names: t.Sequence[str]) -> None:
    """Give each site that has no certificate one to begin with, so that nginx can start: the one that was given before, or a self-signed one for a day."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        target, live = folder / f"{name}.pem", FOLDER / f"{name}.pem"
        given = [pathlib.Path(f"/etc/nginx/tls/{name}.{kind}") for kind in ("crt", "key")]
        if target.exists():
            continue
        if live.exists():
            text = live.read_text(encoding="ascii")
        elif all(path.exists() for path in given):
            text = "".join(path.read_text(encoding="ascii") for path in given)
        else:
            argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-keyout", "-", "-out", "-"]
            text = run([*argv, "-subj", "/CN=stand-in"], f"make a stand-in for {name}")
        write(target, text)


def check(pem: str, names: t.Collection[str], roots: str, now: float) -> Certificate:
    """See that a new certificate can serve: it belongs to its key, is valid now, holds all names, and its chain leads to an authority that is trusted.

    Raises:
        AcmeError: it cannot.
    """
    public = run(["openssl", "x509", "-noout", "-pubkey"], "read the new certificate", pem)
    if run(["openssl", "pkey", "-pubout"], "read the new key", pem) != public:
        raise AcmeError("the new certificate does not belong to its key")
    certificate = read_certificate(pem)
    if not certificate.start - 3600 <= now < certificate.end:
        raise AcmeError("the new certificate is not valid now; look at the clock of this host")
    missing = sorted({name.lower() for name in names} - certificate.names)
    if missing:
        raise AcmeError(f"the new certificate is not for {', '.join(missing)}")
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as chain:
        chain.write("".join(_BLOCK.findall(pem)))
        chain.flush()
        trust = ["-CAfile", roots, "-no-CApath", "-no-CAstore"] if roots else []
        run(["openssl", "verify", *trust, "-purpose", "sslserver", "-untrusted", chain.name, chain.name], "verify the chain of the new certificate")
    return certificate


class Sites:
    """The sites of this host, with what is known of their certificates."""

    def __init__(self, config: t.Mapping[str, t.Any]) -> None:
        """Read what was recorded."""
        self.config = config
        self.record = STATE / "state.json"
        self.known: dict[str, dict[str, t.Any]] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.known = json.loads(self.record.read_text(encoding="utf-8"))
        names = [site["name"] for site in config["sites"]]
        self.known = {name: self.known.get(name, {}) for name in names}

    def save(self) -> None:
        """Record it, and write the figures for the exporter."""
        write(self.record, json.dumps(self.known, indent=1))
        if self.config["metrics"] and pathlib.Path(self.config["metrics"]).parent.is_dir():
            write(pathlib.Path(self.config["metrics"]), self.figures(), 0o644)

    def certificate(self, name: str) -> Certificate | None:
        """The certificate that a site has, nothing if it has none that can be read."""
        try:
            return read_certificate((FOLDER / f"{name}.pem").read_text(encoding="ascii"))
        except UNEXPECTED:
            return None

    def fingerprint(self) -> str:
        """Of how certificates are ordered; another authority or kind of key orders anew."""
        return hashlib.sha256(json.dumps([self.config[key] for key in ("server", "key_type", "options")]).encode()).hexdigest()

    def attempt(self, site: t.Mapping[str, t.Any]) -> str:
        """Of all that a failure may come from: when it changes, there is no need to wait any more."""
        changed = SECRETS.stat().st_mtime_ns if SECRETS.exists() else 0
        rest = {key: value for key, value in self.config.items() if key != "sites"}
        return hashlib.sha256(json.dumps([rest, site, changed], sort_keys=True).encode()).hexdigest()

    def ask(self, connection: http.client.HTTPConnection, name: str, path: str) -> tuple[int, bytes]:
        """Ask nginx on this host over HTTP."""
        connection.sock = socket.create_connection(("127.0.0.1", self.config["http_port"]), 10)
        if self.config["proxy_protocol"]:
            connection.sock.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 1024 {self.config['http_port']}\r\n".encode("ascii"))
        connection.request("GET", path, headers={"Host": name})
        answer = connection.getresponse()
        return answer.status, answer.read(100)

    def see_challenges(self, names: t.Sequence[str]) -> None:
        """See that nginx serves the answers to challenges, before the authority looks for them: what it does not find counts against its limits."""
        word = secrets.token_hex(16)
        path = STATE / "webroot/.well-known/acme-challenge" / f"proof-{word}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, word, 0o644)
        try:
            for name in names:
                connection = http.client.HTTPConnection(name, timeout=10)
                with contextlib.closing(connection):
                    found = self.ask(connection, name, f"/.well-known/acme-challenge/{path.name}")
                if found != (200, word.encode()):
                    raise AcmeError(f"nginx does not serve the answers to challenges for {name} on port {self.config['http_port']} (status {found[0]})")
        except (OSError, http.client.HTTPException) as exc:
            raise AcmeError(f"nginx does not answer on port {self.config['http_port']}: {exc}") from None
        finally:
            path.unlink()

    def order(self, names: t.Sequence[str]) -> str:
        """Let lego order a certificate; return it with its chain and key.

        Raises:
            AcmeError: there is none.
        """
        config, folder = self.config, STATE / "lego"
        shutil.rmtree(folder / "certificates", ignore_errors=True)
        argv = [config["lego"], "--accept-tos", "--server", config["server"], "--email", config["email"], "--path", str(folder)]
        argv += ["--key-type", config["key_type"], *(word for name in names for word in ("--domains", name))]
        if config["challenge"] == "http-01":
            self.see_challenges(names)
            argv += ["--http", "--http.webroot", str(STATE / "webroot")]
        else:
            argv += ["--dns", config["dns_provider"], *(word for resolver in config["dns_resolvers"] for word in ("--dns.resolvers", resolver))]
            argv += [] if config["dns_wait"] else ["--dns.disable-cp"]
        trust = {"LEGO_CA_CERTIFICATES": config["server_ca"]} if config["server_ca"] else {}
        try:
            run([*argv, "run", *config["options"]], f"get a certificate for {', '.join(names)} from {config['server']}", seconds=ORDER_SECONDS, **trust)
            found = [path for path in (folder / "certificates").glob("*.crt") if not path.name.endswith(".issuer.crt")]
            if len(found) != 1:
                raise AcmeError(f"lego left {len(found)} certificates for {', '.join(names)}")
            return found[0].read_text(encoding="ascii") + found[0].with_suffix(".key").read_text(encoding="ascii")
        finally:
            shutil.rmtree(folder / "certificates", ignore_errors=True)

    def replace(self, site: t.Mapping[str, t.Any], pem: str) -> None:
        """Replace the certificate of a site; the former one comes back if nginx cannot use the new one.

        Raises:
            AcmeError: nginx cannot use it.
        """
        path = FOLDER / f"{site['name']}.pem"
        former = path.read_text(encoding="ascii") if path.exists() else None
        write(path, pem)
        try:
            run(["nginx", "-t", "-q"], "test the configuration with the new certificate")
        except AcmeError:
            if former is not None:
                write(path, former)
            raise

    def show(self, site: t.Mapping[str, t.Any]) -> None:
        """Let nginx use the certificate that a site has, and see that it shows it. A server that somebody stopped takes it when it starts.

        Raises:
            AcmeError: nginx does not show it.
        """
        if PID_FILE.exists() and PID_FILE.read_text(encoding="ascii").strip():
            pem = (FOLDER / f"{site['name']}.pem").read_text(encoding="ascii")
            run(["nginx", "-s", "reload"], "reload nginx")
            self.see_certificate(site, ssl.PEM_cert_to_DER_cert(_BLOCK.findall(pem)[0].strip()))

    def renew(self, site: t.Mapping[str, t.Any]) -> Certificate:
        """Order a certificate for a site and put it in the place of the former one. It is recorded at once: if nginx does not show it, no other is ordered.

        Raises:
            AcmeError: there is none, or it cannot serve; the site keeps the certificate that it has.
        """
        pem = self.order(site["names"])
        certificate = check(pem, site["names"], self.config["roots"], time.time())
        self.replace(site, pem)
        self.known[site["name"]].update(serial=certificate.serial, fingerprint=self.fingerprint(), unseen=True)
        self.save()
        return certificate

    def see_certificate(self, site: t.Mapping[str, t.Any], wanted: bytes) -> None:
        """Wait until nginx shows a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        name, port, deadline = site["names"][0].replace("*", "www"), self.config["https_port"], time.monotonic() + PROOF_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as plain:
                if self.config["proxy_protocol"]:
                    plain.sendall(f"PROXY TCP4 127.0.0.1 127.0.0.1 1024 {port}\r\n".encode("ascii"))
                with context.wrap_socket(plain, server_hostname=name) as stream:
                    if stream.getpeercert(binary_form=True) == wanted:
                        return
            if time.monotonic() > deadline:
                raise AcmeError(f"nginx was reloaded but does not show the new certificate of {name} on port {port}; read /var/log/nginx/error.log")
            time.sleep(0.2)

    def keep(self, site: t.Mapping[str, t.Any], at_once: bool) -> str:
        """Renew the certificate of a site if it is due; let nginx use one that it has not shown yet.

        Args:
            site: the site.
            at_once: whether to try although the last try failed a short time ago.

        Returns:
            What was done, empty if nothing was.

        Raises:
            AcmeError: it could not be renewed or is not shown, or will be tried again later; nginx goes on with the certificate that it has.
        """
        known, now = self.known[site["name"]], time.time()
        why = due(self.certificate(site["name"]), site["names"], known, self.fingerprint(), self.config["renew_share"], now)
        if not why and not known.get("unseen"):
            return ""
        attempt = self.attempt(site)
        if known.get("attempt") != attempt:
            known.update(attempt=attempt, failures=0, next_try=0.0)
        if now < known["next_try"] and not at_once:
            moment = datetime.datetime.fromtimestamp(known["next_try"], datetime.timezone.utc)
            raise AcmeError(f"{known['error']}. The next try is made after {moment:%Y-%m-%d %H:%M:%S} UTC, or at once by nginx-acme --now")
        try:
            done = f"new certificate {self.renew(site).serial}, because {why}" if why else "its certificate, which nginx had not shown before, is shown"
            self.show(site)
        except UNEXPECTED as exc:
            failures, error = known["failures"] + 1, words_of(exc)
            known.update(failures=failures, next_try=now + pause_after(failures, random.random()), error=error)
            raise AcmeError(error) from None
        known.update(unseen=False, failures=0, next_try=0.0, error="", last_success=time.time())
        return done

    def figures(self) -> str:
        """What the node exporter's textfile collector reads. The share and the days that are left follow from the two times at any moment."""
        lines: dict[str, list[str]] = {}
        for site in self.config["sites"]:
            certificate, known = self.certificate(site["name"]), self.known[site["name"]]
            values: dict[str, float] = {"failures": known.get("failures", 0), "last_success_timestamp_seconds": known.get("last_success", 0)}
            values["stand_in"] = float(certificate is None or known.get("serial") != certificate.serial)
            if certificate:
                values.update(not_before_timestamp_seconds=certificate.start, not_after_timestamp_seconds=certificate.end)
            for key, value in values.items():
                lines.setdefault(f"mainstay_acme_certificate_{key}", []).append(f'{{site="{site["name"]}"}} {value:.0f}')
        return "".join(f"# TYPE {name} gauge\n" + "".join(f"{name}{line}\n" for line in found) for name, found in lines.items())


def keep_all(at_once: bool) -> int:
    """Renew what is due, site by site; return the exit status."""
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sites, status = Sites(config), 0
        for site in config["sites"]:
            try:
                done = sites.keep(site, at_once)
                print(f"{site['name']}: {done or 'its certificate is good'}")
            except UNEXPECTED as exc:
                print(f"{site['name']}: {words_of(exc)}", file=sys.stderr)
                status = 1
            sites.save()
        return status


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="nginx-acme", description="Keeps the certificates of nginx's sites valid.")
    parser.add_argument("--now", action="store_true", help="try at once, although the last try failed a short time ago")
    parser.add_argument("--stand-in", type=pathlib.Path, metavar="FOLDER", help="only give sites without a certificate one to begin with")
    parser.add_argument("sites", nargs="*", help="names of the sites for --stand-in")
    options = parser.parse_args()
    if options.stand_in is None:
        return keep_all(options.now)
    stand_in(options.stand_in, options.sites)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AcmeError as error:
        sys.exit(str(error))
