# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of an answer, which requests go through a proxy, and what Prometheus returned."""

from __future__ import annotations

import json
import math
import time
import typing as t

import pytest

from ansible_collections.mainstay.ops.plugins.module_utils._probe import http, prometheus
from ansible_collections.mainstay.ops.plugins.module_utils._probe.masking import mask
from ansible_collections.mainstay.ops.plugins.module_utils._probe.prometheus import Sample
from ansible_collections.mainstay.ops.plugins.module_utils._probe.proxy import plan_proxy

H = "********"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("nothing of note: 3", "nothing of note: 3"),
        ("it is s3 cret/x here", f"it is {H} here"),
        ("it is s3%20cret/x here", f"it is {H} here"),
        ("it is s3+cret%2Fx here", f"it is {H} here"),
        ('{"password": "a b", "n": 1}', f'{{"password": {H}, "n": 1}}'),
        ('{"db_password":"a\\"b","n":1}', f'{{"db_password":{H},"n":1}}'),
        ("{'api_key': 'abc'}", f"{{'api_key': {H}}}"),
        ('{"text": "{\\"token\\": \\"abc\\"}"}', f'{{"text": "{{\\"token\\": {H}}}"}}'),
        ("?user=jo&access_token=abc&n=1", f"?user=jo&access_token={H}&n=1"),
        ("Authorization: Bearer abc.def", f"Authorization: {H}"),
        ("Set-Cookie: sid=abc; Path=/", f"Set-Cookie: {H}; Path=/"),
        ("PGPASSWORD=abc psql", f"PGPASSWORD={H} psql"),
        ("redis://:abc@cache:6379/0", f"redis://:{H}@cache:6379/0"),
        ("postgresql://app:abc@db/shop", f"postgresql://app:{H}@db/shop"),
        ("http://db:5432/shop", "http://db:5432/shop"),
        ('{"password": "cut of', f'{{"password": {H}'),
        ("the password is wrong", "the password is wrong"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text, ["s3 cret/x", "its"]) == masked


def test_a_secret_at_the_cut_is_gone_as_a_whole() -> None:
    target = http.Target("http://a", secrets=("sesame-opens",))
    assert target.shown("x" * 195 + "sesame-opens") == "x" * 195 + "*****"


def test_where_a_redirect_leads_is_shown_without_secrets() -> None:
    seen = http.judge_answer(http.Target("http://a"), http.Answer("a:80", "http://a/x?token=abc&n=1", 302, "http://b/?session_token=def", "")).observed
    assert (seen["url"], seen["location"]) == (f"http://a/x?token={H}&n=1", f"http://b/?session_token={H}")


@pytest.mark.parametrize("piece", ["password", 'password="', '\\"', "://", "://a:", "a:", "a-", "token= ", "token\t", "basic "])
def test_masking_takes_time_in_proportion(piece: str) -> None:
    began = time.process_time()
    mask((piece * http.MASKED_BODY)[:http.MASKED_BODY])
    assert time.process_time() - began < 0.5


def options(**given: t.Any) -> dict[str, t.Any]:
    """A proxy's options."""
    return {"proxy": "http://p:3128", "proxy_user": None, "proxy_password": None, "no_proxy": None, **given}


@pytest.mark.parametrize(
    ("pattern", "host", "port", "served"),
    [
        ("example.com", "example.com", 80, False),
        ("example.com", "www.Example.com", 443, False),
        (".example.com", "www.example.com", 443, False),
        ("*.example.com", "www.example.com", 443, False),
        ("example.com", "notexample.com", 80, True),
        ("example.com:8443", "example.com", 8443, False),
        ("example.com:8443", "example.com", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 80, False),
        ("10.0.0.0/8", "11.1.2.3", 80, True),
        ("10.0.0.0/8", "example.com", 80, True),
        ("fd00::/8", "fd00::1", 80, False),
        ("fd00::/8", "10.0.0.1", 80, True),
        ("[::1]:80", "::1", 80, False),
        ("::1", "::1", 80, False),
        ("*", "anything", 80, False),
    ],
)
def test_no_proxy(pattern: str, host: str, port: int, served: bool) -> None:
    proxy = plan_proxy(options(no_proxy=["unrelated", pattern]), lambda: None)
    assert proxy is not None and proxy.serves(host, port) is served


def test_proxy_does_not_show_its_login() -> None:
    proxy = plan_proxy(options(proxy_user="jo", proxy_password="pw"), lambda: None)
    assert proxy is not None and proxy.headers == {"Proxy-Authorization": "Basic am86cHc="} and "am86cHc" not in repr(proxy)
    assert (proxy.host, proxy.port, proxy.context) == ("p", 3128, None)
    assert plan_proxy(options(proxy=None), lambda: None) is None


def returned(kind: str, result: t.Any) -> str:
    """The body of a query's answer."""
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


def test_samples() -> None:
    vector = [{"metric": {"__name__": "up", "job": 'a"b'}, "value": [1.5, "1"]}, {"metric": {"__name__": "up"}, "value": [1.5, "+Inf"]}]
    assert prometheus.read_samples(returned("vector", vector)) == [Sample('up{job="a\\"b"}', 1.0), Sample("up", math.inf)]
    assert prometheus.read_samples(returned("scalar", [1.5, "2"])) == [Sample("scalar", 2.0)]
    assert prometheus.read_samples(returned("vector", [])) == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (returned("matrix", []), "the query returns a matrix"),
        (returned("string", [1, "x"]), "the query returns a string"),
        ("[]", "not one of Prometheus's HTTP API"),
        ("null", "not one of Prometheus's HTTP API"),
        ("{}", "not one of Prometheus's HTTP API"),
        (returned("scalar", []), "not one of Prometheus's HTTP API"),
        (returned("vector", [{"metric": [], "value": [1, "1"]}]), "not one of Prometheus's HTTP API"),
    ],
)
def test_what_are_no_samples(body: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        prometheus.read_samples(body)


def test_a_message_names_few_series() -> None:
    target = prometheus.Target("http://a", http.Target("http://a"), "q", max_value=1.0)
    seen = prometheus.judge_samples(target, [Sample(f"up{{n={number}}}", number) for number in range(9)])
    assert seen.problems == ("up{n=2} is 2, more than 1", "up{n=3} is 3, more than 1", "up{n=4} is 4, more than 1", "and 4 more of 9 series")
