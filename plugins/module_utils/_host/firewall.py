# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A ruleset in the kernel: loaded as one transaction, and taken back by a timer unless somebody confirms it over a new connection."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._host import way_back
from ansible_collections.mainstay.ops.plugins.module_utils._host.ruleset import TABLE
from ansible_collections.mainstay.ops.plugins.module_utils._host.way_back import Run

NFT = "/usr/sbin/nft"
STATE_DIR = "/var/lib/mainstay/firewall"
BOOT_FILE = "/etc/mainstay/firewall.nft"
TIMER = "mainstay-firewall-restore"
# Within one transaction: there is never a moment without rules, and never one with the old and the new ones.
REPLACE = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
_DOING = "load the rules of the firewall"


@dataclass(frozen=True)
class Current:
    """What the kernel has.

    Attributes:
        installed: whether nftables is there.
        refused: why the kernel does not let us look, empty if it does.
        table: our table without counters, empty if it has none.
        loaded: SHA-256 of the ruleset that was confirmed and is still in the kernel as it was, else empty.
        stored: whether the next boot loads it.
    """

    installed: bool
    refused: str
    table: str
    loaded: str
    stored: bool


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(run: Run) -> Current:
    """What the kernel has now."""
    if not os.path.exists(NFT):
        return Current(False, "", "", "", False)
    code, _output, errors = run([NFT, "list", "tables"])
    if code != 0:
        return Current(True, errors.strip().splitlines()[-1] if errors.strip() else f"nft ended with status {code}", "", "", False)
    code, table, _errors = run([NFT, "--stateless", "list", "table", "inet", TABLE])
    table = table if code == 0 else ""
    known = _known()
    return Current(True, "", table, known.get("ruleset", "") if table and known.get("kernel") == digest(table) else "", _stored() == known.get("ruleset"))


def _known() -> dict[str, str]:
    """What was confirmed last."""
    try:
        with open(f"{STATE_DIR}/loaded.json", encoding="utf-8") as stream:
            return json.load(stream)
    except (FileNotFoundError, ValueError):
        return {}


def _stored() -> str:
    """SHA-256 of the ruleset that the next boot loads."""
    text = way_back.read(BOOT_FILE)
    return "" if text is None else digest(text.removeprefix(REPLACE))


def is_current(current: Current, ruleset: str) -> bool:
    """Whether the kernel and the next boot have this ruleset."""
    return current.loaded == digest(ruleset) and current.stored


def check(run: Run, ruleset: str) -> None:
    """Let nftables judge a ruleset, without loading it.

    Raises:
        MainstayError: it is not one.
    """
    refused = _judge(run, ruleset)
    if refused:
        raise MainstayError(_DOING, f"nft: {refused}", "the former rules stay; correct base_flows")


def _judge(run: Run, ruleset: str) -> str:
    """What nftables has against a ruleset, empty for nothing."""
    code, _output, errors = run([NFT, "--check", "--file", "-"], data=REPLACE + ruleset)
    return _first(errors) if code != 0 else ""


def _first(errors: str) -> str:
    """The first sentence of what nft says."""
    lines = [line for line in errors.strip().splitlines() if "rror" in line]
    return (lines or errors.strip().splitlines() or ["it gave no reason"])[0].strip()


def load(run: Run, current: Current, ruleset: str, seconds: int) -> None:
    """Load a ruleset, with a timer set before that brings the former one back.

    Args:
        run: runs a program.
        current: what the kernel has.
        ruleset: what it is to have.
        seconds: after which time the former one comes back, unless the new one is confirmed.

    Raises:
        MainstayError: there is no way back, the timer could not be set, or the kernel refused the ruleset; the former one stays.
    """
    check(run, ruleset)
    former = _former(run, current)
    way_back.write(f"{STATE_DIR}/restore.nft", REPLACE + former)
    way_back.write(f"{STATE_DIR}/pending.nft", REPLACE + ruleset)
    way_back.arm(run, TIMER, seconds, [NFT, "--file", f"{STATE_DIR}/restore.nft"], _DOING)
    code, _output, errors = run([NFT, "--file", f"{STATE_DIR}/pending.nft"])
    if code != 0:
        way_back.disarm(run, TIMER)
        raise MainstayError(_DOING, f"nft: {_first(errors)}", "the former rules stay; correct base_flows")


def _former(run: Run, current: Current) -> str:
    """The text that brings back what is in the kernel now, judged by nftables: it does not read back all that it prints.

    Raises:
        MainstayError: nothing brings it back.
    """
    if not current.table:
        return ""
    if current.loaded and current.stored:
        text = (way_back.read(BOOT_FILE) or "").removeprefix(REPLACE)
    else:
        code, text, errors = run([NFT, "list", "table", "inet", TABLE])
        if code != 0:
            raise MainstayError(_DOING, f"the present rules could not be read: {_first(errors)}", "nothing was changed")
        # The ports of a connection's first packet are printed with this remark, which is not read back.
        text = text.replace(" [invalid type]", "")
    refused = _judge(run, text)
    if refused:
        next_step = f"without a way back nothing was loaded; somebody has changed the table: remove it by nft delete table inet {TABLE}"
        raise MainstayError(_DOING, f"nftables could not bring the present rules back ({refused})", next_step)
    return text


def confirm(run: Run, ruleset: str) -> None:
    """Keep what was loaded: stop the timer, and let the next boot load it.

    Raises:
        MainstayError: the former rules came back already.
    """
    was_armed = way_back.disarm(run, TIMER)
    code, table, _errors = run([NFT, "--stateless", "list", "table", "inet", TABLE])
    if not was_armed or code != 0:
        cause = "no new connection got through in time, and the host has brought the former rules back"
        raise MainstayError(_DOING, cause, "let the controller in by base_firewall_ssh_from, or give it more time by base_firewall_rollback_after")
    way_back.write(BOOT_FILE, REPLACE + ruleset)
    way_back.write(f"{STATE_DIR}/loaded.json", json.dumps({"ruleset": digest(ruleset), "kernel": digest(table)}) + "\n")
    way_back.remove(f"{STATE_DIR}/restore.nft", f"{STATE_DIR}/pending.nft")


def unload(run: Run) -> None:
    """Take our table out of the kernel and out of the next boot.

    Raises:
        MainstayError: the kernel refuses.
    """
    way_back.disarm(run, TIMER)
    code, _output, errors = run([NFT, "--file", "-"], data=REPLACE)
    if code != 0:
        raise MainstayError("remove the rules of the firewall", f"nft: {_first(errors)}", "look at: nft list ruleset")
    way_back.remove(BOOT_FILE, f"{STATE_DIR}/loaded.json")


def refuse_what_cannot_be(current: Current) -> None:
    """Stop where the kernel does not take rules.

    Raises:
        InvalidInput: it does not.
    """
    if current.refused:
        raise InvalidInput(_DOING, f"the kernel refuses to show its rules ({current.refused})", "give the container NET_ADMIN, or set base_firewall to false")
