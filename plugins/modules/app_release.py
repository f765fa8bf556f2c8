#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the releases of an application on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release
version_added: "0.1.0"
short_description: Unpack, record, prune and lock the releases of an application
description:
  - Works on the folder that the role C(app_host) keeps for an application, with its releases side by side.
  - An archive is read on the controller, and transferred only if its release is not unpacked yet.
  - It is checked member by member, unpacked beside the others, and put in place by one rename.
extends_documentation_fragment:
  - mainstay.ops.attributes
author:
  - Mainstay Operations (@mainstay)
options:
  root:
    description: Folder of the application.
    type: path
    required: true
  state:
    description:
      - V(present) unpacks O(archive) as O(release).
        A release of this name with other content is replaced, unless it is live or what a rollback leads to; that is an error.
      - V(live) records that O(release) went live in O(slot).
      - V(pruned) removes all but the newest O(keep) releases, never one that is live, in a slot, or what a rollback leads to.
      - V(locked) takes the lock that keeps other runs out, V(unlocked) gives it back. From a run on the same controller that was killed it is taken over by
        itself; from one that is alive there it is not, however old it is. A run that holds it already says with V(locked) that it is alive.
    type: str
    choices: [present, live, pruned, locked, unlocked]
    default: present
  release:
    description: Name of the release. Required with O(state=present) and O(state=live).
    type: str
  archive:
    description: Path of a tar archive on the controller, of any compression that Python knows. Required with O(state=present).
    type: path
  sha256:
    description: What the archive's SHA-256 must be. Unset, it is computed on the controller and compared after the transfer.
    type: str
  uploaded:
    description: Where the archive was put on the host. Set by the module's controller side, never by a task.
    type: path
  slot:
    description: Name of the slot. Required with O(state=live).
    type: str
  kind:
    description:
      - How the release became live.
      - After V(rollback), a further rollback leads further back, never to the release that was left.
      - V(contract) records of the live release that the database was changed so that there is no way back.
    type: str
    choices: [deploy, canary, rollback, contract]
    default: deploy
  by:
    description: Who does it, for the record and for those who find the lock.
    type: str
    default: ""
  success:
    description:
      - How the run ended that gives its lock back by O(state=unlocked), for O(figures); O(release), O(kind) and O(seconds) belong to it.
      - Unset, what is known of the last run stays.
    type: bool
  seconds:
    description: How long that run took.
    type: float
    default: 0.0
  figures:
    description:
      - Where V(live), V(locked) and V(unlocked) leave figures for Prometheus, as C(mainstay_deploy_*) - what serves, how the last run ended, and the lock.
      - Where the folder of the file is missing there is no node exporter, and nothing is written. What cannot be written is a warning.
    type: dict
    suboptions:
      path:
        description: The file, which must end in C(.prom).
        type: path
        required: true
      application:
        description: Name of the application.
        type: str
        required: true
      slots:
        description: The port of each slot.
        type: dict
        default: {}
  keep:
    description: How many releases O(state=pruned) keeps.
    type: int
    default: 5
  owner:
    description:
      - The run that the lock belongs to. Required with O(state=locked).
      - V(unlocked) without it takes the lock from whoever has it.
    type: str
    default: ""
  lock_timeout:
    description: Seconds without a sign of life after which the lock of a run of another controller counts as left behind.
    type: int
    default: 3600
  renew:
    description: Whether O(state=locked) only says that the run is alive, and fails where it does not hold the lock any more.
    type: bool
    default: false
  force:
    description: Whether O(state=locked) takes the lock from any run, also from one that may be alive.
    type: bool
    default: false
  gone:
    description: The owner of a lock whose run is gone. Set by the module's controller side, never by a task.
    type: str
    default: ""
  unknown:
    description: The owner of a lock whose run cannot be judged from this controller. Set by the module's controller side, never by a task.
    type: str
    default: ""
  controller:
    description: The process of the run. Set by the module's controller side, never by a task.
    type: dict
    default: {}
seealso:
  - module: mainstay.ops.app_release_info
