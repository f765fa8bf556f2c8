# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest's configuration as the module and the filter render it."""

from __future__ import annotations

import configparser
import dataclasses
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.mainstay.ops.plugins.filter.pgbackrest_conf import FilterModule
from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._postgres.physical.config import Settings, describe_repository, render

LOCAL = {"type": "local", "path": "/srv/backups/"}
S3 = {"type": "s3", "bucket": "b", "prefix": "production/", "region": "eu-central-1", "access_key": "AK", "secret_key": "SK"}
PEER = {"host": "data2", "ca_file": "/ca", "cert_file": "/crt", "key_file": "/key"}
BASE = Settings("ledger", (LOCAL,), "p=a#s;s", data_dir="/data", socket_path="/run/pg", port=5433, user="backup")
filter_conf = FilterModule().filters()["pgbackrest_conf"]


def read(text: str) -> dict[str, dict[str, str]]:
    """Parse a configuration whose options are given once each."""
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",))
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def test_a_local_repository_and_its_cluster() -> None:
    """One store, encrypted, and the cluster of this host."""
    assert read(render(BASE)) == {
        "global": {
            "repo1-path": "/srv/backups/pgbackrest/ledger",
            "repo1-cipher-type": "aes-256-cbc",
            "repo1-cipher-pass": "p=a#s;s",
            "process-max": "1",
            "compress-type": "zst",
            "compress-level": "3",
            "start-fast": "y",
        },
        "ledger": {"pg1-path": "/data", "pg1-port": "5433", "pg1-socket-path": "/run/pg", "pg1-user": "backup"},
    }


@pytest.mark.parametrize(
    ("changes", "expected", "absent"),
    [
        ({}, {"s3-endpoint": "s3.eu-central-1.amazonaws.com", "s3-key": "AK", "s3-key-secret": "SK", "path": "/production/pgbackrest/ledger"}, "s3-uri-style"),
        ({"endpoint_url": "https://cloud1:9443"}, {"s3-endpoint": "cloud1", "storage-port": "9443", "s3-uri-style": "path"}, "s3-key-type"),
        ({"endpoint_url": "https://cloud1"}, {"s3-endpoint": "cloud1", "s3-uri-style": "path"}, "storage-port"),
        ({"bucket": "a.b"}, {"s3-uri-style": "path", "s3-bucket": "a.b"}, "storage-port"),
        ({"session_token": "ST"}, {"s3-token": "ST"}, "s3-key-type"),
        ({"access_key": None, "secret_key": None}, {"s3-key-type": "auto"}, "s3-key"),
        ({"validate_certs": False, "aws_ca_bundle": "/ca"}, {"storage-verify-tls": "n"}, "storage-ca-file"),
        ({"aws_ca_bundle": "/ca", "validate_certs": True}, {"storage-ca-file": "/ca"}, "storage-verify-tls"),
        ({"region": None, "prefix": ""}, {"s3-region": "us-east-1", "path": "/pgbackrest/ledger"}, "storage-port"),
    ],
)
def test_s3(changes: dict[str, t.Any], expected: dict[str, str], absent: str) -> None:
    """Every option of a bucket has its counterpart."""
    found = read(render(dataclasses.replace(BASE, stores=({**S3, **changes},))))["global"]
    assert {f"repo1-{name}": value for name, value in expected.items()}.items() <= found.items()
    assert f"repo1-{absent}" not in found


def test_copies_and_versions() -> None:
    """Each copy is a further repository; what a version does not know is not written."""
    both = dataclasses.replace(BASE, stores=(LOCAL, S3))
    old = read(render(dataclasses.replace(both, version=(2, 45))))["global"]
    new = read(render(dataclasses.replace(both, version=(2, 46))))["global"]
    none = read(render(both))["global"]
    assert (old["repo1-bundle"], old["repo2-bundle"], old["repo2-type"], old["repo2-cipher-pass"]) == ("y", "y", "s3", "p=a#s;s")
    assert "repo1-block" not in old and (new["repo1-block"], new["repo2-block"]) == ("y", "y")
    assert not [name for name in none if "bundle" in name or "block" in name]


def test_peers_and_server() -> None:
    """Peers are reached by TLS; the server lets its clients in for this stanza only."""
    peers = ({**PEER, "postgres_port": 5434, "data_dir": "/other"}, PEER)
    text = render(dataclasses.replace(BASE, peers=peers, server={**PEER, "clients": ["data2", "data3"]}))
    assert "tls-server-auth=data2=ledger\ntls-server-auth=data3=ledger\n" in text
    stanza = read(text.replace("tls-server-auth=data3=ledger\n", ""))["ledger"]
    assert (stanza["pg2-host"], stanza["pg2-host-type"], stanza["pg2-host-port"], stanza["pg2-path"], stanza["pg2-port"]) == (
        "data2", "tls", "8432", "/other", "5434",
    )
    assert (stanza["pg3-path"], stanza["pg3-user"], stanza["pg3-host-ca-file"]) == ("/data", "backup", "/ca")


