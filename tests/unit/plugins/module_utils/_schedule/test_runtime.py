# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runtime of a host: what is bundled, what is installed, and when nothing is."""

from __future__ import annotations

import hashlib
import io
import os
import pathlib
import zipfile

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._schedule import bundle, runtime

WHEEL = b"a wheel"
ROOT = pathlib.Path(__file__).resolve().parents[5]


def collection(folder: pathlib.Path) -> str:
    """A small collection."""
    (folder / "plugins/modules/__pycache__").mkdir(parents=True)
    (folder / "meta").mkdir()
    (folder / "plugins/modules/one.py").write_text("one = 1\n")
    (folder / "plugins/modules/__pycache__/one.py").write_text("cached\n")
    (folder / "plugins/modules/notes.txt").write_text("not for hosts\n")
    (folder / "meta/runtime.yml").write_text("---\n")
    return str(folder)


def wanted(core: str = "2.19.14", content: str = "0" * 64, python: str = "3.13") -> runtime.Runtime:
    """A runtime."""
    return runtime.Runtime(core, hashlib.sha256(WHEEL).hexdigest(), content, python)


class Programs:
    """Takes the place of the programs that would be run: venv, pip and ansible-doc."""

    def __init__(self, fail: str = "") -> None:
        """Fail at the first program whose arguments hold this word."""
        self.fail, self.calls = fail, []

    def __call__(self, argv: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        """Run one."""
        self.calls.append(argv)
        assert environment["PIP_CONFIG_FILE"] == os.devnull
        if "venv" in argv:
            os.makedirs(argv[-1])
        return (1, "", "no such thing") if self.fail and any(self.fail in word for word in argv) else (0, "", "")


@pytest.fixture(name="files")
def fixture_files(tmp_path: pathlib.Path) -> tuple[str, str]:
    """A wheel and a bundle, as they were transferred."""
    (tmp_path / "wheel.whl").write_bytes(WHEEL)
    (tmp_path / "source").mkdir()
    (tmp_path / "collection.zip").write_bytes(bundle.build(collection(tmp_path / "source")))
    return str(tmp_path / "wheel.whl"), str(tmp_path / "collection.zip")


def install(home: runtime.Home, which: runtime.Runtime, files: tuple[str, str], keep: int = 1, programs: Programs | None = None) -> list[str]:
    """Plan and apply; return what was done."""
    planned = runtime.plan(home, which, keep)
    runtime.apply(home, which, planned, *files, programs or Programs())
    return planned.actions(which)


def test_bundle_depends_on_content_alone(tmp_path: pathlib.Path) -> None:
    """Times, other files and the folder's place make no other bundle; a changed line does."""
    first, second = collection(tmp_path / "first"), collection(tmp_path / "second")
    os.utime(tmp_path / "second/plugins/modules/one.py", (1, 1))
    assert bundle.build(first) == bundle.build(second)
    assert bundle.digest(first) == bundle.digest(second)
    (tmp_path / "second/plugins/modules/one.py").write_text("one = 2\n")
    assert bundle.digest(first) != bundle.digest(second)
    with zipfile.ZipFile(io.BytesIO(bundle.build(first))) as archive:
        assert sorted(archive.namelist()) == ["meta/runtime.yml", "plugins/modules/one.py"]
    with pytest.raises(MainstayError, match="could not read the collection"):
        bundle.digest(str(tmp_path))


def test_the_real_bundle_holds_what_a_scheduled_job_calls() -> None:
    """The modules, their action plugins and what they import."""
    names = set(bundle._names(str(ROOT)))
    assert {"plugins/modules/pg_backup.py", "plugins/modules/redis_snapshot.py", "plugins/modules/backup_metrics.py"} <= names
    assert {"plugins/module_utils/_catalog/pipeline.py", "plugins/doc_fragments/catalog.py", "meta/runtime.yml"} <= names
    assert {"roles/recovery_drill/tasks/drill.yml", "roles/recovery_drill/meta/argument_specs.yml", "plugins/module_utils/_recovery/unreported.py"} <= names


def test_install_once_then_nothing(tmp_path: pathlib.Path, files: tuple[str, str]) -> None:
    """The second plan is empty, and the link leads to what was unpacked."""
    home = runtime.Home(str(tmp_path / "opt"))
    assert install(home, wanted(), files) == [f"install ansible-core 2.19.14 and mainstay.ops {'0' * 12} on Python 3.13", f"use runtime-{wanted().id}"]
    assert (tmp_path / "opt/venv/lib/python3.13/site-packages/ansible_collections/mainstay/ops/plugins/modules/one.py").read_text() == "one = 1\n"
    programs = Programs()
    assert install(home, wanted(), files, programs=programs) == []
    assert programs.calls == []


@pytest.mark.parametrize("change", [{"core": "2.19.15"}, {"content": "1" * 64}, {"python": "3.14"}])
def test_any_change_makes_another_runtime(tmp_path: pathlib.Path, files: tuple[str, str], change: dict[str, str]) -> None:
    """Another version, content or Python; the old one stays for jobs that run, and for a way back without any file."""
    home = runtime.Home(str(tmp_path / "opt"))
    install(home, wanted(), files)
    assert install(home, wanted(**change), files)[0].startswith("install")
    assert home.current() == f"runtime-{wanted(**change).id}"
    assert install(home, wanted(), ("", "")) == [f"use runtime-{wanted().id}"]


def test_old_ones_go(tmp_path: pathlib.Path, files: tuple[str, str]) -> None:
    """Only so many stay."""
    home = runtime.Home(str(tmp_path / "opt"))
    for number in range(3):
        install(home, wanted(core=str(number)), files, keep=0)
    assert sorted(os.listdir(tmp_path / "opt")) == [f"runtime-{wanted(core='2').id}", "venv"]


@pytest.mark.parametrize("fail", ["venv", "pip", "ansible-doc"])
def test_a_failure_leaves_the_old_one_in_use(tmp_path: pathlib.Path, files: tuple[str, str], fail: str) -> None:
    """The half-made one is not complete, and is made anew."""
    home, new = runtime.Home(str(tmp_path / "opt")), wanted(core="2.20.0")
    install(home, wanted(), files)
    with pytest.raises(MainstayError, match="no such thing"):
        install(home, new, files, programs=Programs(fail))
    assert home.current() == f"runtime-{wanted().id}"
    assert not home.complete(new)
    if fail != "venv":
        assert f"remove runtime-{new.id}" in runtime.plan(home, wanted(core="2.21.0"), 5).actions(wanted())
    assert install(home, new, files)[0].startswith("install")


def test_another_wheel_is_refused(tmp_path: pathlib.Path, files: tuple[str, str]) -> None:
    """The pinned hash counts, and nothing is run before it was compared."""
    pathlib.Path(files[0]).write_bytes(b"another wheel")
    programs = Programs()
    with pytest.raises(InvalidInput, match="its SHA-256 is"):
        install(runtime.Home(str(tmp_path / "opt")), wanted(), files, programs=programs)
    assert programs.calls == []
