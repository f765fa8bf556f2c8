# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark's own arithmetic: sizes, sections of the page, medians, targets, tables; and what it sees of a process that it measures."""

from __future__ import annotations

import os
import pathlib
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))

import document  # noqa: E402  pylint: disable=wrong-import-position
import figures  # noqa: E402  pylint: disable=wrong-import-position
import measure  # noqa: E402  pylint: disable=wrong-import-position
from backup import report  # noqa: E402  pylint: disable=wrong-import-position
from figures import Limit  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20


def cost(seconds: float, own: int = 30 * MIB, staged: int = 0, cpu: float = 2.0) -> measure.Cost:
    """What a run cost."""
    return measure.Cost(seconds, cpu, 100 * MIB, own, staged, (), "")


def result(key: str, *seconds: float, ours: bool = False, one_stream: bool = False, **more: t.Any) -> figures.Result:
    """A peer with runs of so many seconds."""
    return figures.Result(key, key, "what it does", ours, one_stream, [cost(each, **more) for each in seconds], stored=5_000_000)


def findings(*results: figures.Result, **more: t.Any) -> figures.Findings:
    """Findings with these peers for one gigabyte."""
    return figures.Findings(size=10**9, raw_bytes=10**9, rounds=3, results=list(results), **more)


def verdicts(found: figures.Findings) -> dict[str, bool | None]:
    """Whether each target is met, by its first words."""
    return {target.what[:22]: target.met for target in report.targets(found)}


@pytest.mark.parametrize(
    ("text", "size"), [("2G", 2_000_000_000), ("100M", 100_000_000), ("0.5g", 500_000_000), ("50000k", 50_000_000), ("12000000", 12_000_000)]
)
def test_parse_size(text: str, size: int) -> None:
    """Sizes are powers of ten."""
    assert figures.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "2T", "1M", "-2G", "two"])
def test_parse_size_refuses(text: str) -> None:
    """What is no size, or too small to measure."""
    with pytest.raises(ValueError):
        figures.parse_size(text)


def test_a_section_is_replaced_and_the_others_stay() -> None:
    """Each benchmark writes its own part of the page."""
    page = document.replace_section("# Benchmarks\n", "a", "one")
    page = document.replace_section(page, "b", "two\n")
    assert page == "# Benchmarks\n\n<!-- begin a -->\none\n<!-- end a -->\n\n<!-- begin b -->\ntwo\n<!-- end b -->\n"
    assert document.replace_section(page, "a", "three") == page.replace("one", "three")
    assert document.replace_section(document.replace_section(page, "a", "x"), "a", "one") == page


def test_a_section_without_its_end_is_refused() -> None:
    """Nothing is overwritten to the end of the page."""
    with pytest.raises(ValueError, match="a is begun"):
        document.replace_section("<!-- begin a -->\ntext\n<!-- begin b --><!-- end b -->", "a", "new")


def test_table_and_spread() -> None:
    """Markdown, and the median with its bounds."""
    assert document.table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    assert document.spread([3.0, 1.0, 20.04]) == "3.0 (1.0 to 20.0)"
    assert document.spread([1.234], 2) == "1.23"


def test_targets_met() -> None:
    """Medians decide: one slow run does not."""
    found = findings(
        result("pg-backup-logical", 10, 9, 30, ours=True),
        result("pg-backup-physical", 10.2, 10.3, 10.1, ours=True),
        result("gzip-gpg", 20, 20, 21, one_stream=True),
        result("custom", 10, 12, 11, one_stream=True),
        result("directory", 1, 1, 1),
        result("pgbackrest", 10, 10, 10),
        noop_plays=[(1.0, 1.2, 1.9), (1.0, 1.2, 1.5), (1.0, 1.2, 3.0)],
        noop_module={"pg-backup-logical": [0.3, 0.4, 0.5]},
    )
    assert set(verdicts(found).values()) == {True}
    assert "takes 0.40 (0.30 to 0.50) s" in report.page(found) and "0.90 (0.50 to 2.00) s more than with nothing" in report.page(found)
    shown = {target.what[:8]: target.found for target in report.targets(found)}
    assert shown["physical"] == "2.0% (0.2 s) slower" and shown["a `prese"] == "0.90 s"


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        (result("pg-backup-logical", 11.1, ours=True), "logical: at least as f"),
        (result("pg-backup-logical", 10.1, ours=True), "logical: at least 2 ti"),
        (result("pg-backup-physical", 10.31, ours=True), "physical: at most 3 % "),
        (result("pg-backup-logical", 9, ours=True, own=150 * MIB), "memory above the tools"),
        (result("pg-backup-logical", 9, ours=True, staged=1), "nothing staged on the "),
    ],
)
def test_a_target_that_is_missed_says_so(changed: figures.Result, missed: str) -> None:
    """Each target can fail by itself."""
    peers = {
        "pg-backup-logical": result("pg-backup-logical", 9, ours=True),
        "pg-backup-physical": result("pg-backup-physical", 10, ours=True),
        "gzip-gpg": result("gzip-gpg", 20, one_stream=True),
        "custom": result("custom", 11, one_stream=True),
        "pgbackrest": result("pgbackrest", 10),
    }
    found = findings(*{**peers, changed.key: changed}.values(), noop_plays=[(1.0, 1.2, 1.5)])
    assert verdicts(found)[missed] is False
    assert "**not met**" in report.page(found)


