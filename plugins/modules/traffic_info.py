#!/usr/bin/python
# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what the users of each pool of servers got, by nginx's access log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: traffic_info
version_added: "1.0.0"
short_description: Say what the users of each pool of servers got, by nginx's access log
description:
  - Reads a window of the JSON access log that the role C(nginx_tls) lets nginx write on a balancer, and counts requests, errors and times for each pool.
  - A pool is what nginx calls C($proxy_host), here the name of an upstream and a slot, such as V(ledger_blue).
  - The times are returned as a histogram too, so that the figures of several balancers can be added up before percentiles are taken. The filter
    P(mainstay.ops.traffic_verdict#filter) does so, and judges a new release beside the old one.
  - A log that is rotated within the window is followed, as long as the rotated file is not packed.
extends_documentation_fragment:
  - mainstay.ops.attributes.info_module
author:
  - Mainstay Operations (@mainstay)
options:
  path:
    description: The log. If it does not exist, there were no requests.
    type: path
    default: /var/log/nginx/access.log
  since:
    description:
      - Where the window begins, as RV(position) of an earlier call.
      - Without it and O(seconds) nothing is counted, and RV(position) is the end of the log.
    type: dict
    suboptions:
      inode:
        description: Inode of the file, 0 if there was none.
        type: int
        required: true
      offset:
        description: Bytes before the window.
        type: int
        required: true
      time:
        description: Seconds of the epoch, by the balancer's clock. They count where the file is not found any more.
        type: float
        required: true
  seconds:
    description: The window is the last so many seconds. Mutually exclusive with O(since).
    type: float
  pools:
    description: The pools to count, in this order. Empty for all that are in the window, in the order of their names.
    type: list
    elements: str
    default: []
notes:
  - A request is logged when it ends, and is part of the window in which it ended.
seealso:
  - plugin: mainstay.ops.traffic_verdict
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Gate | Note where the log ends
  mainstay.ops.traffic_info:
    path: /var/log/nginx/access.log
  register: before

- name: Gate | See what the users of both slots got since
  mainstay.ops.traffic_info:
    since: "{{ before.position }}"
    pools: [shop_blue, shop_green]
  register: traffic

- name: Report | See what the last five minutes were like
  mainstay.ops.traffic_info:
    seconds: 300
"""

RETURN = r"""
pools:
  description: One entry for each pool, empty without O(since) and O(seconds).
  returned: success
  type: list
  elements: dict
  contains:
    pool:
      description: Its name.
      type: str
    requests:
      description: Requests that ended in the window.
      type: int
    errors:
      description: Those answered with a status of 500 or more.
      type: int
    aborted:
      description: Those that the client gave up, which nginx logs as 499. They are no errors.
      type: int
    retried:
      description: Those answered well after a server of the pool had failed.
      type: int
    error_ratio:
      description: Errors among those that were answered.
      type: float
    p50:
      description: Median of the seconds that the servers took; null without one.
      type: float
    p95:
      description: Their 95th percentile.
      type: float
    p99:
      description: Their 99th percentile.
      type: float
    times:
      description: Lists of milliseconds and how many requests took so long. Above a second they are rounded up by at most one percent.
      type: list
      elements: list
  sample: [{pool: shop_green, requests: 812, errors: 0, aborted: 1, retried: 0, error_ratio: 0.0, p50: 0.004, p95: 0.011, p99: 0.02, times: [[4, 811]]}]
position:
  description: Where the window ends, to begin the next one.
  returned: success
  type: dict
  sample: {inode: 4711, offset: 81092, time: 1795370400.5}
complete:
  description: Whether the whole window was there; not if its beginning was packed, truncated or removed.
  returned: success
  type: bool
unreadable:
  description: Lines that are no JSON, or lack a field.
  returned: success
  type: int
readable:
  description: Lines of the window that could be understood, of any pool.
  returned: success
  type: int
"""

import dataclasses
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.mainstay.ops.plugins.module_utils._errors import MainstayError
from ansible_collections.mainstay.ops.plugins.module_utils._traffic.log import Position, Window, end_of, read


def look(path: str, since: dict[str, t.Any] | None, seconds: float | None, pools: list[str]) -> Window:
    """Read the window that was asked for."""
    if since is None and seconds is None:
        return Window({}, end_of(path), True, 0)
    begin = Position(since["inode"], since["offset"], since["time"]) if since is not None else Position(0, 0, time.time() - t.cast(float, seconds))
    return read(path, begin, pools)


def main() -> None:
    """Entry point of the module."""
    place = {"inode": {"type": "int", "required": True}, "offset": {"type": "int", "required": True}, "time": {"type": "float", "required": True}}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "default": "/var/log/nginx/access.log"},
            "since": {"type": "dict", "options": place},
            "seconds": {"type": "float"},
            "pools": {"type": "list", "elements": "str", "default": []},
        },
        mutually_exclusive=[("since", "seconds")],
        supports_check_mode=True,
    )
    params = module.params
    try:
        window = look(params["path"], params["since"], params["seconds"], params["pools"])
    except MainstayError as exc:
        module.fail_json(msg=str(exc), **exc.details)
    names = params["pools"] if window.pools else []
    pools = [{"pool": name, **window.pools[name].as_dict()} for name in names or sorted(window.pools)]
    module.exit_json(changed=False, pools=pools, position=dataclasses.asdict(window.position), complete=window.complete, unreadable=window.unreadable,
                     readable=window.readable)


if __name__ == "__main__":
    main()
