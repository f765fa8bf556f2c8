# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that this machine needs for each step of a backup, done alone: no tool can be faster than the slowest of its steps."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

from figures import Limit
from measure import best, run

from backup.peers import BUCKET, DATABASE, LEVEL, THREADS, Bench, Peer


@dataclasses.dataclass(frozen=True)
class Samples:
    """A tenth of the data, in the form in which each step sees it."""

    dump: pathlib.Path
    files: pathlib.Path


def take_samples(bench: Bench) -> Samples:
    """Make the samples of the database that is there now."""
    folder = bench.folder / "samples"
    folder.mkdir()
    folder.chmod(0o777)
    samples = Samples(folder / "dump", folder / "files")
    tools = Peer(bench)
    run(tools.tool(f"pg_dump -Fc -Z0 -f {samples.dump} {DATABASE}"))
    run(tools.tool(f"find {bench.server.data}/base -type f -print0 | xargs -0 cat > {samples.files}"))
    return samples


def find_limits(bench: Bench, samples: Samples) -> list[Limit]:
    """Measure each step."""
    tools = Peer(bench)
    counted: dict[str, int] = {}

    def shell(script: str) -> t.Callable[[], str]:
        return lambda: run(tools.tool(script))

    def reading(step: str, kind: str, script: str) -> Limit:
        counted[kind] = int(run(tools.tool(script)))
        seconds = best(shell(script))
        return Limit(step, kind, counted[kind] / seconds, seconds)

    def filtering(step: str, kind: str, program: str, source: pathlib.Path, of: str, plain: pathlib.Path) -> Limit:
        """A step through which ``source`` goes, which is what ``plain`` has become by then."""
        seconds = best(shell(f"{program} < {source} > /dev/null"))
        scale = counted[of] / plain.stat().st_size
        return Limit(step, kind, source.stat().st_size / seconds, seconds * scale)

    dump, files = samples.dump, samples.files
    packed = {name: path.with_suffix(suffix) for name, path, suffix in (("dump", dump, ".zst"), ("files", files, ".zst"), ("gzip", dump, ".gz"))}
    run(tools.tool(f"zstd -q -{LEVEL} -T{THREADS} {dump} -o {packed['dump']}; zstd -q -{LEVEL} -T{THREADS} {files} -o {packed['files']}; gzip -k {dump}"))
    zstd = f"zstd -q -c -{LEVEL} -T{THREADS}"
    gpg = f"gpg --homedir {bench.keys}/gnupg --batch --quiet --pinentry-mode loopback --passphrase-file {bench.keys}/passphrase -c"
    aes = f"openssl enc -aes-256-cbc -pbkdf2 -pass file:{bench.keys}/passphrase"
    to_disk = f"dd of={bench.folder}/stored/limit bs=1M conv=fsync status=none iflag=fullblock; :"
    limits = [
        reading("read: `pg_dump -Fc -Z0`, thrown away", "logical", f"pg_dump -Fc -Z0 {DATABASE} | wc -c"),
        reading("read: the cluster's files, thrown away", "physical", f"find {bench.server.data}/base -type f -print0 | xargs -0 cat | wc -c"),
        filtering(f"compress the dump: `zstd -{LEVEL} -T{THREADS}`", "logical", zstd, dump, "logical", dump),
        filtering(f"compress the files: `zstd -{LEVEL} -T{THREADS}`", "physical", zstd, files, "physical", files),
        filtering("compress the dump: `gzip`", "", "gzip -c", dump, "logical", dump),
        filtering("encrypt what zstd left: `age`", "logical", f"age -r {bench.recipient}", packed["dump"], "logical", dump),
        filtering("encrypt what zstd left: AES-256 (openssl)", "physical", aes, packed["files"], "physical", files),
        filtering("encrypt what gzip left: `gpg -c`", "", gpg, packed["gzip"], "logical", dump),
        filtering("store the dump: `dd` and fsync", "logical", to_disk, packed["dump"], "logical", dump),
        filtering("store the files: `dd` and fsync", "physical", to_disk, packed["files"], "physical", files),
    ]
    data = packed["dump"].read_bytes()
    bench.s3.new_bucket(BUCKET)
    client = bench.s3.client()
    seconds = best(lambda: client.put_object(Bucket=BUCKET, Key="limit", Body=data))
    limits.append(Limit("store the dump: PUT on loopback", "", len(data) / seconds, seconds * counted["logical"] / dump.stat().st_size))
    return limits
