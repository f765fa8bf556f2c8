# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fault tests do again and again: run a module, let something go wrong, and see that nothing that counts as a backup is none."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import re
import secrets
import signal
import subprocess
import time
import typing as t

from processes import descendants
from servers import HostileS3, Runner

Options = dict[str, t.Any]
Result = dict[str, t.Any]
SEED = int(os.environ.get("MAINSTAY_FAULT_SEED") or secrets.randbelow(10**6))
"""What the random moments come from; a failure names it, and the environment variable repeats it."""


def s3_store(hostile: HostileS3, prefix: str = "p") -> Options:
    """Return the option ``store`` for the bucket ``backups`` of a server."""
    keys = {"access_key": "AKIATEST", "secret_key": "hostile-" + "s" * 20, "region": "us-east-1"}
    return {"type": "s3", "bucket": "backups", "prefix": prefix, "endpoint_url": hostile.endpoint_url, **keys}


@dataclasses.dataclass
class Subject:
    """A module and its catalogue.

    Args:
        run: runs modules.
        module: the module's name.
        options: what takes a backup.
        opening: what is needed beyond that to open one: the private key.
        checked: the backups that passed the level ``content`` already.
    """

    run: Runner
    module: str
    options: Options
    opening: Options = dataclasses.field(default_factory=dict)
    checked: set[str] = dataclasses.field(default_factory=set)

    def take(self, **given: t.Any) -> Result:
        """Take a backup."""
        return self.run(self.module, {**self.options, "max_age": "0", **given})

    def verify(self, backup_id: str, level: str, **given: t.Any) -> Result:
        """Verify a backup."""
        wanted = {"state": "verified", "backup_id": backup_id, "verify_level": level, "max_age": "0"}
        return self.run(self.module, {**self.options, **self.opening, **wanted, **given})

    def info(self) -> Result:
        """List the backups."""
        asked = ("name", "store", *(("method", "repository_passphrase") if self.options.get("method") == "physical" else ()))
        return self.run(f"{self.module}_info", {name: self.options[name] for name in asked if name in self.options})

    def good(self) -> list[str]:
        """The ids of the good backups; each that was not seen before must pass ``content``. This is the check that everything here is about."""
        info = self.info()
        assert not info["failed"], info
        found = [backup["id"] for backup in info["backups"] if backup["good"]]
        for backup_id in found:
            if backup_id not in self.checked:
                result = self.verify(backup_id, "content")
                assert not result["failed"], f"a false good (seed {SEED}): {result['msg']}"
                self.checked.add(backup_id)
        return found


def name_of(pid: int) -> str:
    """The name of a process."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    return "?"


def at_work(pid: int, program: str) -> bool:
    """Whether a process is this program, and not asked for its version only."""
    with contextlib.suppress(OSError):
        return name_of(pid) == program and b"--version" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def kill_once(
    subject: Subject, moment: float, choose: random.Random, number: int = signal.SIGKILL, share: float = 0.4, **given: t.Any
) -> tuple[str, Result | None]:
    """Start a backup and end the module, or any process below it, some seconds later; return who was hit, and the result if there is one.

    Args:
        subject: what is backed up.
        moment: seconds after the start.
        choose: chooses the victim.
        number: the signal that the module gets; a process below it always gets SIGKILL.
        share: how often the module is the victim although there are processes below it.
        given: options for something else than a backup.
    """
    process = subject.run.start(subject.module, {**subject.options, "max_age": "0", **given})
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    below = descendants(process.pid)
    victim = process.pid if choose.random() < share or not below else choose.choice(below)
    who = "module" if victim == process.pid else name_of(victim)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, number if victim == process.pid else signal.SIGKILL)
    else:
        who = "nobody"
    output, errors = process.communicate(timeout=180)
    deadline = time.monotonic() + 30
    while any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in below):
        assert time.monotonic() < deadline, f"{[name_of(pid) for pid in below]} outlive the module (seed {SEED})"
        time.sleep(0.05)
    if process.returncode in (-signal.SIGKILL, -number):
        return who, None
    result = {"failed": False, "changed": False, **json.loads(output)} if output.strip().startswith("{") else None
    assert result is not None, output + errors
    return who, result


def kill_drill(subject: Subject, rounds: int, label: str, again_every: int = 1) -> collections.Counter[str]:
    """Kill at random moments; return how often who was hit with which outcome.

    After each round every backup that is listed as good must pass ``content``, and after every ``again_every`` rounds the next run must succeed.
    """
    choose = random.Random(f"{SEED} {label}")  # noqa: S311
    seen: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    first = subject.take()
    length = time.monotonic() - started
    assert not first["failed"], first
    for number in range(1, rounds + 1):
        who, result = kill_once(subject, choose.uniform(0.05, 1.1) * length, choose)
        good = subject.good()
        if result is not None and not result["failed"]:
            assert result["backup"]["id"] in good, f"a success without a backup (seed {SEED}, round {number}, {who})"
        if result is not None and result["failed"]:
            assert result["msg"].startswith("could not "), result
        seen[f"{who}: {'no result' if result is None else 'failed' if result['failed'] else 'good'}"] += 1
        if number % again_every == 0 or number == rounds:
            again = subject.take()
            assert not again["failed"] and again["changed"], f"the next run (seed {SEED}, round {number}, after {who}): {again}"
    assert len(subject.good()) >= 1 + rounds // again_every
    print(f"\n{label}: {rounds} kills, seed {SEED}: {dict(seen)}")
    return seen


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that a store does wrong while a backup is written, and what must come of it.

    Args:
        name: the case's name.
        faults: kinds of faults with their arguments; see hostile_s3.
        cause: pattern of what the error must say; empty if the backup must succeed in spite of it.
        switches: what is set on the server.
        short: whether it is part of the short set.
    """

    name: str
    faults: tuple[tuple[str, Options], ...] = ()
    cause: str = ""
    switches: Options = dataclasses.field(default_factory=dict)
    short: bool = False

    def arrange(self, hostile: HostileS3) -> None:
        """Let it go wrong from here on."""
        for kind, given in self.faults:
            hostile.fault(kind, **given)
        for name, value in self.switches.items():
            setattr(hostile, name, value)


