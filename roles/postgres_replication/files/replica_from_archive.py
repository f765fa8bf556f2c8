# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a standby of a member's data directory from pgBackRest's repository; Patroni runs it as a replica method.

A standby can follow its primary only from a backup of the same cluster that was taken before the primary's history parted from it. pgBackRest takes the
newest backup, which after a point-in-time restore may be of a history that was given up, or of an older cluster. So the primary is asked, the newest backup
that fits is named, and only the files that differ are fetched. Without such a backup this fails, and Patroni goes on with the next method.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import typing as t


@dataclasses.dataclass(frozen=True)
class Primary:
    """The primary that a standby is to follow.

    Args:
        system_id: identifier of its cluster.
        timeline: the timeline that it writes.
        parted: for each older timeline of its history, the position at which the next one began.
    """

    system_id: int
    timeline: int
    parted: t.Mapping[int, int]


def position(lsn: str) -> int:
    """Return a position in the log, such as ``0/1A2B3C4``, as a number."""
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)


def history(text: str) -> dict[int, int]:
    """Return, for each timeline of a history file, the position at which it was left.

    Args:
        text: lines of a timeline, the position and a reason, as in PostgreSQL's ``TLI.history``.
    """
    found = (re.match(r"\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", line) for line in text.splitlines())
    return {int(match[1]): position(match[2]) for match in found if match}


def choose(stanzas: t.Sequence[t.Mapping[str, t.Any]], name: str, primary: Primary) -> str:
    """Return the label of the newest good backup from which a standby can follow the primary; empty if there is none.

    Args:
        stanzas: what ``pgbackrest info --output=json`` says.
        name: the stanza.
        primary: whom to follow.
    """
    chosen = ""
    for stanza in stanzas:
        if stanza.get("name") != name:
            continue
        clusters = {(entry["id"], entry.get("repo-key", 1)): entry["system-id"] for entry in stanza.get("db", ())}
        for backup in stanza.get("backup", ()):
            cluster = clusters.get((backup["database"]["id"], backup["database"].get("repo-key", 1)))
            if not backup.get("error") and cluster == primary.system_id and _follows(backup, primary):
                chosen = max(chosen, backup["label"], key=lambda label: label.rsplit("_", 1)[-1][:15])
    return chosen


def _follows(backup: t.Mapping[str, t.Any], primary: Primary) -> bool:
    if not (backup.get("archive") or {}).get("stop") or not (backup.get("lsn") or {}).get("stop"):
        return False
    timeline = int(backup["archive"]["stop"][:8], 16)
    return timeline == primary.timeline or position(backup["lsn"]["stop"]) <= primary.parted.get(timeline, -1)


def ask(connection_string: str) -> Primary:
    """Ask the primary over the replication protocol, as the user that standbys log in as."""
    import psycopg2
    import psycopg2.extras

    connection = psycopg2.connect(connection_string, connection_factory=psycopg2.extras.PhysicalReplicationConnection, connect_timeout=10)
    try:
        with connection.cursor() as cursor:
            cursor.execute("IDENTIFY_SYSTEM")
            system_id, timeline = cursor.fetchone()[:2]
            parted: dict[int, int] = {}
            if int(timeline) > 1:
                cursor.execute(f"TIMELINE_HISTORY {int(timeline)}")
                content = cursor.fetchone()[1]
                parted = history(content if isinstance(content, str) else bytes(content).decode())
    finally:
        connection.close()
    return Primary(int(system_id), int(timeline), parted)


def main(arguments: t.Sequence[str]) -> int:
    """Run it; Patroni gives the data directory and the connection."""
    parser = argparse.ArgumentParser(description="Makes a standby from pgBackRest's repository.")
    parser.add_argument("--stanza", required=True)
    parser.add_argument("--datadir", required=True)
    parser.add_argument("--connstring", required=True)
    known = parser.parse_known_args(arguments)[0]
    if not known.connstring:
        print("There is no member to follow, so there is nothing to choose a backup by.", file=sys.stderr)
        return 1
    said = subprocess.run(["pgbackrest", f"--stanza={known.stanza}", "--output=json", "info"], stdout=subprocess.PIPE, check=True).stdout
    label = choose(json.loads(said), known.stanza, ask(known.connstring))
    if not label:
        print(f"No backup in the repository of {known.stanza} is one from which this member could follow the primary.", file=sys.stderr)
        return 1
    print(f"Restoring {label} into {known.datadir}.", file=sys.stderr)
    command = ["pgbackrest", f"--stanza={known.stanza}", f"--pg1-path={known.datadir}", f"--set={label}", "--delta", "--type=standby", "restore"]
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