def test_what_was_not_measured_is_not_met() -> None:
    """A peer that failed leaves no verdict in our favour, and its reason stands in the table."""
    found = findings(result("pg-backup-logical", 9, ours=True), result("pg-backup-physical", ours=True))
    found.results[1].problem = "JobFailed: no such\nprogram | none"
    assert set(verdicts(found).values()) == {None}
    assert "| not measured: JobFailed: no such program \\| none |" in figures.peers_table(found)
    assert "not measured" in report.page(found) and "**not met**" not in report.page(found)


def test_a_peer_that_failed_later_keeps_its_reason() -> None:
    """Figures of some rounds do not hide that a round or the restore failed."""
    found = findings(result("custom", 10, one_stream=True))
    found.results.append(result("pg-backup-logical", 5, ours=True))
    found.results[0].problem = "JobFailed: pg_restore ended with status 1"
    assert "10.0" in figures.peers_table(found) and verdicts(found)["logical: at least as f"] is None
    assert "pg_restore ended with status 1" in report.page(found)


def test_peers_table() -> None:
    """Units and columns."""
    own = result("pg-backup-logical", 4, 2, 3, ours=True, own=20 * MIB)
    own.restore_seconds = 7.0
    lines = figures.peers_table(findings(own, result("custom", 5, staged=4096))).splitlines()
    assert lines[2] == "| pg-backup-logical | 3.0 (2.0 to 4.0) | 2.0 | 100 | 20 | 0 | 5 | 7.0 |"
    assert lines[3] == "| custom | 5.0 | 2.0 | 100 |  | 0.0041 | 5 | not measured |"


def test_lowest_limit() -> None:
    """The slowest step alone, as a share of the backup's time."""
    found = findings(result("pg-backup-logical", 10, ours=True, cpu=15.0))
    found.limits = [Limit("read", "logical", 1e8, 2.0), Limit("compress", "logical", 1e8, 8.0), Limit("gzip", "", 1e7, 90.0)]
    found.limits.append(Limit("files", "physical", 1e7, 9.0))
    (line,) = figures.lowest_limit(found, "logical", "pg-backup-logical", "`method: logical`")
    assert "80% of the lowest limit (compress)" in line and "1.5 of" in line


def test_cpu_seconds_of_a_process_with_a_strange_name() -> None:
    """The name may hold blanks and brackets; fields 14 to 17 count (proc_pid_stat(5))."""
    line = "1 (a) b (c)) S 1 1 1 0 -1 4194560 9 9 9 9 100 200 300 400 20 0 1 0 9 9 9"
    assert measure.cpu_seconds(line) == 1000 / os.sysconf("SC_CLK_TCK")


def test_proportional_bytes() -> None:
    """Only the sum, not its parts."""
    assert measure.proportional_bytes("Rss: 9 kB\nPss:   12 kB\nPss_Anon: 5 kB\n") == 12 * 1024
    assert measure.proportional_bytes("") == 0


def test_measure_sees_what_a_job_does(tmp_path: pathlib.Path) -> None:
    """Seconds, processor time and memory of its child, a file beside the destination, one without a name; what is stored does not count."""
    scratch, destination = tmp_path / "scratch", tmp_path / "stored"
    scratch.mkdir()
    destination.mkdir()
    (scratch / "before").write_bytes(b"x" * 100_000)
    work = """
import os, sys, tempfile, time
if os.fork() == 0:
    memory = bytearray(80 << 20)
    end = time.process_time() + 0.5
    while time.process_time() < end: pass
    time.sleep(0.3)
    os._exit(0)
unnamed = tempfile.TemporaryFile(dir=sys.argv[2])
for file in (open(sys.argv[1] + "/stored", "wb"), open(sys.argv[2] + "/staged", "wb"), unnamed):
    file.write(b"x" * (1 << 20)); file.flush()
os.wait()
time.sleep(0.3)
print("done")
"""
    found = measure.measure(measure.Job((sys.executable, "-c", work, str(destination), str(scratch))), 0, scratch, destination)
    assert found.output == "done\n"
    assert found.seconds >= 1.0 and 0.5 <= found.cpu_seconds < 5
    assert found.own_bytes < 70 * MIB < 80 * MIB < found.peak_bytes < 200 * MIB
    assert 2 * MIB <= found.staged_bytes < 2 * MIB + 65536 and len(found.staged_files) == 2


def test_measure_says_why_a_job_failed(tmp_path: pathlib.Path) -> None:
    """A failure in the middle of a pipe is one of the job."""
    with pytest.raises(measure.JobFailed, match="status 3: no way"):
        measure.measure(measure.Job.shell("(echo no way >&2; exit 3) | cat"), 0, tmp_path, None)