PART, DONE, NEW = {"operation": "UploadPart"}, {"operation": "CompleteMultipartUpload"}, {"operation": "PutObject", "key": "manifest.json$"}
ALWAYS = {"count": None}
TAKING = [
    Case("cut before a part", (("reset_before", {**PART, "nth": 2}),)),
    Case("cut within a part", (("reset_during", {**PART, "nth": 2, "count": 2}),)),
    Case("cut after a part", (("reset_after", {**PART, "nth": 2}),)),
    Case("cut within everything once", tuple(("reset_during", {"operation": name}) for name in ("UploadPart", "PutObject", "ListObjectsV2", "GetObject"))),
    Case("lost answer of the last request", (("reset_after", DONE),), short=True),
    Case("lost answers of the last request", (("reset_after", {**DONE, **ALWAYS}),)),
    Case("lost answer of the manifest", (("reset_after", NEW),)),
    Case("slow down", (("status", {"count": 4, "status": 503, "code": "SlowDown"}),)),
    Case("throttled parts", (("status", {**PART, "count": 3, "status": 429, "code": "TooManyRequests"}),)),
    Case(
        "errors here and there",
        (("status", {**PART, "nth": 2}), ("status", DONE), ("status", {**NEW, "status": 502}), ("status", {"nth": 3, "status": 504})),
    ),
    Case("down for parts", (("status", {**PART, **ALWAYS}),), r"InternalError.*UploadPart"),
    Case("down for the last request", (("status", {**DONE, **ALWAYS, "status": 503, "code": "ServiceUnavailable"}),), r"ServiceUnavailable.*CompleteMultipart"),
    Case("down for the manifest", (("status", {**NEW, **ALWAYS}),), r"write .*manifest.json.*InternalError.*PutObject"),
    Case("gone in the middle", (("reset_before", {"operation": "UploadPart|Complete.*|Abort.*|List.*|Delete.*", "nth": 4, **ALWAYS}),), r"onnection"),
    Case("slow", (("slow", {**ALWAYS, "amount": 16 << 20}),)),
    Case("a wrong ETag", (("wrong_etag", {**PART, "nth": 2}),)),
    Case("wrong ETags", (("wrong_etag", {**PART, **ALWAYS}),), "the store kept something else than it was sent, 4 times"),
    Case("a bit flipped on the way", (("flip_request", {**PART, "nth": 2}),)),
    Case("a bit flipped in the manifest on the way", (("flip_request", NEW),), "BadDigest"),
    Case("bits flipped on the way", (("flip_request", {**PART, **ALWAYS}),), "BadDigest"),
    Case("a bit flipped in the store", (("flip_stored", {**PART, "nth": 2}),), short=True),
    Case("a bit flipped in the stored manifest", (("flip_stored", NEW),), "the store kept something else than it was sent"),
    Case("half a part kept", (("short_request", {**PART, "nth": 2}),), "InvalidPart", short=True),
    Case("a part lost", (("lose", {**PART, "nth": 2}),), "InvalidPart"),
    Case("the object lost", (("lose", DONE),), r"publish backup .*has no bytes in", short=True),
    Case("the manifest lost", (("lose", NEW),), "the store said that it has it, then it was not there", short=True),
    Case("half the globals kept", (("short_request", {"operation": "PutObject", "key": "globals"}),), r"globals.* has \d+ bytes in .* instead of"),
    Case("a stale listing", (("hide", {"operation": "ListObjectsV2", **ALWAYS, "hidden": "dump"}),), r"publish backup .*has no bytes in"),
    Case("short pages", switches={"page": 1}),
    Case("no checksum trailers, no conditional writes", switches={"refuse_trailers": True, "conditional": "refuse"}, short=True),
    Case("conditions passed over", switches={"conditional": "ignore"}),
    Case("credentials refused", (("status", {**ALWAYS, "status": 403, "code": "InvalidAccessKeyId"}),), "check access_key"),
    Case(
        "writing refused",
        (("status", {"operation": "PutObject|Create.*", **ALWAYS, "status": 403, "code": "AccessDenied"}),),
        "credentials need s3:ListBucket",
    ),
    Case("credentials that expire", (("status", {**PART, "nth": 3, "count": None, "status": 403, "code": "ExpiredToken"}),), "ExpiredToken"),
    Case("half a listing", (("cut_answer", {"operation": "ListObjectsV2", "count": 2}),)),
    Case("half an answer to the last request", (("cut_answer", DONE),)),
]