"""

EXAMPLES = r"""
- name: Fetch | Unpack the release
  mainstay.ops.app_release:
    root: /srv/shop
    release: "2"
    archive: /builds/shop-2.tar.gz

- name: Record | Say that it is live
  mainstay.ops.app_release:
    root: /srv/shop
    state: live
    release: "2"
    slot: green

- name: Record | Keep three releases
  mainstay.ops.app_release:
    root: /srv/shop
    state: pruned
    keep: 3

- name: Record | Give the lock back, and leave figures
  mainstay.ops.app_release:
    root: /srv/shop
    state: unlocked
    owner: 20261122T180000-4711
    release: "2"
    success: true
    seconds: 93.4
    figures:
      path: /var/lib/prometheus/node-exporter/mainstay-deploy-shop.prom
      application: shop
      slots: {blue: 8000, green: 8001}
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in words.
  returned: success
  type: list
  elements: str
  sample: [unpack release 2]
release:
  description: The release that was asked for, empty if none was.
  returned: success
  type: str
  sample: "2"
path:
  description: Folder of that release, empty if none was asked for.
  returned: success
  type: str
  sample: /srv/shop/releases/2
removed:
  description: The releases that O(state=pruned) removed.
  returned: success
  type: list
  elements: str
  sample: ["1"]
taken_over:
  description: The lock of the run that O(state=locked) took it from, empty if it was free or held already.
  returned: success
  type: dict
  sample: {owner: 20261122T180000-4711, by: ops@controller, since: 1795370400.0, renewed: 1795370400.0, controller: {host: controller, pid: 4711}}
diff:
  description: Before and after, as lists of the releases, the live record, or the lock.
  returned: success
  type: dict
  sample: {before: "releases: 1\n", after: "releases: 1, 2\n"}
"""

import dataclasses
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import InvalidInput, MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._release import apply, figures
from ansible_collections.mainstay.ops.plugins.module_utils._release.home import KINDS, Home, Lock, Run, State, check_name, describe
from ansible_collections.mainstay.ops.plugins.module_utils._release.plan import Taking, next_record, plan_locked, plan_present, plan_pruned, plan_renewed

Outcome = t.Dict[str, t.Any]


def _outcome(actions: list[str], before: str, after: str, **more: t.Any) -> Outcome:
    diff = {"before": f"{before}\n", "after": f"{after}\n"}
    return {"changed": bool(actions), "actions": actions, "removed": [], "taken_over": {}, "diff": diff, **more}


def _names(state: State) -> list[str]:
    return [found.release for found in state.releases]


def ensure_present(home: Home, params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Unpack the archive; without one that was transferred, say whether it is needed."""
    state, release = home.read(), params["release"]
    todo = plan_present(state, release, params["sha256"] or "")
    before = ", ".join(_names(state)) or "none"
    if todo == "unchanged":
        return _outcome([], f"releases: {before}", f"releases: {before}")
    if params["uploaded"] and not check_mode:
        apply.unpack(home, release, params["uploaded"], params["sha256"] or "")
    after = ", ".join([name for name in _names(state) if name != release] + [release])
    return _outcome([f"{todo} release {release}"], f"releases: {before}", f"releases: {after}")


