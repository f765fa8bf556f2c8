# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of scale: the sites that it makes, where it gets the peers from, and what it says of its figures."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/bench"))

from scale import __main__ as command  # noqa: E402  pylint: disable=wrong-import-position
from scale import converge, fleet, peers, report  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20


def run(hosts: int, seconds: float, peak: int = 100 * MIB, tasks: int = 10) -> converge.Converged:
    """A run with ten tasks and two SSH executions for each host, unless said otherwise."""
    return converge.Converged(seconds, seconds / 2, peak, hosts, tasks * hosts, 0, 2 * hosts)


def found(*sizes: tuple[int, float], peers_seconds: float = 0, **more: object) -> report.Findings:
    """Findings of sites that took so many seconds, with peers if these took any."""
    runs = {}
    for size, seconds in sizes:
        runs[size] = {report.BARE: [run(size, 4 * seconds)], report.SAME: [run(size, seconds), run(size, 3 * seconds), run(size, seconds)]}
        runs[size][report.DEPLOY] = [run(size, 2 * seconds, size * 10 * MIB)]
        if peers_seconds:
            runs[size][report.PEERS_SAME] = [run(size, peers_seconds)]
    return report.Findings(3, 0.5, runs, **more)


@pytest.mark.parametrize("size", [5, 10, 40])
def test_a_site_has_as_many_hosts_as_wanted(size: int) -> None:
    groups = fleet.groups(size)
    hosts = {host for members in groups.values() for host in members}
    numbers = [number for members in groups.values() for number in members.values() if number]
    assert len(hosts) == size == len(set(numbers)) == len(numbers)
    assert all(0 < number < 255 for number in numbers) and 61 not in numbers
    assert len(groups["postgres"]) == 3 and len(groups["app"]) == size - 4


@pytest.mark.parametrize("size", [0, 4, 151])
def test_a_size_that_cannot_be_made_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"a site of {size} hosts .* from 5 to 150"):
        fleet.groups(size)


def test_ansible_reads_the_inventory_with_the_variables_of_the_lab(tmp_path: pathlib.Path) -> None:
    path = fleet.write_inventory(5, tmp_path)
    assert fleet.write_inventory(5, tmp_path) == path
    program = pathlib.Path(sys.executable).parent / "ansible-inventory"
    read = json.loads(subprocess.run([str(program), "-i", str(path), "--list"], check=True, capture_output=True, text=True).stdout)
    lab = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["lab"]["children"]["site_a"]["children"]
    assert set(read["site_a"]["children"]) == set(lab)
    assert read["app"]["hosts"] == ["app1"] and read["monitoring"]["hosts"] == ["lb1"]
    assert read["_meta"]["hostvars"]["data3"]["lab_number"] == 33 and "ansible_host" in read["_meta"]["hostvars"]["app1"]


def test_the_inventory_lies_where_variables_of_the_lab_look_for_files() -> None:
    assert (fleet.FOLDER / "../..").resolve() == ROOT


def test_the_recap_is_read_without_the_controller() -> None:
    recap = "app1 : ok=12   changed=1    unreachable=0    failed=0\nlb1 : ok=8 changed=0 unreachable=0 failed=0\n"
    recap += "localhost : ok=3 changed=3 unreachable=0 failed=0\n"
    assert converge.read_recap(f"PLAY RECAP ***\n{recap}") == (2, 20, 1)
    with pytest.raises(ValueError, match="without a recap: nothing"):
        converge.read_recap("nothing")


