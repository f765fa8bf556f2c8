# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps etcd's leader on another host than PostgreSQL's; systemd runs it as the user postgres beside Patroni.

A host that leads both takes both along when it is lost. The voter that leads etcd next gives every lease its whole time again
(https://etcd.io/docs/v3.5/learning/why/: leases are extended by a new leader, ``lessor.Promote``), so that the lock of the lost primary ends ``ttl`` seconds
after etcd's election, and not after its last renewal. Measured with the profile ``fast``: 23 to 25 s without writes, and 20 to 21 s where a voter on another
host leads etcd.

It asks this host's etcd whether it leads, and this host's Patroni whether it does. If both do, it hands etcd over to the first of the other voters, in the
order given, that answers and follows; nothing is interrupted by that.

Needs nothing but Python. It runs until it is stopped, and says what it does, and once what keeps it from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import ssl
import time
import typing as t
import urllib.error
import urllib.request

ANSWER_SECONDS = 2
"""How long an answer may take; a handover is done within an election of etcd."""


@dataclasses.dataclass(frozen=True)
class Voter:
    """A member of etcd: where it answers, its identifier, that of the leader that it follows, and whether it has a vote."""

    url: str
    identifier: str
    leader: str
    votes: bool

    @property
    def leads(self) -> bool:
        """Whether it is the leader itself."""
        return self.identifier == self.leader


class Host:
    """What this host runs, and whom else there is, for one look: certificates are renewed in place."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Keep where everything answers, and read the certificates; raises OSError if they cannot be read."""
        self._given = arguments
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if arguments.ca:
            context = ssl.create_default_context(cafile=arguments.ca)
            if arguments.cert:
                context.load_cert_chain(arguments.cert, arguments.key)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def _call(self, url: str, method: str, body: dict[str, str]) -> t.Any:
        request = urllib.request.Request(f"{url}/v3/maintenance/{method}", json.dumps(body).encode())
        with self._opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)

    def _voter(self, url: str) -> Voter:
        """Ask a voter; raises OSError, ValueError or KeyError if it does not answer as etcd does."""
        status = self._call(url, "status", {})
        return Voter(url, status["header"]["member_id"], status.get("leader", ""), not status.get("isLearner", False))

    def _postgres_leads(self) -> bool:
        """Whether this host's Patroni holds the lock of the cluster."""
        request = urllib.request.Request(f"{self._given.patroni}/leader", method="HEAD")
        try:
            with self._opener.open(request, timeout=ANSWER_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def _heir(self, own: Voter) -> Voter | None:
        """Return the first of the other voters that follows this one."""
        for url in self._given.other:
            try:
                voter = self._voter(url)
            except (OSError, ValueError, KeyError):
                continue
            if voter.votes and voter.leader == own.identifier:
                return voter
        return None

    def turn(self) -> str:
        """Look once, and hand etcd over if it has to be; return what was done or is wrong, empty if all is as it should be.

        Raises:
            OSError: this host's etcd or Patroni does not answer, or the handover failed.
            ValueError, KeyError: etcd answers as none.
        """
        own = self._voter(self._given.etcd)
        if not own.leads or not self._postgres_leads():
            return ""
        heir = self._heir(own)
        if heir is None:
            return "leads etcd beside the primary, and no other voter can take it over"
        self._call(own.url, "transfer-leadership", {"targetID": heir.identifier})
        return f"led etcd beside the primary; {heir.url} leads it now"


def main() -> t.NoReturn:
    """Look from time to time, for ever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--etcd", required=True, help="URL of this host's etcd")
    parser.add_argument("--other", action="append", default=[], help="URL of another voter; the first that follows is taken")
    parser.add_argument("--patroni", required=True, help="URL of this host's Patroni")
    parser.add_argument("--ca", help="file of the authority that all are checked by")
    parser.add_argument("--cert", help="file of the certificate that etcd is shown")
    parser.add_argument("--key", help="file of its key")
    parser.add_argument("--interval", type=float, default=5, help="seconds between two looks")
    arguments, said = parser.parse_args(), ""
    while True:
        try:
            found = Host(arguments).turn()
        except (OSError, ValueError, KeyError) as error:
            found = f"cannot look: {error}"
        if found and found != said:
            print(found, flush=True)
        said = found
        time.sleep(arguments.interval)


if __name__ == "__main__":
    main()
