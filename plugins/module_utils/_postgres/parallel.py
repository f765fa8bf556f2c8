# Copyright: (c) 2026, Mainstay Operations
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several things at once, of which the first that fails stops the others."""

from __future__ import annotations

import collections
import threading
import typing as t

from ansible_collections.mainstay.ops.plugins.module_utils._process import end_all

LOOK_SECONDS = 0.2
T = t.TypeVar("T")


class Stopped(Exception):
    """Something else failed first."""


class Group:
    """Threads that work through tasks. Whatever blocks one of them (a program, a query) can be ended from outside.

    The caller's thread only waits, so that a signal to the module takes effect at once even while a query runs.
    """

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._lock = threading.Lock()
        self._connections: set[t.Any] = set()
        self.stopping = threading.Event()
        self.error: BaseException | None = None

    def watch(self, connection: t.Any) -> None:
        """Cancel this connection's running query when the group stops; called from the thread that uses it.

        Raises:
            Stopped: the group stops already.
        """
        with self._lock:
            if self.stopping.is_set():
                raise Stopped
            self._connections.add(connection)

    def release(self, connection: t.Any) -> None:
        """Watch this connection no longer: it is about to be closed."""
        with self._lock:
            self._connections.discard(connection)

    def run(self, tasks: t.Mapping[str, t.Callable[[], T]], jobs: int) -> dict[str, T]:
        """Run tasks, at most ``jobs`` at once, begun in their order; return the results by name.

        Nothing runs any more when this returns or raises, whichever way.

        Raises:
            BaseException: what the first task that failed raised, or what came into the caller's own thread.
        """
        waiting = collections.deque(tasks.items())
        results: dict[str, T] = {}
        count = max(1, min(jobs, len(tasks)))
        ended = threading.Semaphore(0)

        def work() -> None:
            try:
                while not self.stopping.is_set():
                    try:
                        name, task = waiting.popleft()
                    except IndexError:
                        return
                    results[name] = task()
            except BaseException as error:  # handed on by the caller's thread
                self._fail(error)
            finally:
                ended.release()

        started = 0
        try:
            for _unused in range(count):
                threading.Thread(target=work, daemon=True).start()
                started += 1
            while started and not self.stopping.is_set():
                started -= ended.acquire()
        finally:
            self._stop(ended, started)
        if self.error is not None:
            raise self.error
        return results

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if not self.stopping.is_set():
                self.error = error
                self.stopping.set()

    def _stop(self, ended: threading.Semaphore, running: int) -> None:
        """End what still runs, again and again until every thread has seen it: one may just be starting its next program.

        (Not by joining the threads: when a signal interrupts that, CPython 3.11 takes a running thread for one that has ended.)
        """
        self.stopping.set()
        while running:
            end_all()
            with self._lock:
                for connection in self._connections:
                    connection.cancel()
            running -= ended.acquire(timeout=LOOK_SECONDS)
