"""Ends what takes too long: tasks, and processes that do not go when they should.

Used by the thread of ``_pool.backend``.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import os
import signal
from collections.abc import Callable

from .._ipc.crash_report import STACK_SIGNAL
from .deadlines import Deadlines
from .supervisor import Supervision
from .workers import Child, Roster

__all__ = ["Lateness"]

# Time to write the stack, or to be noticed as dead, before SIGKILL.
GRACE_SECONDS = 1.0
# Time after which a SIGKILL that the supervisor has not carried out is sent from here. It is busy then, with
# an import of a module that children are to share.
KILL_SECONDS = 2.0


class Lateness:
    """Watches the time that children take.

    Args:
        task_timeout: seconds that a task may run; None: no limit.
        roster: which of them have been told to leave.
        supervision: has signals sent.
    """

    def __init__(self, task_timeout: float | None, roster: Roster, supervision: Supervision) -> None:
        self._roster = roster
        self._supervision = supervision
        self._tasks: Deadlines[Child] = Deadlines(task_timeout)
        self._grace: Deadlines[Child] = Deadlines(GRACE_SECONDS)
        self._killed: Deadlines[Child] = Deadlines(KILL_SECONDS)
        self._own = (self._tasks, self._grace, self._killed)

    def begin(self, child: Child, now: float) -> None:
        """Note that the child begins a task."""
        if not child.timed_out:
            self._tasks.start(child, now)

    def rest(self, child: Child) -> None:
        """Note that the child has no task any more."""
        self._tasks.stop(child)

    def lost_touch(self, child: Child) -> None:
        """Note that the child has closed its connection: it is dead, or of no use any more."""
        if not child.retiring:
            self._grace.start(child)

    def forget(self, child: Child) -> None:
        """Note that the child is gone."""
        self._tasks.stop(child)
        self._grace.stop(child)
        self._killed.stop(child)

    def next(self) -> float | None:
        """Return when something is due, on the clock of ``time.monotonic``; None where nothing is."""
        due = self._roster.retirement.next()
        for deadlines in self._own:
            one = deadlines.next()
            if one is not None and (due is None or one < due):
                due = one
        return due

    def kill(self, child: Child, number: int) -> None:
        """Have a signal sent to the child; SIGKILL is seen to."""
        self._supervision.kill(child, number)
        if number == signal.SIGKILL:
            self._killed.start(child)

    def look(self, hear: Callable[[Child], None], stop: Callable[[Child], None]) -> bool:
        """End what is due.

        Args:
            hear: takes what a child has written so far. This thread may have been late itself.
            stop: has a child begin none of the other tasks that it has.

        Returns:
            Whether the supervisor is late with a kill, and every process that it has is to be killed.
        """
        for child in self._roster.retirement.expired():
            self.kill(child, signal.SIGKILL)
        for child in self._tasks.expired():
            hear(child)
            if child.work is not None and child not in self._tasks:
                child.timed_out = True
                stop(child)
                # Should the outcome still come, nothing else may be run there.
                self._roster.leave(child)
                self._supervision.kill(child, STACK_SIGNAL)
                self._grace.start(child)
        for child in self._grace.expired():
            child.condemned = True
            self.kill(child, signal.SIGKILL)
        stuck = self._killed.expired()
        for child in stuck:
            if child.pid is not None:
                # It has not been reaped, so the number is still its own.
                with contextlib.suppress(OSError):
                    os.kill(child.pid, signal.SIGKILL)
            self._killed.start(child)
        return bool(stuck) and all(child in self._killed for child in self._roster)
