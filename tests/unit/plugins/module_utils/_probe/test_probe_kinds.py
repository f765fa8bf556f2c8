# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each kind's judgement, and what is refused before anything is probed."""

from __future__ import annotations

import copy
import io
import re
import sys
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe import http, options, postgres, redis, tls, wire
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import NoAnswer


def entry(**given: t.Any) -> dict[str, t.Any]:
    """A check's options as the module gets them."""
    return {**{name: copy.copy(spec.get("default")) for name, spec in options.CHECK_OPTIONS.items()}, **given}


def policy_options(**given: t.Any) -> dict[str, t.Any]:
    """The module's options as it gets them."""
    return {**{name: spec.get("default") for name, spec in options.ARGUMENT_SPEC.items()}, **given}


@pytest.mark.parametrize(
    ("url", "place", "host_header"),
    [
        ("http://a", http.Place("http", "a", 80, "/"), "a"),
        ("https://a:443/x?q=1#f", http.Place("https", "a", 443, "/x?q=1"), "a"),
        ("https://a:8443/x", http.Place("https", "a", 8443, "/x"), "a:8443"),
        ("http://[::1]:81/", http.Place("http", "::1", 81, "/"), "[::1]:81"),
        ("http://b\u00fccher.example/\u00e4 b?\u00f6=%20", http.Place("http", "xn--bcher-kva.example", 80, "/%C3%A4%20b?%C3%B6=%20"), "xn--bcher-kva.example"),
    ],
)
def test_locate(url: str, place: http.Place, host_header: str) -> None:
    assert http.locate(url) == place
    assert place.host_header == host_header


