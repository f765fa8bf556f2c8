# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GnuPG as the encryption: real keys, real gpg; nothing of it is left behind."""

from __future__ import annotations

import concurrent.futures
import datetime
import glob
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._catalog import catalogue as catalogues
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import gpg
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Compression, Encryption, Identity, tool_versions
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.manifest import Manifest
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.store import LocalStore
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone.utc)


class Key(t.NamedTuple):
    """An armored pair of keys and its fingerprint."""

    public: str
    private: str
    fingerprint: str


class Keys(t.NamedTuple):
    """The keys of two owners, of a stranger, one that asks for a passphrase, one that has expired, and one that only signs."""

    ops: Key
    break_glass: Key
    stranger: Key
    locked: Key
    expired: Key
    signing: Key


@pytest.fixture(scope="module")
def keys() -> t.Iterator[Keys]:
    """Make the keys in a home of their own."""
    with tempfile.TemporaryDirectory(prefix="keys-") as home:
        # Otherwise the agent measures for seconds how hard it can make the guessing of a passphrase.
        (pathlib.Path(home) / "gpg-agent.conf").write_text("s2k-count 65536\n")

        def run(*arguments: str) -> str:
            fixed = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
            return subprocess.run([*fixed, *arguments], check=True, capture_output=True, text=True).stdout

        def make(name: str, kind: str = "future-default", passphrase: str = "", faked: str = "", until: str = "never") -> Key:
            time_of = ["--faked-system-time", faked] if faked else []
            run(*time_of, "--passphrase", passphrase, "--quick-generate-key", name, kind, "default", until)
            exported = [run("--armor", "--passphrase", passphrase, f"--export{what}", f"={name}") for what in ("", "-secret-keys")]
            listed = run("--with-colons", "--list-keys", f"={name}")
            return Key(*exported, next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr")))

        try:
            yield Keys(
                make("ops"),
                make("glass"),
                make("stranger"),
                make("locked", passphrase="word"),
                make("expired", faked="20200101T000000", until="1d"),
                make("signing", "ed25519"),
            )
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[None]:
    """Let homes be made in a folder of the test's own; after it close all of them: neither folders nor agents may be left."""
    with tempfile.TemporaryDirectory(prefix="test-", dir=gpg._MEMORY) as folder:
        monkeypatch.setattr(gpg, "_MEMORY", folder)
        yield from check_nothing_left()


def check_nothing_left() -> t.Iterator[None]:
    """See :func:`nothing_left`."""
    yield
    gpg._recipients.cache_clear()
    while gpg._kept:
        gpg._kept.pop().close()
    assert homes() == []
    deadline = time.monotonic() + 15
    while agents() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert agents() == []


def homes() -> list[str]:
    """The private folders there are."""
    return glob.glob(f"{gpg._MEMORY}/*")


def agents() -> list[str]:
    """The command lines of the agents that use such a folder."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            line = pathlib.Path(path).read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "gpg-agent" in line and gpg._MEMORY in line:
            found.append(line)
    return found


def store(folder: pathlib.Path, encryption: Encryption, data: bytes) -> tuple[catalogues.Catalogue, catalogues.Backup]:
    """Write an encrypted backup."""
    catalogue, compression = catalogues.Catalogue(LocalStore(str(folder / "store")), "thing", "n"), Compression()
    filters = (*compression.filters(), *encryption.filters())
    with catalogue.draft(catalogues.new_id(NOW)) as draft:
        draft.add(f"a{compression.suffix}{encryption.suffix}", io.BytesIO(data), filters, 1)
        described = (compression.describe(), encryption.describe(), tool_versions(filters))
        return catalogue, draft.publish(Manifest(draft.id, "thing", "copy", "n", NOW, NOW, NOW, NOW, {}, {}, tuple(draft.records), *described))


DATA = os.urandom(3_000_000)


def read(catalogue: catalogues.Catalogue, backup: catalogues.Backup, identity: Identity) -> bytes | None:
    """Open the only object."""
    return catalogue.read(backup, backup.require_manifest().objects[0].name, identity, lambda plain: plain.read())


@pytest.mark.parametrize("way", ["text", "file"])
def test_each_recipient_opens_it(keys: Keys, tmp_path: pathlib.Path, way: str) -> None:
    catalogue, backup = store(tmp_path, Encryption("gpg", (keys.ops.public, keys.break_glass.public)), DATA)
    manifest = backup.require_manifest()
    assert manifest.encryption == {"type": "gpg", "recipients": [keys.ops.fingerprint, keys.break_glass.fingerprint]}
    assert manifest.objects[0].name == "a.zst.gpg" and manifest.tools["gpg"].startswith("2.")
    for key in (keys.ops, keys.break_glass):
        path = tmp_path / "key"
        path.write_text(key.private)
        identity = Identity(key.private) if way == "text" else Identity(None, str(path))
        assert read(catalogue, backup, identity) == DATA
        assert all(key.private.splitlines()[4] not in line for line in agents())
    for path in homes():
        assert os.stat(path).st_mode & 0o777 == 0o700 and path.startswith("/dev/shm/test-")


def test_it_opens_by_hand(keys: Keys, tmp_path: pathlib.Path) -> None:
    _catalogue, backup = store(tmp_path, Encryption("gpg", (keys.ops.public,)), DATA)
    path = tmp_path / "store/thing/n" / backup.id / "a.zst.gpg"
    with tempfile.TemporaryDirectory(prefix="hand-") as home:
        environment = {**os.environ, "GNUPGHOME": home}
        subprocess.run(["gpg", "--batch", "--quiet", "--import"], input=keys.ops.private.encode(), env=environment, check=True)
        opened = subprocess.run(f"gpg --batch --quiet -d {path} | zstd -q -d", shell=True, env=environment, check=True, capture_output=True).stdout
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)
    assert opened == DATA


def test_the_wrong_key_is_named(keys: Keys, tmp_path: pathlib.Path) -> None:
    catalogue, backup = store(tmp_path, Encryption("gpg", (keys.ops.public,)), DATA)
    with pytest.raises(InvalidInput, match=f"fits none of its recipients.*{keys.ops.fingerprint}"):
        read(catalogue, backup, Identity(keys.stranger.private))


def test_keys_that_cannot_open_it(keys: Keys, tmp_path: pathlib.Path) -> None:
    catalogue, backup = store(tmp_path, Encryption("gpg", (keys.ops.public, keys.locked.public)), DATA)
    (tmp_path / "binary").write_bytes(b"\x99\x00")
    for identity, cause in (
        (Identity(), "no private key"),
        (Identity("AGE-SECRET-KEY-1"), "no armored gpg key"),
        (Identity(keys.ops.public), "no armored gpg key"),
        (Identity(None, str(tmp_path / "binary")), "no armored gpg key"),
        (Identity(None, str(tmp_path / "nothing")), "cannot be read"),
        (Identity(keys.locked.private), "passphrase"),
        (Identity("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabcd\n-----END PGP PRIVATE KEY BLOCK-----"), "import the private key"),
    ):
        with pytest.raises(InvalidInput, match=cause) as caught:
            read(catalogue, backup, identity)
        assert keys.locked.private.splitlines()[4] not in str(caught.value)


def test_a_gpg_key_opens_no_age_backup(keys: Keys) -> None:
    with pytest.raises(InvalidInput, match="age keys, the private key is a gpg key"):
        Identity(keys.ops.private).command()


def test_recipients_that_are_refused(keys: Keys) -> None:
    cases = {
        "recipients is empty": (),
        "number 2 .*no armored public key": (keys.ops.public, "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"),
        "it is a private key": (keys.ops.private,),
        "it holds 2 public keys": (keys.ops.public + keys.stranger.public,),
        "recipients": (keys.expired.public,),
        "check encryption.recipients": (keys.ops.public, keys.signing.public),
    }
    for cause, given in cases.items():
        with pytest.raises(InvalidInput, match=cause) as caught:
            Encryption("gpg", given).check()
        assert keys.ops.private.splitlines()[4] not in str(caught.value)


def test_many_at_once(keys: Keys, tmp_path: pathlib.Path) -> None:
    encryption, identity = Encryption("gpg", (keys.ops.public,)), Identity(keys.ops.private)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number in range(4):
            (tmp_path / str(number)).mkdir()
        made = list(pool.map(lambda number: store(tmp_path / str(number), encryption, DATA), range(4)))
        assert list(pool.map(lambda pair: read(*pair, identity), made)) == [DATA] * 4


def test_the_agent_writes_no_key_while_backups_are_read(keys: Keys, tmp_path: pathlib.Path) -> None:
    """The agent writes in place, and another reading at that moment would find no key."""
    catalogue, backup = store(tmp_path, Encryption("gpg", (keys.ops.public,)), DATA)
    identity = Identity(keys.ops.private)
    home = pathlib.Path(identity.command("gpg").argv[2])
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in home.glob("private-keys-v1.d/*")}
    assert len(before) == 2
    assert read(catalogue, backup, identity) == DATA
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in home.glob("private-keys-v1.d/*")} == before


def test_a_key_without_its_primary_part_opens_it(keys: Keys, tmp_path: pathlib.Path) -> None:
    """What is left on the host where backups are read when the primary key is kept offline."""
    catalogue, backup = store(tmp_path, Encryption("gpg", (keys.ops.public,)), DATA)
    with tempfile.TemporaryDirectory(prefix="offline-") as home:
        environment = {**os.environ, "GNUPGHOME": home}
        subprocess.run(["gpg", "--batch", "--quiet", "--import"], input=keys.ops.private.encode(), env=environment, check=True)
        export = subprocess.run(["gpg", "--batch", "--armor", "--export-secret-subkeys"], env=environment, check=True, capture_output=True)
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)
    assert read(catalogue, backup, Identity(export.stdout.decode())) == DATA


def test_a_failure_of_gpg_is_a_failure_of_the_backup(keys: Keys, tmp_path: pathlib.Path) -> None:
    encryption = Encryption("gpg", (keys.ops.public,))
    encryption.filters()
    for path in glob.glob(f"{homes()[0]}/recipient-*"):
        os.unlink(path)
    with pytest.raises(MainstayError, match="gpg ended with status 2"):
        store(tmp_path, encryption, DATA)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


CHILD = """
import os, signal, sys
from ansible_collections.mainstay.ops.plugins.module_utils._catalog import gpg
from ansible_collections.mainstay.ops.plugins.module_utils._catalog.encryption import Identity
gpg._MEMORY = sys.argv[2]
Identity(sys.stdin.read()).command("gpg")
if sys.argv[1] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "fail":
    raise SystemExit(1)
"""


@pytest.mark.parametrize("end", ["well", "fail", "die"])
def test_nothing_is_left_by_a_process_that_ended(keys: Keys, end: str) -> None:
    done = subprocess.run([sys.executable, "-c", CHILD, end, gpg._MEMORY], input=keys.ops.private, text=True, check=False)
    assert done.returncode == {"well": 0, "fail": 1, "die": -9}[end]
    assert len(homes()) == (1 if end == "die" else 0)
    gpg.Home().close()
    deadline = time.monotonic() + 15
    while agents() and time.monotonic() < deadline:
        time.sleep(0.05)


def test_homes_made_at_once_do_not_remove_each_other() -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _number: gpg.Home(), range(200)))
    assert sorted(homes()) == sorted(home.path for home in made)


def test_a_folder_in_use_is_not_removed(keys: Keys) -> None:
    one, other = gpg.Home(), gpg.Home()
    assert len(homes()) == 2
    other.close()
    assert homes() == [one.path]