def test_a_playbook_is_measured(tmp_path: pathlib.Path) -> None:
    """Really, on a host that is this one, for as long as it takes to be looked at."""
    play = [{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": [{"ansible.builtin.wait_for": {"timeout": 1}}] * 2}]
    (tmp_path / "play.json").write_text(json.dumps(play), encoding="utf-8")
    (tmp_path / "hosts").write_text("here\n", encoding="utf-8")
    cost = converge.Controller(tmp_path / "hosts", "nolab").run(str(tmp_path / "play.json"))
    assert (cost.hosts, cost.tasks, cost.changed, cost.executions) == (1, 2, 0, 0)
    assert cost.seconds > 0 and cost.cpu_seconds > 0 and cost.peak_bytes > 10 * MIB


def test_growth_and_targets() -> None:
    """Medians decide; the first and the last size give the slope."""
    linear = found((5, 10), (10, 19), (40, 80), peers_seconds=100)
    assert report.growth(linear, report.SAME) == (2.0, 0.0)
    assert report.growth(linear, report.DEPLOY) == (4.0, 10 * MIB)
    assert [met for dummy, dummy, met in report.targets(linear)] == [True, True, True, True]
    assert [met for dummy, dummy, met in report.targets(found((5, 10), (40, 81), peers_seconds=70))] == [False, True, False]
    assert [met for dummy, dummy, met in report.targets(found((5, 10), missing="No network."))] == [None, None]


def test_the_page_says_what_was_measured_and_what_was_not() -> None:
    text = report.page(found((5, 10), (40, 80), peers_seconds=100, variants={"`forks = 5`": [run(5, 20)]}))
    assert '`make bench-scale SIZES="5 40"`' in text and "Load when it began: 0.5" in text and "postgresql 4.0.3" in text
    assert "| 40 | `site` again, nothing to change | 80.0 (80.0 to 240.0) | 2.00 | 200 | 2.0 | 1.00 | 100 |" in text
    assert "| `site` again, nothing to change | 5 to 40 | 10.0 to 80.0 | 2.00 | 0.00 |" in text
    assert "| `forks = 5` | 20.0 | 4.00 |" in text and "**not met**" not in text
    alone = report.page(found((5, 10), missing="git could not fetch them."))
    assert "Not measured: the peers (geerlingguy's roles). git could not fetch them." in alone and alone.count("not known") == 2
    assert "Settings, on" not in alone and "(one size was measured)" in alone


def test_the_peers_are_fetched_at_their_tags(tmp_path: pathlib.Path) -> None:
    origin = tmp_path / "origin"
    for name, tag in peers.TAGS.items():
        repository = origin / name
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main", "-C", str(repository)]
        repository.mkdir(parents=True)
        for argv in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"], ["tag", tag], ["commit", "-q", "--allow-empty", "-m", "two"]):
            subprocess.run([*git, *argv], check=True)
    folder = peers.fetch(tmp_path / "roles", f"file://{origin}/{{name}}")
    said = subprocess.run(["git", "-C", str(folder / "geerlingguy.nginx"), "log", "--format=%s"], check=True, capture_output=True, text=True).stdout
    assert said == "one\n"
    plays = json.loads(peers.write_playbook(folder).read_text(encoding="utf-8"))
    assert {role for play in plays for role in play["roles"]} == {path.name for path in folder.iterdir() if path.is_dir()}
    with pytest.raises(peers.Unavailable, match="git could not fetch .*nowhere/postgresql at 4.0.3"):
        peers.fetch(tmp_path / "other", f"file://{tmp_path}/nowhere/{{name}}")


def test_a_run_that_changes_something_is_not_taken_for_one_that_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = run(5, 10)
    assert command.unchanged(5, report.SAME, quiet) is quiet
    with pytest.raises(SystemExit, match="changed 3 things"):
        command.unchanged(5, report.SAME, converge.Converged(10, 5, MIB, 5, 50, 3, 10))
    assert "5 hosts: `site` again, nothing to change: 10.0 s, 10 SSH executions" in capsys.readouterr().out


def test_settings_name_options_of_ansible() -> None:
    """A setting that ansible-core does not know would be measured as if it were one."""
    program = pathlib.Path(sys.executable).parent / "ansible-config"
    listed = subprocess.run([str(program), "list"], check=True, capture_output=True, text=True).stdout
    connection = subprocess.run([str(program), "list", "-t", "connection"], check=True, capture_output=True, text=True).stdout
    for settings in [*command.VARIANTS.values(), peers.SETTINGS]:
        assert all(name in listed + connection for name in settings)


def test_settings_are_told_with_the_hosts_that_they_were_tried_on() -> None:
    """A run that goes on may add smaller sizes."""
    assert "Settings, on 10 hosts" in report.page(found((5, 10), (10, 18), variants={"`forks = 5`": [run(10, 20)]}))


def test_what_was_found_is_kept_for_a_run_that_goes_on(tmp_path: pathlib.Path) -> None:
    whole = found((5, 10.0), (10, 18.0), peers_seconds=30.0, variants={"`forks = 5`": [run(5, 11.0)]}, missing="")
    report.save(whole, tmp_path / "found.json")
    assert report.load(tmp_path / "found.json") == whole
    with pytest.raises(ValueError, match="no earlier run to go on with"):
        report.load(tmp_path / "other.json")
