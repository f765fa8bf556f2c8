# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what was seen of hosts, secrets, certificates, names, backups and services before and after a deployment.

What was seen comes as dictionaries, since tasks have gathered it; what is missing in them was not looked at, which is a finding of its own.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput

BEFORE, AFTER = "before", "after"
FAIL, WARN, FINE = "fail", "warn", "ok"
Seen = t.Mapping[str, t.Any]
# Of ansible-core, and of the Python on the controller.
OLDEST_CORE = (2, 18)
# What ansible-core says before the reason.
ADO = re.compile(r"^(Task failed: |Finalization of task args for '[^']*' failed: |Error while resolving value for '[^']*': )+")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at: where, of which part, what, how it is, why, and what to do about it."""

    host: str
    part: str
    check: str
    status: str
    reason: str
    next_step: str = ""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is still well: free space in MiB, the clock's offset in seconds, the days that a certificate has left, the age of a backup in hours."""

    moment: str = BEFORE
    distributions: tuple[str, ...] = ("Debian 12", "Debian 13")
    paths: tuple[str, ...] = ("/", "/var")
    min_free_mb: int = 1024
    max_clock_offset: float = 5.0
    certificate_days: int = 21
    backup_max_age: float = 26.0


def limits_of(given: Seen) -> Limits:
    """Read limits.

    Raises:
        InvalidInput: there is no such limit, or no such moment.
    """
    known = {field.name for field in dataclasses.fields(Limits)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise InvalidInput("judge what was seen", f"there is no limit {', '.join(unknown)}", f"there are {', '.join(sorted(known))}")
    limits = Limits(**{name: tuple(value) if isinstance(value, (list, tuple)) else value for name, value in given.items()})
    if limits.moment not in (BEFORE, AFTER):
        raise InvalidInput("judge what was seen", f"moment is {limits.moment}", "it can be before or after")
    return limits


def hosts_findings(host: str, seen: Seen, limits: Limits) -> list[Finding]:
    """Judge a host: reached, its release, its clock, its disks, its units."""
    login = seen.get("login") or {}
    if "clock" not in login:
        reason = words(login.get("msg") or "it was not looked at")
        return [Finding(host, "hosts", "login", FAIL, reason, "see that Ansible reaches it by SSH and that its user may use sudo")]
    found = [Finding(host, "hosts", "login", FINE, "reached, with sudo")]
    facts = seen.get("facts") or {}
    found.append(_release(host, facts, limits))
    if not login.get("container"):
        # A container has the clock of its machine, which it cannot set.
        found.append(_clock(host, login["clock"], seen, limits))
    found += [_space(host, path, facts.get("ansible_mounts") or [], limits) for path in limits.paths]
    if seen.get("units") is not None:
        found.append(_units(host, seen["units"], limits))
    return found


def _release(host: str, facts: Seen, limits: Limits) -> Finding:
    name = f"{facts.get('ansible_distribution', 'an unknown system')} {facts.get('ansible_distribution_major_version', '')}".strip()
    if name in limits.distributions:
        return Finding(host, "hosts", "release", FINE, name)
    return Finding(host, "hosts", "release", FAIL, f"it runs {name}", f"use {' or '.join(limits.distributions)}")


def _clock(host: str, clock: float, seen: Seen, limits: Limits) -> Finding:
    """The host's clock was read between two looks at that of the controller."""
    offset = min(clock - seen["began"], 0.0) or max(clock - seen["ended"], 0.0)
    said = f"{abs(offset):.1f} s {'behind' if offset < 0 else 'ahead of'} the controller" if offset else "as that of the controller"
    if abs(offset) <= limits.max_clock_offset:
        return Finding(host, "hosts", "clock", FINE, said)
    return Finding(host, "hosts", "clock", FAIL, said, "set it, and see that it reaches its time servers (base_time_servers)")


def _space(host: str, path: str, mounts: t.Iterable[Seen], limits: Limits) -> Finding:
    check = f"space below {path}"
    holding = [mount for mount in mounts if path == mount["mount"] or path.startswith(mount["mount"].rstrip("/") + "/")]
    if not holding:
        return Finding(host, "hosts", check, WARN, "no file system was found that holds it", f"see df {path} on the host")
    mount = max(holding, key=lambda entry: len(entry["mount"]))
    free = int(mount.get("size_available") or 0) // 2**20
    if free >= limits.min_free_mb:
        return Finding(host, "hosts", check, FINE, f"{free} MiB are free")
    return Finding(host, "hosts", check, FAIL, f"{free} MiB are free on {mount['mount']}, fewer than {limits.min_free_mb}", "make room, or a larger disk")


def _units(host: str, units: Seen, limits: Limits) -> Finding:
    if units.get("rc") != 0:
        return Finding(host, "hosts", "units", WARN, words(units.get("stderr") or units.get("msg") or "systemctl failed"), "see systemctl --failed on the host")
    failed = [line.split()[0] for line in str(units.get("stdout") or "").splitlines() if line.split()]
    if not failed:
        return Finding(host, "hosts", "units", FINE, "no unit has failed")
    status = FAIL if limits.moment == AFTER else WARN
    return Finding(host, "hosts", "units", status, f"failed: {', '.join(failed)}", f"see systemctl status {failed[0]} on the host")


SECRETS = {
    "ok": (FINE, "it is there", ""),
    "empty": (FAIL, "it is empty", "give it a value, from a vault"),
    "placeholder": (FAIL, "it still is the placeholder of an example", "give it a value, from a vault"),
    "short": (WARN, "it is short", "make a longer one, such as by: openssl rand -base64 24"),
    "unreadable": (FAIL, "it cannot be read", "see that the vault can be reached and opened, and has it"),
}


def secrets_findings(host: str, seen: Seen, limits: Limits) -> list[Finding]:
    """Judge secrets by what was said of each; none of them comes here."""
    found = []
    for secret in seen.get("secrets", []):
        status, reason, next_step = SECRETS[secret["state"]]
        said = f"{reason}: {words(secret['reason'])}" if secret.get("reason") else reason
        found.append(Finding(host, "secrets", secret["name"], status, said, next_step))
    return found


def certificates_findings(host: str, seen: Seen, limits: Limits) -> list[Finding]:
    """Judge certificates: readable, valid now and for a while, and for the names that they stand for."""
    return [_certificate(host, entry, seen["now"], limits) for entry in seen.get("certificates", [])]


def _certificate(host: str, entry: Seen, now: float, limits: Limits) -> Finding:
    def finding(status: str, reason: str, next_step: str = "") -> Finding:
        return Finding(host, "certificates", entry["name"], status, reason, next_step)

    about = entry.get("about")
    if not about:
        return finding(FAIL, f"it cannot be read: {words(entry.get('problem', ''))}", "give a certificate as PEM")
    days = (_moment(about["not_after"]) - now) / 86400
    if now < _moment(about["not_before"]):
        return finding(FAIL, "it is not valid yet", "see the clock of who issued it")
    if days < 0:
        return finding(FAIL, f"it has expired {-days:.0f} days ago", "renew it")
    valid_for = {name.removeprefix("DNS:").removeprefix("IP Address:").removeprefix("IP:").lower() for name in about.get("subject_alt_name") or []}
    missing = [name for name in entry.get("names", []) if not _is_covered(name.lower(), valid_for)]
    if missing:
        return finding(FAIL, f"it is not valid for {', '.join(missing)}", "have one issued for all names of the site")
    if days < limits.certificate_days:
        return finding(WARN, f"it has {days:.0f} days left", "renew it")
    return finding(FINE, f"it has {days:.0f} days left")


def _is_covered(name: str, valid_for: set[str]) -> bool:
    return name in valid_for or "." in name and f"*.{name.split('.', 1)[1]}" in valid_for


def _moment(text: str) -> float:
    """Seconds since 1970 of a time as OpenSSL's tools write it, such as ``20261128081500Z``."""
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()


def names_findings(host: str, seen: Seen, limits: Limits) -> list[Finding]:
    """Judge names of sites: whether they lead somewhere."""
    found = []
    for entry in seen.get("names", []):
        if entry["addresses"]:
            found.append(Finding("controller", "names", entry["name"], FINE, f"leads to {', '.join(entry['addresses'])}"))
        else:
            next_step = "make its record in the DNS, or wait until it is seen"
            found.append(Finding("controller", "names", entry["name"], FAIL, "no address is known for it", next_step))
    return found


def backups_findings(host: str, seen: Seen, limits: Limits) -> list[Finding]:
    """Judge the newest backups: none is a warning before the first deployment, an old one a failure."""
    return [_backup(host, entry, seen["now"], limits) for entry in seen.get("backups", [])]


def _backup(host: str, entry: Seen, now: float, limits: Limits) -> Finding:
    check = f"newest backup of {entry['kind']}"
    if "backups" not in entry:
        status = FAIL if limits.moment == AFTER else WARN
        reason = f"the store cannot be looked at: {words(entry.get('problem') or 'it was not asked')}"
        return Finding(host, "backups", check, status, reason, "run site.yml, which installs what that needs, or see the store")
    finished = [backup["finished"] for backup in entry["backups"] if backup.get("id") == entry.get("latest")]
    if not finished:
        return Finding(host, "backups", check, WARN, "there is no good one", "run backup.yml as soon as there is data")
    age = (now - datetime.datetime.fromisoformat(finished[0].replace("Z", "+00:00")).timestamp()) / 3600
    if age > limits.backup_max_age:
        return Finding(host, "backups", check, FAIL, f"it is {age:.0f} hours old", "run backup.yml, and see why the schedule did not")
    return Finding(host, "backups", check, FINE, f"it is {age:.0f} hours old")


HOST_PARTS: dict[str, t.Callable[[str, Seen, Limits], list[Finding]]] = {
    "hosts": hosts_findings,
    "names": names_findings,
    "certificates": certificates_findings,
    "secrets": secrets_findings,
    "backups": backups_findings,
}


def controller_findings(seen: Seen) -> list[Finding]:
    """Judge what the controller has: versions, Python libraries."""
    version = tuple(int(part) for part in str(seen["ansible"]).split(".")[:2])
    core = Finding("controller", "hosts", "ansible-core", FINE, str(seen["ansible"]))
    if version < OLDEST_CORE:
        core = dataclasses.replace(core, status=FAIL, reason=f"it is {seen['ansible']}", next_step="install ansible-core 2.18 or later")
    found = [core]
    for name, there in sorted(seen["libraries"].items()):
        if there:
            found.append(Finding("controller", "hosts", name, FINE, "it is there"))
        else:
            found.append(Finding("controller", "hosts", name, FAIL, "it is not there", "pip install -r requirements.txt"))
    return found


def services_findings(checks: t.Iterable[Seen]) -> list[Finding]:
    """Judge services by what M(mainstay.ops.health_probe) said of each."""
    statuses = {"healthy": FINE, "degraded": WARN}
    found = []
    for check in checks:
        status = statuses.get(check["status"], FAIL)
        next_step = "" if status == FINE else "see the service's log on its host"
        found.append(Finding("controller", "services", check["name"], status, words(check["detail"]), next_step))
    return found


def words(text: t.Any) -> str:
    """A message on one line, short enough for a table."""
    line = ADO.sub("", " ".join(str(text).split())).rstrip(".")
    return line if len(line) <= 300 else line[:297] + "..."
