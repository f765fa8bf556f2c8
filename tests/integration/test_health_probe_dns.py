# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``health_probe`` against dnsmasq on loopback, and against servers that answer as none should."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
import typing as t

import pytest
from servers import free_port
from test_health_probe import only, probe, refused, trap, wait_for

LONG = ["a" * 250, "b" * 250, "c" * 250]
ZONE = [
    "--local=/test/", "--local-ttl=90", "--host-record=shop.test,192.0.2.11,2001:db8::11,60", "--host-record=shop.test,192.0.2.12,300",
    "--cname=www.shop.test,shop.test,120", "--mx-host=shop.test,mail.shop.test,10", "--srv-host=_sip._tcp.shop.test,sip.shop.test,5060,10,5",
    "--txt-record=shop.test,v=spf1 -all", "--ptr-record=11.2.0.192.in-addr.arpa,shop.test", *(f"--txt-record=long.test,{text}" for text in LONG),
]
AUTHORITY = [
    "--auth-server=ns1.zone.test,lo", "--auth-zone=zone.test", "--auth-soa=2026112701,hostmaster.zone.test,1200,180,1209600",
    "--auth-sec-servers=ns2.zone.test", "--auth-ttl=77", "--host-record=a.zone.test,192.0.2.1",
]
SOA = "ns1.zone.test hostmaster.zone.test 2026112701 1200 180 1209600 77"