def take_under(subject: Subject, hostile: HostileS3, case: Case) -> None:
    """Take a backup while the store misbehaves; it succeeds, or says why not and leaves nothing that could count as a backup."""
    case.arrange(hostile)
    result = subject.take()
    hostile.behave()
    manifests = [key for key in hostile.keys("backups") if key.endswith("manifest.json")]
    good = subject.good()
    if case.cause:
        assert result["failed"] and re.search(case.cause, result["msg"]), result
        assert manifests == [] and good == [] and "Traceback" not in str(result)
    else:
        assert not result["failed"] and good == [result["backup"]["id"]], result
    if "gone" not in case.name:
        assert hostile.uploads == {}, "parts are left"


def both(subject: Subject) -> list[Result]:
    """Take two backups at once."""
    running = [subject.run.start(subject.module, {**subject.options, "max_age": "0"}) for _unused in range(2)]
    return [subject.run.finish(process) for process in running]


def damage_manifest(subject: Subject, hostile: HostileS3) -> None:
    """Give a backup a manifest of another version, or a damaged one.

    It is never good, never removed, and in the way of nothing; a flipped bit anywhere in a manifest never ends in a traceback.
    """
    first = subject.take()["backup"]["id"]
    (key,) = (key for key in hostile.keys("backups") if key.endswith("manifest.json"))
    text = hostile.content("backups", key)
    stored = hostile.buckets["backups"][key]
    choose = random.Random(SEED)  # noqa: S311
    for data in (text.replace(b'"format": 1', b'"format": 2'), b"", text[: len(text) // 2], b"\0" * len(text)):
        hostile.buckets["backups"][key] = type(stored)((hostile.blob(data),), stored.etag, stored.modified)
        info = subject.info()
        assert [backup["good"] for backup in info["backups"]] == [False] and info["backups"][0]["problem"] and info["latest"] is None, data[:40]
        result = subject.verify(first, "checksum")
        assert result["failed"] and result["msg"].startswith("could not "), result
        pruned = subject.run(subject.module, {**subject.options, "state": "pruned", "retention": {"keep_last": 1, "min_good": 1, "grace": "0"}})
        assert key in hostile.keys("backups"), pruned
    for _unused in range(12):
        hostile.buckets["backups"][key] = stored
        hostile.flip("backups", key, choose.randrange(len(text)))
        info = subject.info()
        assert not info["failed"] and len(info["backups"]) == 1, info
        assert "Traceback" not in json.dumps(subject.verify(first, "content")), SEED
    hostile.buckets["backups"][key] = stored
