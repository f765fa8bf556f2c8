# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong around a snapshot of Redis: servers that are killed, clients that go on meanwhile, bytes that change in the store."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time
import typing as t

import redis
from drill import SEED, Options, Result, Subject, kill_once
from servers import SENTINEL
from subjects import MARKS, Redis, until

Seen = collections.Counter[str]
TEMPORARY = ("masteruser", "masterauth", "repl-diskless-load")
"""Settings that a restore changes for its time."""
MANY = 10**6
"""Where the counters of the generation ``old`` begin."""


def servers_in(folder: pathlib.Path) -> list[int]:
    """The processes that work in a folder or below it."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(path).startswith(str(folder)):
                found.append(int(path.parent.name))
    return found


def nothing_left(work_dir: pathlib.Path, after: object = "") -> None:
    """No throwaway server and no folder of one."""
    assert servers_in(work_dir) == [] and list(work_dir.iterdir()) == [], f"left in {work_dir} (seed {SEED}) {after}"


def clear(work_dir: pathlib.Path) -> None:
    """Remove what a throwaway server left."""
    for pid in servers_in(work_dir):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not servers_in(work_dir), "the end of the throwaway server")
    for path in work_dir.iterdir():
        shutil.rmtree(path)


def outcome(who: str, result: Result | None) -> str:
    """A run in a few words; one that failed must have said why."""
    if result is None:
        return f"{who}: no result"
    assert not result["failed"] or result["msg"].startswith("could not "), result
    return f"{who}: {'failed' if result['failed'] else 'good'}"


def seconds_of(work: t.Callable[[], Result]) -> tuple[float, Result]:
    """How long a run takes that nothing happens to."""
    started = time.monotonic()
    result = work()
    assert not result["failed"], result
    return time.monotonic() - started, result


def verify_drill(subject: Subject, backup_id: str, rounds: int, work_dir: pathlib.Path) -> Seen:
    """End the module while it verifies: that is no fault of the backup, and nothing is left."""
    choose, seen = random.Random(f"{SEED} verify"), Seen()  # noqa: S311
    given = {**subject.opening, "state": "verified", "backup_id": backup_id, "work_dir": str(work_dir)}
    levels = ("content", "restore")
    lengths = {level: seconds_of(lambda: subject.verify(backup_id, level, work_dir=str(work_dir)))[0] for level in levels}
    for number in range(rounds):
        level = choose.choice(levels)
        moment = choose.uniform(0.2, 0.8) * lengths[level]
        who, result = kill_once(subject, moment, choose, signal.SIGTERM, 1.0, verify_level=level, **given)
        nothing_left(work_dir, f"by the level {level} after {moment:.2f} s, round {number}: {result}")
        seen[outcome(who, result)] += 1
        assert subject.good() == [backup_id], f"a good backup counts as bad (seed {SEED}, round {number}, {level}, {who}): {result}"
    print(f"\nverified: {rounds} kills, seed {SEED}: {dict(seen)}")
    return seen


def source_drill(subject: Subject, source: Redis, rounds: int) -> Seen:
    """SIGKILL the server, or the child that writes for us, while a snapshot is taken: what is published is whole, what is not says why."""
    choose, seen = random.Random(f"{SEED} source"), Seen()  # noqa: S311
    source.client.config_set("appendonly", "yes")
    until(lambda: source.client.info()["aof_last_bgrewrite_status"] == "ok" and not source.client.info()["aof_rewrite_in_progress"], "the AOF's start")
    source.settings["appendonly"] = "yes"
    length, _result = seconds_of(subject.take)
    subject.good()
    for number in range(rounds):
        process = subject.run.start(subject.module, {**subject.options, "max_age": "0"})
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(choose.uniform(0.1, 1.1) * length)
        child = source.child if choose.random() < 0.5 else 0
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        else:
            source.kill()
        result = subject.run.finish(process)
        before = set(subject.checked)
        good = subject.good()
        assert result["failed"] or result["backup"]["id"] in good, f"a success without a backup (seed {SEED}, round {number}): {result}"
        assert not result["failed"] or set(good) == before, f"a failure with a backup (seed {SEED}, round {number}): {result}"
        seen[outcome("child" if child else "server", result)] += 1
        if source.process is None:
            source.start()
    assert not subject.take()["failed"]
    print(f"\nsource: {rounds} kills, seed {SEED}: {dict(seen)}")
    return seen


def restoring(subject: Subject, target: Redis, backup_id: str, work_dir: pathlib.Path) -> Options:
    """The options of a restore into a target that has data."""
    return {**subject.opening, **target.login, "state": "restored", "backup_id": backup_id, "force": True, "work_dir": str(work_dir)}


def refill(target: Redis) -> bytes:
    """Give a target the generation ``old``, on its disk too; return the digest."""
    digest = target.fill("old", 300)
    if target.setting("save"):
        target.client.save()
    return digest


def target_drill(subject: Subject, target: Redis, backup_id: str, new: bytes, rounds: int, work_dir: pathlib.Path) -> Seen:
    """SIGKILL the target while it is restored: it comes back with its old or its new data, as a master; after a success with the new one."""
    choose, seen = random.Random(f"{SEED} target"), Seen()  # noqa: S311
    given = {**subject.options, **restoring(subject, target, backup_id, work_dir)}
    refill(target)
    length, _result = seconds_of(lambda: subject.run(subject.module, given))
    assert target.digest == new
    for number in range(rounds):
        old = refill(target)
        process = subject.run.start(subject.module, given)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(choose.uniform(0.3, 1.05) * length)
        target.kill()
        result = subject.run.finish(process)
        target.start()
        digest, which = target.digest, f"(seed {SEED}, round {number}): {result}"
        assert digest == new if not result["failed"] else digest in (old, new), f"it came back with other data {which}"
        assert target.client.info()["role"] == "master", f"it came back as a replica {which}"
        nothing_left(work_dir)
        seen[f"{outcome('target', result)}, {'new' if digest == new else 'old'} data"] += 1
    refill(target)
    assert not subject.run(subject.module, given)["failed"] and target.digest == new, "the next restore"
    print(f"\ntarget: {rounds} kills, seed {SEED}: {dict(seen)}")
    return seen


class Client(threading.Thread):
    """Writes to a master as fast as it may and reads from it and its replicas, each time all marks and its own counter in one transaction."""

    def __init__(self, number: int, master: Redis, replicas: t.Sequence[Redis]) -> None:
        super().__init__(daemon=True)
        self._key = f"tick:{number}"
        self._choose = random.Random(f"{SEED} {number}")  # noqa: S311
        self._master, self._all = master, [master, *replicas]
        self._connections = {server.port: redis.Redis(port=server.port, password=SENTINEL, retry=None) for server in self._all}
        self._end = threading.Event()
        self._acknowledged = MANY
        self.answers: Seen = Seen()
        self.wrong: list[str] = []

    def run(self) -> None:
        """Go on until :meth:`finish`."""
        while not self._end.wait(0.004):
            self._once(self._master if self._choose.random() < 0.5 else self._choose.choice(self._all))

    def finish(self) -> None:
        """End."""
        self._end.set()
        self.join(10)
        for connection in self._connections.values():
            connection.close()

    def _once(self, server: Redis) -> None:
        write = server is self._master
        where = "master" if write else "replica"
        try:
            try:
                tick, marks = self._ask(server, write)
            except (redis.exceptions.ReadOnlyError, redis.exceptions.ExecAbortError):
                write = False
                tick, marks = self._ask(server, write)
        except redis.exceptions.RedisError as error:
            self.answers[f"{where}: {type(error).__name__}"] += 1
            return
        words = {word.decode() if word else "nothing" for word in marks}
        tick = int(tick or 0)
        generation = "+".join(sorted(words))
        self.answers[f"{where}: {generation}, {'written' if write else 'read'}"] += 1
        if generation not in ("old", "new") or (generation == "old") is not (tick >= MANY):
            self.wrong.append(f"{generation} with {tick}")
        if write and generation == "old":
            if tick != self._acknowledged + 1:
                self.wrong.append(f"{tick} after {self._acknowledged}: writes were lost, and the old data with them was not replaced")
            self._acknowledged = tick

    def _ask(self, server: Redis, write: bool) -> tuple[t.Any, list[t.Any]]:
        pipe = self._connections[server.port].pipeline(transaction=True)
        if write:
            pipe.incr(self._key)
        else:
            pipe.get(self._key)
        pipe.mget([f"mark:{number}" for number in range(MARKS)])
        tick, marks = pipe.execute()
        return tick, marks


@contextlib.contextmanager
def clients(count: int, master: Redis, replicas: t.Sequence[Redis]) -> t.Iterator[list[Client]]:
    """Let clients work; at the end none of them must have seen anything wrong."""
    master.client.mset({f"tick:{number}": MANY for number in range(count)})
    master.client.wait(len(replicas), 5000)
    working = [Client(number, master, replicas) for number in range(count)]
    for client in working:
        client.start()
    try:
        yield working
    finally:
        for client in working:
            client.finish()
    wrong = [line for client in working for line in client.wrong]
    assert wrong == [], f"{len(wrong)} times something wrong was seen, such as {wrong[:5]} (seed {SEED})"


def live_drill(subject: Subject, master: Redis, replicas: t.Sequence[Redis], backup_id: str, rounds: int, work_dir: pathlib.Path) -> Seen:
    """End the module, or kill a process below it, while it restores into a master that 20 clients and its replicas are connected to.

    Nobody sees a mix, the master stays one, its settings are as before, and replicas follow.
    """
    choose, seen, answers = random.Random(f"{SEED} live"), Seen(), Seen()  # noqa: S311
    given = restoring(subject, master, backup_id, work_dir)
    before = {name: master.setting(name) for name in TEMPORARY}
    length = 0.0
    for number in range(rounds + 1):
        master.fill("old", 300)
        with clients(20, master, replicas) as working:
            if number:
                who, result = kill_once(subject, choose.uniform(0.15, 0.85) * length, choose, signal.SIGTERM, 0.3, **given)
            else:
                length, result = seconds_of(lambda: subject.run(subject.module, {**subject.options, **given}))
                who = "nobody"
            which = f"(seed {SEED}, round {number}, {who}): {result}"
            assert master.client.info()["role"] == "master", f"the master is left as a replica {which}"
            assert {name: master.setting(name) for name in TEMPORARY} == before, f"settings are left {which}"
            nothing_left(work_dir)
            word = master.client.get("mark:0").decode()
            assert word == "new" or result is None or result["failed"], f"a success without the new data {which}"
            time.sleep(0.3)
        assert master.client.set("after", "x") and master.client.delete("after"), which
        until(lambda: [replica.digest for replica in replicas] == [master.digest] * len(replicas), f"the replicas' way to the master's data {which}", 60)
        assert master.client.incr("last") and master.client.wait(len(replicas), 10_000) == len(replicas), which
        seen[f"{outcome(who, result)}, {word} data"] += 1
        for client in working:
            answers.update(client.answers)
    print(f"\nlive: {rounds} kills, seed {SEED}: {dict(seen)}; the clients got {dict(answers)}")
    return seen


class Writer(threading.Thread):
    """Writes keys with the same number, some thousand times a second, three keys each time and all or none of them."""

    def __init__(self, server: Redis, rate: int) -> None:
        super().__init__(daemon=True)
        self._client, self._rate = server.client, rate
        self._end = threading.Event()
        self.acknowledged = 0

    def run(self) -> None:
        """Go on until :meth:`finish`."""
        started, batch = time.monotonic(), self._rate // 200
        while not self._end.wait(max(0.0, started + self.acknowledged / self._rate - time.monotonic())):
            pipe = self._client.pipeline(transaction=False)
            for number in range(self.acknowledged + 1, self.acknowledged + 1 + batch):
                pipe.execute_command("MSET", "pair:a", number, "pair:b", number, f"spread:{number % 5000}", number)
            pipe.execute()
            self.acknowledged += batch

    def finish(self) -> None:
        """End."""
        self._end.set()
        self.join(10)


def write_drill(subject: Subject, source: Redis, empty: Redis, rounds: int, work_dir: pathlib.Path) -> list[int]:
    """Take snapshots while 5,000 commands a second write: each holds one instant, between what was acknowledged before it and after it."""
    writer = Writer(source, 5000)
    found, rates = [], []
    writer.start()
    try:
        for _number in range(rounds):
            before, started = writer.acknowledged, time.monotonic()
            taken = subject.take()
            after = writer.acknowledged
            rates.append((after - before) / (time.monotonic() - started))
            assert not taken["failed"], taken
            found.append((taken["backup"]["id"], before, after))
    finally:
        writer.finish()
    for backup_id, before, after in found:
        empty.client.flushall()
        result = subject.run(subject.module, {**subject.options, **restoring(subject, empty, backup_id, work_dir)})
        assert not result["failed"], result
        first, second = map(int, empty.client.mget("pair:a", "pair:b"))
        assert first == second and before <= first <= after, (before, first, second, after)
        latest = max(int(number) for number in empty.client.mget([f"spread:{number}" for number in range(5000)]) if number)
        assert latest == first, "a write after the snapshot's instant, or one that is missing"
        verified = subject.verify(backup_id, "restore", work_dir=str(work_dir))
        assert not verified["failed"] and verified["backup"]["verified"], verified
    print(f"\nwrites: {rounds} snapshots at {[round(rate) for rate in rates]} writes a second")
    return [round(rate) for rate in rates]


@dataclasses.dataclass(frozen=True)
class Stored:
    """A backup in a folder, to be damaged and put back."""

    folder: pathlib.Path

    @classmethod
    def of(cls, store: pathlib.Path, backup_id: str) -> Stored:
        """The backup of a catalogue in a local store."""
        (path,) = store.rglob(f"{backup_id}/manifest.json")
        return cls(path.parent)

    @property
    def snapshot(self) -> pathlib.Path:
        """The object with the data."""
        (path,) = (path for path in self.folder.iterdir() if path.name.startswith("dump.rdb"))
        return path

    @property
    def objects(self) -> list[pathlib.Path]:
        """All objects, the manifest not among them."""
        return sorted(path for path in self.folder.iterdir() if path.is_file() and path.name != "manifest.json")

    def forget(self) -> None:
        """Remove what verifications noted beside the backup."""
        shutil.rmtree(self.folder / "verify", ignore_errors=True)

    def replace(self, data: bytes, **more: t.Any) -> None:
        """Store other bytes as the snapshot, with a manifest that agrees with them.

        Args:
            data: the snapshot, neither compressed nor encrypted.
            more: changes of what the manifest says of the source.
        """
        self.snapshot.write_bytes(data)
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_text())
        (record,) = (record for record in manifest["objects"] if record["name"] == self.snapshot.name)
        record.update(bytes=len(data), plain_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        manifest["source"].update(more)
        path.write_text(json.dumps(manifest))


def positions(size: int, count: int, choose: random.Random) -> list[int]:
    """Positions of each kind: the first bytes, the last ones, around each power of two, and random ones."""
    edges = {*range(min(size, 24)), *range(max(0, size - 24), size), *(1 << power for power in range(5, size.bit_length() - 1))}
    wanted = choose.sample(sorted(edges), min(len(edges), count // 3))
    return sorted({*wanted, *(choose.randrange(size) for _unused in range(count - len(wanted)))})


def flipped(data: bytes, place: int, bit: int) -> bytes:
    """Bytes with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def flip_drill(subject: Subject, backup_id: str, stored: Stored, flips: int, target: Redis, work_dir: pathlib.Path) -> int:
    """Flip one bit at a time, and cut: each level from ``checksum`` on finds each, and a restore refuses it before it touches its target."""
    choose = random.Random(f"{SEED} flips")  # noqa: S311
    path = stored.snapshot
    whole, digest = path.read_bytes(), target.digest
    damages = [(f"a bit of byte {place}", flipped(whole, place, choose.randrange(8))) for place in positions(len(whole), flips, choose)]
    damages += [(f"cut at {place}", whole[:place]) for place in positions(len(whole), flips // 5, choose)]
    for number, (name, data) in enumerate(damages):
        path.write_bytes(data)
        level = ("checksum", "content", "restore", "content")[number % 4]
        if number % 10:
            result = subject.verify(backup_id, level, work_dir=str(work_dir))
            assert result["failed"] and result["verification"]["status"] == "failed", f"{name} was not found at the level {level} (seed {SEED}): {result}"
            assert subject.info()["backups"][0]["good"] is False, name
        else:
            result = subject.run(subject.module, {**subject.options, **restoring(subject, target, backup_id, work_dir)})
            assert result["failed"] and result["msg"].startswith("could not "), f"{name} was restored (seed {SEED}): {result}"
            assert target.digest == digest and target.client.info()["role"] == "master", name
        stored.forget()
    path.write_bytes(whole)
    nothing_left(work_dir)
    assert not subject.verify(backup_id, "content")["failed"]
    print(f"\nflips and cuts: {len(damages)} in {path.name} of {len(whole)} bytes, seed {SEED}")
    return len(damages)