def test_own_options_come_last_and_go_where_they_belong() -> None:
    """Booleans become y and n, lists repeat the name, pgN options go to the stanza, the user's word counts."""
    options = {"process-max": 4, "archive-async": True, "exclude": ["a", "b"], "pg1-database": "template1"}
    text = render(dataclasses.replace(BASE, options=options), {"process-max": "2", "log-level-file": "off"})
    assert "exclude=a\nexclude=b\n" in text and "process-max=4\n" in text and "archive-async=y\n" in text and "log-level-file=off\n" in text
    assert text.index("[ledger]") < text.index("pg1-database=template1") and "process-max=2" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"passphrase": None}, "repository_passphrase is missing"),
        ({"passphrase": "two\nlines"}, "line break"),
        ({"passphrase": " padded"}, "begins or ends with a space"),
        ({"options": {"archive-push-queue-max": "1GB"}}, "drops write-ahead log"),
        ({"options": {"repo1-retention-full": 2}}, "retention"),
        ({"options": {"repo2-cipher-pass": "x"}}, "follows from other options"),
        ({"options": {"a\nb": 1}}, "no name of an option"),
        ({"stores": ({**S3, "endpoint_url": "http://cloud1:9000"},)}, "by TLS only"),
        ({"stores": ({**S3, "endpoint_url": "https://cloud1/path"},)}, "https://HOST"),
        ({"stores": ({**S3, "access_key": None, "profile": "p"},)}, "no AWS profiles"),
    ],
)
def test_refusals(changes: dict[str, t.Any], words: str) -> None:
    """What pgBackRest cannot do, or must not, is refused with the reason, and no reason shows the passphrase."""
    with pytest.raises(InvalidInput, match=words) as caught:
        render(dataclasses.replace(BASE, **changes))
    assert "padded" not in str(caught.value) and "lines" not in str(caught.value)


def test_clear_text_must_be_asked_for() -> None:
    """Without encryption the type says so."""
    found = read(render(dataclasses.replace(BASE, passphrase=None, encrypted=False)))["global"]
    assert found["repo1-cipher-type"] == "none" and "repo1-cipher-pass" not in found


def test_the_settings_hide_the_passphrase() -> None:
    """A traceback would show them."""
    assert "p=a#s;s" not in repr(BASE)


def test_filter_agrees_with_the_module() -> None:
    """The filter's text is the module's."""
    text = filter_conf(
        S3, "ledger", data_dir="/data", repository_passphrase="p=a#s;s", login_unix_socket="/run/pg", login_port="5433", login_user="backup",
        copies=[LOCAL], peers=[PEER], jobs=2, version="2.55.1", compression={"type": "none"}, pgbackrest_options={"archive-async": False},
    )
    settings = dataclasses.replace(
        BASE, stores=(S3, LOCAL), peers=(PEER,), jobs=2, version=(2, 55), compression={"type": "none"}, options={"archive-async": False}
    )
    assert text == render(settings)


@pytest.mark.parametrize(
    ("store", "more", "words"),
    [
        ("x", {}, "must be a dictionary"),
        ({"type": "ftp"}, {}, "type local or s3"),
        ({"type": "local"}, {}, "needs path"),
        ({**LOCAL, "pat": 1}, {}, "does not know pat"),
        ({"type": "s3", "bucket": "b", "access_key": "a"}, {}, "secret_key"),
        (LOCAL, {"peers": [{"host": "x"}]}, "peer 1 needs ca_file"),
        (LOCAL, {"server": {"ca_file": "x"}}, "the server needs cert_file"),
        (LOCAL, {"repository_passphrase": None}, "repository_passphrase is missing"),
    ],
)
def test_filter_refusals(store: t.Any, more: dict[str, t.Any], words: str) -> None:
    """A mistake in a play is an error of the filter in words."""
    with pytest.raises(AnsibleFilterError, match=words):
        filter_conf(store, "ledger", **{"repository_passphrase": "x", **more})


def test_description() -> None:
    """Messages name the place, without a secret."""
    assert describe_repository(LOCAL, "ledger") == "/srv/backups/pgbackrest/ledger"
    assert describe_repository(S3, "ledger") == "s3://b/production/pgbackrest/ledger"