@contextlib.contextmanager
def dnsmasq(*options: str) -> t.Iterator[int]:
    """A server on loopback that knows nothing but what it is told; its port."""
    assert shutil.which("dnsmasq"), "dnsmasq is not installed: apt-get install dnsmasq-base"
    port = free_port()
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-hosts", "--no-resolv", "--bind-interfaces", f"--port={port}"]
    server = subprocess.Popen([*argv, "--listen-address=127.0.0.1", *options], stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.create_connection(("127.0.0.1", port)):
            return True

    try:
        wait_for("dnsmasq", listens)
        yield port
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def zone() -> t.Iterator[int]:
    """A server with records of every type."""
    with dnsmasq("--listen-address=::1", *ZONE) as port:
        yield port


@pytest.fixture(scope="module")
def authoritative() -> t.Iterator[int]:
    """A server that answers for a zone of its own."""
    with dnsmasq(*AUTHORITY) as port:
        yield port


def check(port: int, record: str, record_type: str = "A", **more: t.Any) -> dict[str, t.Any]:
    """A check of one record."""
    return {"name": "name", "type": "dns", "host": "127.0.0.1", "port": port, "record": record, "record_type": record_type, **more}


def test_records(capsys: pytest.CaptureFixture[str], zone: int) -> None:
    found = only(probe(capsys, check(zone, "shop.test")))
    assert (found["status"], found["detail"]) == ("healthy", "192.0.2.11, 192.0.2.12")
    assert 0 < found["seconds"] < 1
    observed = {"address": f"127.0.0.1:{zone}", "transport": "udp", "rcode": "NOERROR", "authoritative": True, "ttl": 60}
    assert found["observed"] == {**observed, "answers": ["192.0.2.11", "192.0.2.12"]}


@pytest.mark.parametrize(
    ("record", "record_type", "answers"),
    [
        ("SHOP.test.", "A", ["192.0.2.12", "192.0.2.11"]),
        ("shop.test", "AAAA", ["2001:DB8:0::11"]),
        ("www.shop.test", "A", ["192.0.2.11", "192.0.2.12"]),
        ("www.shop.test", "CNAME", ["Shop.test."]),
        ("shop.test", "MX", ["10  mail.shop.test."]),
        ("_sip._tcp.shop.test", "SRV", ["10 5 5060 sip.shop.test"]),
        ("shop.test", "TXT", ["v=spf1 -all"]),
        ("11.2.0.192.in-addr.arpa", "PTR", ["shop.test"]),
    ],
)
def test_every_type_of_record(capsys: pytest.CaptureFixture[str], zone: int, record: str, record_type: str, answers: list[str]) -> None:
    wanted = check(zone, record, record_type, answers_match="exact")
    assert only(probe(capsys, {**wanted, "answers": answers}))["status"] == "healthy"
    assert only(probe(capsys, {**wanted, "answers": answers[1:]}))["status"] == "unhealthy"


def test_a_server_with_a_zone_of_its_own(capsys: pytest.CaptureFixture[str], authoritative: int) -> None:
    right = [check(authoritative, "zone.test", "SOA", name="soa", answers=[SOA], answers_match="exact")]
    right.append(check(authoritative, "zone.test", "NS", name="ns", answers=["ns1.zone.test", "ns2.zone.test"], answers_match="exact"))
    result = probe(capsys, *right)
    assert result["status"] == "healthy" and all(found["observed"]["authoritative"] for found in result["checks"])
    older = only(probe(capsys, check(authoritative, "zone.test", "SOA", answers=[SOA.replace("2701", "2600")])))
    assert older["status"] == "unhealthy" and f"answered {SOA}: " in older["detail"] and "is missing" in older["detail"]


@pytest.mark.parametrize(
    ("match", "answers", "detail"),
    [
        ("all", ["192.0.2.11"], ""),
        ("all", ["192.0.2.11", "192.0.2.9"], "answered 192.0.2.11, 192.0.2.12: 192.0.2.9 is missing"),
        ("any", ["192.0.2.9", "192.0.2.12"], ""),
        ("any", ["192.0.2.9", "192.0.2.8"], "answered 192.0.2.11, 192.0.2.12; expected any of 192.0.2.9, 192.0.2.8"),
        ("exact", ["192.0.2.12", "192.0.2.11"], ""),
        ("exact", ["192.0.2.11", "192.0.2.9"], "answered 192.0.2.11, 192.0.2.12: 192.0.2.9 is missing and 192.0.2.12 was not expected"),
        ("exact", [], "answered 192.0.2.11, 192.0.2.12: 192.0.2.11, 192.0.2.12 was not expected"),
    ],
)
def test_answers_match(capsys: pytest.CaptureFixture[str], zone: int, match: str, answers: list[str], detail: str) -> None:
    found = only(probe(capsys, check(zone, "shop.test", answers=answers, answers_match=match)))
    assert (found["status"], found["detail"]) == (("unhealthy", detail) if detail else ("healthy", "192.0.2.11, 192.0.2.12"))


def test_rcode(capsys: pytest.CaptureFixture[str], zone: int) -> None:
    missing = only(probe(capsys, check(zone, "gone.test")))
    assert (missing["status"], missing["detail"], missing["observed"]["rcode"]) == ("unhealthy", "rcode is NXDOMAIN, expected NOERROR", "NXDOMAIN")
    assert only(probe(capsys, check(zone, "gone.test", rcode="NXDOMAIN")))["status"] == "healthy"
    assert only(probe(capsys, check(zone, "elsewhere.example", rcode="REFUSED")))["detail"] == "rcode is REFUSED"
    still_there = only(probe(capsys, check(zone, "shop.test", rcode="NXDOMAIN")))
    assert (still_there["status"], still_there["detail"]) == ("unhealthy", "rcode is NOERROR, expected NXDOMAIN")


def test_no_record_of_the_type(capsys: pytest.CaptureFixture[str], zone: int) -> None:
    assert only(probe(capsys, check(zone, "shop.test", "NS")))["detail"] == "there is no NS record"
    assert only(probe(capsys, check(zone, "shop.test", "NS", answers=[], answers_match="exact")))["status"] == "healthy"


@pytest.mark.parametrize(
    ("limits", "detail"),
    [
        ({"min_ttl": 60, "max_ttl": 300}, ""),
        ({"min_ttl": 61}, "time to live is 60 s, less than 61 s"),
        ({"max_ttl": 299}, "time to live is 300 s, more than 299 s"),
    ],
)
def test_time_to_live(capsys: pytest.CaptureFixture[str], zone: int, limits: dict[str, int], detail: str) -> None:
    found = only(probe(capsys, check(zone, "shop.test", **limits)))
    assert (found["status"], found["detail"]) == (("unhealthy", detail) if detail else ("healthy", "192.0.2.11, 192.0.2.12"))


def test_answers_too_long_for_udp_come_over_tcp(capsys: pytest.CaptureFixture[str], zone: int) -> None:
    found = only(probe(capsys, check(zone, "long.test", "TXT", answers=LONG, answers_match="exact")))
    assert (found["status"], found["observed"]["transport"], found["observed"]["answers"]) == ("healthy", "tcp", LONG)
    assert len(found["detail"]) <= 300


def test_over_ipv6_and_by_name(capsys: pytest.CaptureFixture[str], zone: int) -> None:
    over_six = only(probe(capsys, check(zone, "shop.test", host="::1")))
    assert (over_six["status"], over_six["observed"]["address"]) == ("healthy", f"[::1]:{zone}")
    assert only(probe(capsys, check(zone, "shop.test", host="localhost")))["status"] == "healthy"


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    found = only(probe(capsys, check(port, "shop.test")))
    assert (found["status"], found["detail"]) == ("unhealthy", f"no answer from 127.0.0.1:{port}: Connection refused")


# Servers that no program is; each answers every question in its own wrong way.


@contextlib.contextmanager
def answering(*answers: t.Callable[[bytes], bytes]) -> t.Iterator[int]:
    """A port where each question gets these answers, made of it; an empty one is not sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    question, client = sock.recvfrom(512)
                    for answer in answers:
                        if data := answer(question):
                            sock.sendto(data, client)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            stop.set()
            thread.join()


def right_answer(question: bytes, flags: bytes = b"\x84\x00") -> bytes:
    """An answer with one address, its name a pointer to the question's."""
    return question[:2] + flags + b"\0\1\0\1\0\0\0\0" + question[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x07"


def forged(question: bytes) -> bytes:
    """The same with another number: somebody guesses."""
    return bytes([question[0] ^ 1]) + right_answer(question)[1:].replace(b"\xc0\0\2\x07", b"\xc0\0\2\x06")


def test_forged_answers_are_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(forged, lambda question: b"\0", right_answer) as port:
        assert only(probe(capsys, check(port, "shop.test", answers=["192.0.2.7"], answers_match="exact")))["status"] == "healthy"
    with answering(forged) as port:
        found = only(probe(capsys, check(port, "shop.test", timeout=0.3)))
        assert found["detail"] == f"no proper answer, but one that answers another question, from 127.0.0.1:{port} within 0.3 s"


def test_a_lost_question_is_sent_again(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[bytes] = []

    def second_time(question: bytes) -> bytes:
        asked.append(question)
        return right_answer(question) if len(asked) > 1 else b""

    with answering(second_time) as port:
        found = only(probe(capsys, check(port, "shop.test")))
    assert (found["status"], found["attempts"], len(asked)) == ("healthy", 1, 2) and 1.9 < found["seconds"] < 8


def test_silence_ends_with_the_timeout(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(lambda question: b"") as port:
        began = time.monotonic()
        found = only(probe(capsys, check(port, "shop.test", timeout=0.3)))
        assert time.monotonic() - began < 5
    # What is left of the time when the question goes out, and on a busy machine that is less.
    assert found["status"] == "unhealthy" and re.fullmatch(rf"no answer from 127\.0\.0\.1:{port} within 0\.[123]\d* s", found["detail"])
    with trap() as silent:
        tcp_only = only(probe(capsys, check(silent, "shop.test", timeout=0.3)))
        assert tcp_only["detail"] == f"no answer from 127.0.0.1:{silent}: Connection refused"


def test_cut_short_and_no_tcp(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(lambda question: right_answer(question, b"\x86\x00")) as port:
        assert only(probe(capsys, check(port, "shop.test")))["detail"] == f"no connection to 127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"record": "a..b"}, "could not ask for a..b: 'a..b' is not a name"),
        ({"answers": ["www.example.com"]}, "could not expect answers of type A"),
        ({"answers": []}, "answers is an empty list"),
        ({"rcode": "NXDOMAIN", "answers": ["192.0.2.1"]}, "an answer with rcode NXDOMAIN has none"),
        ({"min_ttl": 2, "max_ttl": 1}, "min_ttl 2 is above max_ttl 1"),
        ({"min_ttl": -1}, "could not use min_ttl -1"),
        ({"url": "http://a"}, "option url means nothing to this type of check"),
    ],
)
def test_refused(capsys: pytest.CaptureFixture[str], more: dict[str, t.Any], message: str) -> None:
    assert message in refused(probe(capsys, {**check(53, "shop.test"), **more}))
