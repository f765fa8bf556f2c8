# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what a DNS server answers: the response code, the records, and how long they may be kept."""

from __future__ import annotations

import dataclasses
import socket
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput
from ansible_collections.mainstay.ops.plugins.module_utils._probe import dns_message as message
from ansible_collections.mainstay.ops.plugins.module_utils._probe.evaluation import Finding
from ansible_collections.mainstay.ops.plugins.module_utils._probe.wire import Budget, NoAnswer, connect, join_address, resolve

OPTIONS = frozenset({"host", "port", "record", "record_type", "answers", "answers_match", "rcode", "min_ttl", "max_ttl"})
OBSERVED = ("address", "transport", "rcode", "authoritative", "answers", "ttl")
#: Seconds after which a question that nobody answered is sent again, since UDP loses packets; the least that RFC 1035, section 4.2.1, recommends.
RESEND = 2.0
#: Characters of the answers that a message shows.
SHOWN_ANSWERS = 300
#: The longest UDP answer, without EDNS (RFC 1035, section 2.3.4, says 512 bytes; more is taken if it comes).
MAX_DATAGRAM = 4096


@dataclasses.dataclass(frozen=True)
class Target:
    """A question to a server, and what its answer has to be.

    Attributes:
        host: the server.
        port: its port.
        record: the name that is asked for.
        record_type: the type of record that is asked for.
        answers: what must be among the records, in their normal form; None if any record will do.
        answers_match: ``all`` of them, ``any`` of them, or ``exact`` for these and no other.
        rcode: the response code that is right.
        min_ttl: the least time to live, in seconds.
        max_ttl: the greatest one.
    """

    host: str
    port: int
    record: str
    record_type: str = "A"
    answers: tuple[str, ...] | None = None
    answers_match: str = "all"
    rcode: str = "NOERROR"
    min_ttl: int | None = None
    max_ttl: int | None = None

    def __str__(self) -> str:
        """How the target is called."""
        return f"{join_address(self.host, self.port)} {self.record} {self.record_type}"


def plan(options: dict[str, t.Any]) -> Target:
    """The question that the check's options describe.

    Raises:
        InvalidInput: the name or an expected answer cannot be one, or options contradict each other.
    """
    answers, match, rcode = options["answers"], options["answers_match"], options["rcode"]
    try:
        message.encode_name(options["record"])
    except ValueError as error:
        raise InvalidInput(f"ask for {options['record']}", error) from error
    if answers == [] and match != "exact":
        raise InvalidInput("judge the answers", "answers is an empty list", "leave it out to take any answer; set answers_match to exact to allow none")
    if rcode != "NOERROR" and (answers or options["min_ttl"] is not None or options["max_ttl"] is not None):
        raise InvalidInput("judge the answers", f"an answer with rcode {rcode} has none")
    if options["min_ttl"] is not None and options["max_ttl"] is not None and options["min_ttl"] > options["max_ttl"]:
        raise InvalidInput("judge the time to live", f"min_ttl {options['min_ttl']} is above max_ttl {options['max_ttl']}")
    try:
        wanted = None if answers is None else tuple(message.normal_form(options["record_type"], answer) for answer in answers)
    except ValueError as error:
        raise InvalidInput(f"expect answers of type {options['record_type']}", error) from error
    return Target(
        host=options["host"],
        port=options["port"] or 53,
        record=options["record"],
        record_type=options["record_type"],
        answers=wanted,
        answers_match=match,
        rcode=rcode,
        min_ttl=options["min_ttl"],
        max_ttl=options["max_ttl"],
    )


def probe(target: Target, budget: Budget) -> Finding:
    """Ask over UDP, and over TCP if the answer is too long for that (RFC 7766, section 5).

    Raises:
        NoAnswer: no answer came, or one that cannot be read.
    """
    question = message.Question(target.record, target.record_type)
    host, answer = _ask_udp(target, question, budget)
    transport = "tcp" if answer.truncated else "udp"
    if answer.truncated:
        answer = _ask_tcp(host, target.port, question, budget)
    finding = judge_answer(target, answer)
    return dataclasses.replace(finding, observed={"address": join_address(host, target.port), "transport": transport, **finding.observed})


