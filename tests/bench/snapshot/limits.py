# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that this machine needs for each step of a snapshot and of its restore, done alone."""

from __future__ import annotations

from figures import Limit
from measure import Job, best, run

from snapshot.peers import ZSTD, Bench

BUCKET = "limit"


def find_limits(bench: Bench) -> list[Limit]:
    """Measure each step with all the data; the samples are removed."""
    folder = bench.folder / "samples"
    folder.mkdir()
    redis, dump = f"redis-cli -s {bench.server.socket}", folder / "dump"
    packed, sealed = folder / "dump.zst", folder / "dump.age"
    run(Job.shell(f"{redis} --rdb {dump} > /dev/null 2>&1; {ZSTD} {dump} -o {packed}; age -r {bench.recipient} -o {sealed} {packed}"))
    plain, small = dump.stat().st_size, packed.stat().st_size

    def step(name: str, kind: str, script: str, size: int) -> Limit:
        seconds = best(lambda: run(Job.shell(script)))
        return Limit(name, kind, size / seconds, seconds)

    to_disk = f"dd of={folder}/limit bs=1M conv=fsync status=none iflag=fullblock"
    limits = [
        step("read: the server's child, thrown away", "take", f"{redis} --rdb - 2>/dev/null > /dev/null", plain),
        step(f"compress: `{ZSTD}`", "take", f"{ZSTD} -c {dump} > /dev/null", plain),
        step("encrypt what zstd left: `age`", "take", f"age -r {bench.recipient} {packed} > /dev/null", small),
        step("store: `dd` and fsync", "take", f"{to_disk} < {sealed}", small),
        step("save: `redis-cli SAVE`, with fsync", "", f"{redis} SAVE | grep -q OK", plain),
        step("open: `age -d`, `zstd -d`", "restore", f"age -d -i {bench.keys}/age.key {sealed} | zstd -q -d -c > /dev/null", plain),
    ]
    data = sealed.read_bytes()
    bench.s3.new_bucket(BUCKET)
    client = bench.s3.client()
    seconds = best(lambda: client.put_object(Bucket=BUCKET, Key="limit", Body=data))
    limits.append(Limit("store: PUT on loopback", "", len(data) / seconds, seconds))
    bench.s3.new_bucket(BUCKET)
    limits.append(Limit("load: `DEBUG RELOAD NOSAVE`", "restore", plain / (loading := _loading(bench)), loading))
    for path in (*folder.iterdir(), bench.server.dump):
        path.unlink()
    return limits


def _loading(bench: Bench) -> float:
    """Return the seconds that the server needs to load what it saved; its own data is that again afterwards."""
    with bench.server.client() as client:
        return best(lambda: client.execute_command("DEBUG", "RELOAD", "NOSAVE"))