def ensure_live(home: Home, params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Record what went live."""
    state = home.read()
    if check_mode and state.installed(params["release"]) is None:
        return _outcome([f"record release {params['release']} as live in {params['slot']}"], describe(state.live), f"{params['release']} is live")
    new = next_record(state, params["release"], params["slot"], params["kind"])
    if new is None:
        return _outcome([], describe(state.live), describe(state.live))
    if not check_mode:
        apply.record(home, state, new, params["by"])
    return _outcome([f"record release {new.release} as live in {new.slot}"], describe(state.live), describe(new))


def ensure_pruned(home: Home, params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Remove old releases."""
    if params["keep"] < 1:
        raise InvalidInput("prune the releases", "keep must be at least 1")
    state = home.read()
    removed = plan_pruned(state, params["keep"])
    if not check_mode:
        apply.remove(home, removed)
    after = [name for name in _names(state) if name not in removed]
    return _outcome([f"remove release {name}" for name in removed], f"releases: {', '.join(_names(state))}", f"releases: {', '.join(after)}",
                    removed=removed)


def ensure_locked(home: Home, params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Take the lock."""
    wanted = Lock(params["owner"], params["by"], 0.0, controller=params["controller"])

    def plan(lock: Lock | None, now: float) -> Taking:
        if params["renew"]:
            return plan_renewed(lock, params["owner"], now)
        return plan_locked(lock, params["owner"], now, params["lock_timeout"], params["gone"], params["unknown"], params["force"])

    taking = apply.take_lock(home, wanted, plan, check_mode)
    if not taking.needed:
        return _outcome([], "locked", "locked")
    if taking.displaced is None:
        return _outcome(["take the lock"], "free", "locked")
    lost = taking.displaced
    return _outcome([f"take the lock from the run {lost.owner}"], f"locked by {lost.owner}", "locked", taken_over=dataclasses.asdict(lost))


def ensure_unlocked(home: Home, params: dict[str, t.Any], check_mode: bool) -> Outcome:
    """Give the lock back."""
    run = None
    if params["success"] is not None:
        run = Run(round(time.time(), 3), params["kind"], params["release"] or "", params["success"], params["seconds"])
    given = apply.release_lock(home, params["owner"], check_mode, run)
    return _outcome(["give the lock back"] if given else [], "locked" if given else "free", "free")


#: The states after which other figures may be told.
TOLD = ("live", "locked", "unlocked")
FIGURES: dict[str, t.Any] = {
    "path": {"type": "path", "required": True}, "application": {"type": "str", "required": True}, "slots": {"type": "dict", "default": {}},
}
ENSURE = {"present": ensure_present, "live": ensure_live, "pruned": ensure_pruned, "locked": ensure_locked, "unlocked": ensure_unlocked}


def argument_spec() -> dict[str, t.Any]:
    """The options; ``uploaded`` is where the action plugin has put the archive, ``gone``, ``unknown`` and ``controller`` are what it knows of processes."""
    return {
        "root": {"type": "path", "required": True},
        "state": {"type": "str", "choices": list(ENSURE), "default": "present"},
        "release": {"type": "str"},
        "archive": {"type": "path"},
        "sha256": {"type": "str"},
        "slot": {"type": "str"},
        "kind": {"type": "str", "choices": list(KINDS), "default": "deploy"},
        "by": {"type": "str", "default": ""},
        "success": {"type": "bool"},
        "seconds": {"type": "float", "default": 0.0},
        "figures": {"type": "dict", "options": FIGURES},
        "keep": {"type": "int", "default": 5},
        "owner": {"type": "str", "default": ""},
        "lock_timeout": {"type": "int", "default": 3600},
        "renew": {"type": "bool", "default": False},
        "force": {"type": "bool", "default": False},
        "gone": {"type": "str", "default": ""},
        "unknown": {"type": "str", "default": ""},
        "controller": {"type": "dict", "default": {}},
        "uploaded": {"type": "path"},
    }


def main() -> None:
    """Entry point of the module."""
    required = [("state", "present", ["release", "archive"]), ("state", "live", ["release", "slot"]), ("state", "locked", ["owner"])]
    module = AnsibleModule(argument_spec=argument_spec(), required_if=required, supports_check_mode=True)
    params = module.params
    home = Home(params["root"])
    try:
        for what in ("release", "slot"):
            if params[what] is not None:
                check_name(what, params[what])
        place = figures.Place.of(params["figures"]) if params["figures"] else None
        result = ENSURE[params["state"]](home, params, module.check_mode)
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    if place is not None and params["state"] in TOLD and not module.check_mode and (problem := figures.write(home, place)):
        module.warn(problem)
    release = params["release"] or ""
    module.exit_json(release=release, path=home.release(release) if release else "", **result)


if __name__ == "__main__":
    main()