def judge_answer(target: Target, answer: message.Answer) -> Finding:
    """Hold an answer against what was asked for."""
    found = sorted({record.text for record in answer.records if record.kind == target.record_type})
    ttls = [record.ttl for record in answer.records if record.kind == target.record_type]
    problems: list[str] = []
    shown = ", ".join(found)[:SHOWN_ANSWERS] or f"no {target.record_type} record"
    if answer.rcode != target.rcode:
        problems.append(f"rcode is {answer.rcode}, expected {target.rcode}")
    elif target.answers is not None:
        problems.extend(_mismatch(target, found, shown))
    elif not found and target.rcode == "NOERROR":
        problems.append(f"there is no {target.record_type} record")
    if target.min_ttl is not None and ttls and min(ttls) < target.min_ttl:
        problems.append(f"time to live is {min(ttls)} s, less than {target.min_ttl} s")
    if target.max_ttl is not None and ttls and max(ttls) > target.max_ttl:
        problems.append(f"time to live is {max(ttls)} s, more than {target.max_ttl} s")
    observed = {"rcode": answer.rcode, "authoritative": answer.authoritative, "answers": found, "ttl": min(ttls, default=None)}
    return Finding(shown if answer.rcode == "NOERROR" else f"rcode is {answer.rcode}", tuple(problems), (), observed)


def _mismatch(target: Target, found: list[str], shown: str) -> list[str]:
    wanted = t.cast("tuple[str, ...]", target.answers)
    if target.answers_match == "any":
        return [] if set(wanted) & set(found) else [f"answered {shown}; expected any of {', '.join(wanted)}"]
    missing = [answer for answer in wanted if answer not in found]
    unwanted = [answer for answer in found if answer not in wanted] if target.answers_match == "exact" else []
    problems = [f"{', '.join(missing)[:SHOWN_ANSWERS]} is missing"] if missing else []
    if unwanted:
        problems.append(f"{', '.join(unwanted)[:SHOWN_ANSWERS]} was not expected")
    return [f"answered {shown}: {' and '.join(problems)}"] if problems else []


def _ask_udp(target: Target, question: message.Question, budget: Budget) -> tuple[str, message.Answer]:
    """Ask each address of the server in turn, with an equal share of the time that is left; return the one that answered first, and its answer."""
    addresses = resolve(target.host, target.port, budget)
    failure = NoAnswer(f"no address for {target.host}")
    for tried, (family, unused_kind, unused_protocol, unused_name, address) in enumerate(addresses):
        shown = join_address(address[0], address[1])
        seconds = budget.left(f"no answer from {shown}") / (len(addresses) - tried)
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect(address)  # takes answers from there alone, and lets the kernel say that nobody listens
                return address[0], _exchange(sock, question, Budget.of(seconds, budget.clock), shown)
        except OSError as error:
            failure = NoAnswer(f"no answer from {shown}: {error.strerror or error}")
        except NoAnswer as error:
            failure = error
    raise failure


def _exchange(sock: socket.socket, question: message.Question, budget: Budget, shown: str) -> message.Answer:
    """Send the question, again after a while, until an answer to it comes; what is none may be forged, and is passed over."""
    refused = ""
    data = message.encode_question(question)
    while True:
        sock.send(data)
        resend_at = min(budget.clock() + RESEND, budget.until)
        while (left := resend_at - budget.clock()) > 0:
            sock.settimeout(left)
            try:
                return message.decode_answer(question, sock.recv(MAX_DATAGRAM))
            except TimeoutError:
                break
            except ValueError as error:
                refused = f"no proper answer, but one that {error},"
        budget.left(f"{refused or 'no answer'} from {shown}")


def _ask_tcp(host: str, port: int, question: message.Question, budget: Budget) -> message.Answer:
    """Ask over TCP, where two bytes before each message say its length (RFC 1035, section 4.2.2)."""
    with connect(host, port, budget) as wire:
        data = message.encode_question(question)
        wire.sendall(len(data).to_bytes(2, "big") + data)
        incoming = wire.makefile()
        length = int.from_bytes(incoming.read(2), "big")
        received = incoming.read(length)
        if not length or len(received) < length:
            raise NoAnswer(f"{wire.address} closed the connection")
        try:
            answer = message.decode_answer(question, received)
        except ValueError as error:
            raise NoAnswer(f"no proper answer, but one that {error}, from {wire.address} over TCP") from error
        if answer.truncated:
            raise NoAnswer(f"the answer of {wire.address} is cut short over TCP as well")
        return answer