@pytest.mark.parametrize("url", ["ftp://a", "a.example", "http://", "http://a:0/", "http://a:99999/", "http://[::1", "http://u:secret@a/", "http://a..b/"])
def test_locate_refuses(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        http.locate(url)
    assert "secret" not in str(caught.value)


FIRST = http.Target(
    "https://a/x", "POST", secret_headers=(("Authorization", "s"),), body=b"b", connect_to=("10.0.0.1", 8443), server_hostname="n", max_redirects=5,
)


@pytest.mark.parametrize(
    ("status", "location", "expected"),
    [
        (302, "/y", ("https://a/y", "GET", None, True, ("10.0.0.1", 8443), "n")),
        (303, "/y", ("https://a/y", "GET", None, True, ("10.0.0.1", 8443), "n")),
        (307, "/y", ("https://a/y", "POST", b"b", True, ("10.0.0.1", 8443), "n")),
        (308, "https://a:444/y", ("https://a:444/y", "POST", b"b", True, ("10.0.0.1", None), "n")),
        (308, "http://a/y", ("http://a/y", "POST", b"b", False, ("10.0.0.1", None), "n")),
        (301, "https://b/y", ("https://b/y", "GET", None, False, None, None)),
    ],
)
def test_redirected(status: int, location: str, expected: tuple[t.Any, ...]) -> None:
    after = http.redirected(FIRST, status, location)
    assert (after.url, after.method, after.body, bool(after.secret_headers), after.connect_to, after.server_hostname) == expected


def test_redirect_to_what_is_not_http() -> None:
    with pytest.raises(NoAnswer, match="redirect to ftp://a cannot be followed"):
        http.redirected(FIRST, 302, "ftp://a")


@pytest.mark.parametrize(
    ("given", "status", "body", "problems"),
    [
        ({}, 200, "x", ()),
        ({}, 503, "down", ("answered 503, expected 200", "body starts with 'down'")),
        ({"status": [200, 204]}, 204, "", ()),
        ({"status": [200, 204]}, 500, "", ("answered 500, expected 200 or 204",)),
        ({"body_regex": "o+k"}, 200, "all ook", ()),
        ({"body_regex": "^ok$"}, 200, "no", ("body does not match '^ok$'", "body starts with 'no'")),
        ({"assertions": ["a == `1`", "b.c"]}, 200, '{"a": 1, "b": {"c": true}}', ()),
        ({"assertions": ["a == `1`"]}, 200, '{"a": 2}', ("assertion 'a == `1`' is false, not true", "body starts with '{\"a\": 2}'")),
        ({"assertions": ["a"]}, 200, '{"a": 1}', ("assertion 'a' is 1, not true", "body starts with '{\"a\": 1}'")),
        ({"assertions": ["nothing"]}, 200, "{}", ("assertion 'nothing' is null, not true", "body starts with '{}'")),
    ],
)
def test_judge_answer(given: dict[str, t.Any], status: int, body: str, problems: tuple[str, ...]) -> None:
    target = http.plan(entry(type="http", url="http://a", **given))
    assert http.judge_answer(target, http.Answer("10.0.0.1:80", "http://a", status, None, body)).problems == problems


@pytest.mark.parametrize(
    ("assertion", "body", "problem"),
    [("a", "<html>", "body is not JSON"), ("length(a)", '{"a": 1}', "assertion 'length\\(a\\)' cannot be evaluated: .*invalid type")],
)
def test_assertion_on_what_it_cannot_read(assertion: str, body: str, problem: str) -> None:
    target = http.plan(entry(type="http", url="http://a", assertions=[assertion]))
    assert re.match(problem, http.judge_answer(target, http.Answer("x", "http://a", 200, None, body)).problems[0])


def test_only_the_start_of_a_body_is_shown_and_only_of_a_wrong_answer() -> None:
    target = http.plan(entry(type="http", url="http://a"))
    wrong = http.judge_answer(target, http.Answer("x", "http://a", 500, None, "z" * 1000))
    assert wrong.observed["body_start"] == "z" * 200
    assert http.judge_answer(target, http.Answer("x", "http://a", 200, None, "z")).observed["body_start"] is None


NOW = 1_000_000_000.0
DAY = 86400.0


@pytest.mark.parametrize(
    ("starts", "ends", "problem", "warning"),
    [
        (-60, 30, "", ""),
        (-60, 20, "", ""),
        (-60, 19.9, "", "certificate expires in 19.9 days, fewer than 20"),
        (-60, 6.9, "certificate expires in 6.9 days, fewer than 7", ""),
        (-60, -2, "certificate expired 2.0 days ago, on 2001-09-07T01:46:40Z", ""),
        (1, 30, "certificate is not valid before 2001-09-10T01:46:40Z", ""),
    ],
)
def test_judge_certificate(starts: float, ends: float, problem: str, warning: str) -> None:
    certificate = tls.Certificate("CN=a", "CN=ca", NOW + starts * DAY, NOW + ends * DAY)
    finding = tls.judge_certificate(certificate, 20.0, 7.0, NOW)
    assert ("".join(finding.problems), "".join(finding.warnings)) == (problem, warning)
    assert finding.observed["days_left"] == ends
    assert finding.observed["lifetime_left"] == pytest.approx(ends / (ends - starts), abs=1e-4)


SERVER: dict[str, t.Any] = {"host": "db", "port": 5432, "connect_to": None, "parameters": ()}


@pytest.mark.parametrize(
    ("wanted", "said", "problems"),
    [
        ({}, (False, None), ()),
        ({"role": "primary"}, (False, None), ()),
        ({"role": "primary"}, (True, 0.0), ("role is replica, expected primary",)),
        ({"role": "replica"}, (False, None), ("role is primary, expected replica",)),
        ({"max_lag": 5.0}, (False, None), ()),
        ({"max_lag": 5.0}, (True, 5.0), ()),
        ({"max_lag": 5.0}, (True, 5.1), ("lag is 5.1 s, more than 5 s",)),
        ({"max_lag": 5.0}, (True, None), ("lag is not known, at most 5 s are allowed",)),
        ({"query": "q", "expect": "1"}, (False, None, "17", "1"), ()),
        ({"query": "q", "expect": "1"}, (False, None, "17", "2"), ("query returned '2', expected '1'",)),
        ({"query": "q", "expect": "1"}, (False, None, "17", None), ("query returned None, expected '1'",)),
        ({"query": "q", "expect": "True"}, (False, None, "17", "true"), ()),
        ({"query": "q", "expect": "1"}, (False, None, "17", None, "no such table"), ("query failed: no such table",)),
    ],
)
def test_judge_postgres(wanted: dict[str, t.Any], said: tuple[t.Any, ...], problems: tuple[str, ...]) -> None:
    target = postgres.Target(**SERVER, **wanted)
    assert postgres.judge_server(target, "db:5432", *said[:2], *(said[2:] or ("17",))).problems == problems


@pytest.mark.parametrize(("value", "text"), [(None, None), (True, "true"), (False, "false"), (3, "3"), ("a", "a")])
def test_query_result_as_text(value: t.Any, text: str | None) -> None:
    assert postgres.as_text(value) == text


UP = "role:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:4\r\n"
DOWN = "role:slave\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\nmaster_link_down_since_seconds:9\r\n"
NEVER_UP = "role:slave\r\nmaster_link_status:down\r\nmaster_link_down_since_seconds:-1\r\n"


@pytest.mark.parametrize(
    ("info", "wanted", "problems", "warnings", "lag"),
    [
        ("# Replication\r\nrole:master\r\n", {"role": "primary", "max_lag": 1.0}, (), (), None),
        ("role:master\r\n", {"role": "replica"}, ("role is primary, expected replica",), (), None),
        (UP, {"role": "replica"}, (), (), 4.0),
        (UP, {"role": "primary"}, ("role is replica, expected primary",), (), 4.0),
        (UP, {"max_lag": 4.0}, (), (), 4.0),
        (UP, {"max_lag": 3.0}, ("lag is 4 s, more than 3 s",), (), 4.0),
        (DOWN, {}, (), ("link to the master is down for 9 s",), 9.0),
        (DOWN, {"max_lag": 60.0}, ("link to the master is down for 9 s",), (), 9.0),
        (NEVER_UP, {}, (), ("link to the master is down",), None),
    ],
)
def test_judge_redis(info: str, wanted: dict[str, t.Any], problems: tuple[str, ...], warnings: tuple[str, ...], lag: float | None) -> None:
    finding = redis.judge_replication(redis.Target("c", 6379, **wanted), redis.parse_info(info))
    assert (finding.problems, finding.warnings, finding.observed["lag_seconds"]) == (problems, warnings, lag)


def test_valkey_says_its_own_version() -> None:
    facts = redis.parse_info("redis_version:7.2.4\r\nvalkey_version:8.1.1\r\nrole:master\r\n")
    assert redis.judge_replication(redis.Target("c", 6379), facts).observed["server_version"] == "8.1.1"


def test_redis_command_encoding() -> None:
    assert redis.encode("AUTH", "p\u00e4ss word") == b"*2\r\n$4\r\nAUTH\r\n$10\r\np\xc3\xa4ss word\r\n"


@pytest.mark.parametrize(("data", "reply"), [(b"+PONG\r\n", "PONG"), (b"$4\r\na\r\nb\r\n", "a\r\nb"), (b"$0\r\n\r\n", "")])
def test_redis_replies(data: bytes, reply: str) -> None:
    assert redis.read_reply(io.BytesIO(data), "c:6379") == reply


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"", NoAnswer, "closed the connection"),
        (b"$10\r\nshort", NoAnswer, "closed the connection"),
        (b"-LOADING soon\r\n", redis.ReplyError, "LOADING soon"),
        (b"HTTP/1.1 400 Bad Request\r\n", NoAnswer, "does not speak Redis's protocol: it answered 'HTTP/1.1 400 Bad Request'"),
        (b"$99999999999\r\n", NoAnswer, "does not speak"),
    ],
)
def test_redis_replies_that_are_none(data: bytes, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        redis.read_reply(io.BytesIO(data), "c:6379")


@pytest.mark.parametrize(
    ("text", "address"),
    [("a", ("a", None)), ("a:80", ("a", 80)), ("10.0.0.1:80", ("10.0.0.1", 80)), ("::1", ("::1", None)), ("[::1]", ("::1", None)), ("[::1]:80", ("::1", 80))],
)
def test_split_address(text: str, address: tuple[str, int | None]) -> None:
    assert wire.split_address(text) == address


@pytest.mark.parametrize("text", ["", ":80", "a:x", "a:0", "a:70000", "[::1", "[::1]x", "[]"])
def test_split_address_refuses(text: str) -> None:
    with pytest.raises(InvalidInput):
        wire.split_address(text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"type": "http", "url": "nonsense"}, "could not plan check 1 (http): could not understand the URL nonsense: it is not http://HOST or https://HOST"),
        ({"type": "http", "url": "http://a", "name": "web", "body_regex": "("}, "could not plan check web (http): could not understand body_regex '('"),
        ({"type": "http", "url": "http://a", "assertions": ["a b"]}, "could not understand the assertion 'a b'"),
        ({"type": "http", "url": "http://a", "status": []}, "status is an empty list"),
        ({"type": "http", "url": "http://a", "method": "G T"}, "it is not an HTTP method"),
        ({"type": "http", "url": "http://a", "headers": {"authorization": "x"}}, "give it in secret_headers"),
        ({"type": "http", "url": "http://a", "headers": {"a b": "x"}}, "the name is not a token"),
        ({"type": "http", "url": "http://a", "secret_headers": {"X": "s3cret\r\n"}}, "its value is not printable ASCII"),
        ({"type": "http", "url": "https://a", "ca_cert": "/nonexistent"}, "could not read ca_cert /nonexistent: No such file or directory"),
        ({"type": "http", "url": "https://a", "client_key": "/dev/null"}, "client_cert is not given"),
        ({"type": "http", "url": "https://a", "ca_cert": "/dev/null"}, "could not load ca_cert"),
        ({"type": "http", "url": "https://a", "client_cert": "/dev/null"}, "could not load client_cert and client_key"),
        ({"type": "http", "url": "http://a", "role": "primary"}, "option role means nothing to this type of check"),
        ({"type": "tcp", "host": "a", "port": 1, "validate_certs": False}, "option validate_certs means nothing"),
        ({"type": "tcp", "host": "a", "port": 0}, "could not use port 0"),
        ({"type": "tcp", "host": "a", "port": 1, "timeout": 0}, "could not use timeout 0: it must be at least 0.001"),
        ({"type": "tcp", "host": "a", "port": 1, "degraded_above": 2, "unhealthy_above": 1}, "degraded_above 2 is above unhealthy_above 1"),
        ({"type": "tls", "host": "a", "degraded_days_left": 1, "unhealthy_days_left": 2}, "degraded_days_left 1 is below unhealthy_days_left 2"),
        ({"type": "tls", "host": "a", "connect_to": "b:c"}, "it is not host or host:port"),
        ({"type": "postgres", "expect": "1"}, "query is not given"),
        ({"type": "postgres", "ca_cert": "/nonexistent"}, "could not read ca_cert"),
        ({"type": "postgres", "max_lag": -1}, "could not use max_lag -1"),
        ({"type": "redis", "login_user": "u"}, "login_user is given without login_password"),
        ({"type": "redis", "ca_cert": "/dev/null"}, "tls is not true"),
    ],
)
def test_plan_refuses(given: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.plan_checks([entry(**given)])
    assert message in str(caught.value) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("library", "given"),
    [
        ("jmespath", {"type": "http", "url": "http://a", "assertions": ["a"]}),
        ("psycopg2", {"type": "postgres"}),
        ("cryptography", {"type": "tls", "host": "a", "validate_certs": False}),
    ],
)
def test_missing_library_is_named(library: str, given: dict[str, t.Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InvalidInput, match=re.escape(f"Failed to import the required Python library ({library})")):
        options.plan_checks([entry(**given)])


def test_names() -> None:
    planned = options.plan_checks([
        entry(type="http", url="http://a/x"), entry(type="tcp", host="::1", port=22), entry(type="tls", host="a"), entry(type="postgres"),
        entry(type="redis", login_unix_socket="/run/r.sock"), entry(type="redis", name="cache", login_password="s3cret"),
    ])
    assert [check.name for check in planned] == [
        "http http://a/x", "tcp [::1]:22", "tls a:443", "postgres localhost:5432", "redis /run/r.sock", "cache",
    ]
    assert "s3cret" not in repr(planned) + repr([check.target for check in planned])
    with pytest.raises(InvalidInput, match="1 names are used more than once, first 'tls a:443'"):
        options.plan_checks([entry(type="tls", host="a"), entry(type="tls", host="a", port=443)])
    with pytest.raises(InvalidInput, match="checks is an empty list"):
        options.plan_checks([])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"successes": 0}, "could not use successes 0: it must be at least 1"),
        ({"retries": -1}, "retries"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": float("nan")}, "deadline"),
        ({"concurrency": 0}, "concurrency"),
        ({"min_healthy": 3}, "there are only 2 checks"),
        ({"max_p99": 1.0}, "it needs samples or duration"),
        ({"interval": 2.0}, "it needs samples or duration"),
        ({"samples": 5, "retries": 1}, "it means nothing with samples or duration"),
        ({"samples": 5, "max_error_rate": 1.5}, "a rate of one per cent is 0.01"),
        ({"samples": 5, "min_samples": 6}, "only 5 samples are taken"),
    ],
)
def test_policy_refuses(given: dict[str, t.Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        options.plan_policy(policy_options(**given), 2)
    assert message in str(caught.value)


@pytest.mark.parametrize(("given", "needed"), [({}, 1), ({"samples": 7}, 7), ({"samples": 7, "min_samples": 3}, 3), ({"duration": 7.0}, 1)])
def test_policy_min_samples(given: dict[str, t.Any], needed: int) -> None:
    assert options.plan_policy(policy_options(**given), 2).min_samples == needed
