"""The books on an executor's children: who is where, and how many more are needed. No input or output.

A child goes through these states, and each task process is in exactly one record:

    starting ──ready──> idle <──────> busy ──last task given──> leaving ──outcome──> retiring ──> gone

A child is *leaving* once it was given the last task it may run. From then on it no longer counts as
one of the ``max_workers``, so the next one is started while it works; that never more than
``max_workers`` tasks run at once is seen to by :meth:`Roster.take_idle`. In whatever state a child
is, it is gone when its supervisor has reaped it. Used by one thread.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from time import monotonic

from .._core.work import Work
from .._ipc.crash_report import Report
from .._ipc.frames import Channel
from .._memory import proc
from .deadlines import Deadlines

__all__ = ["Child", "Roster"]

# Time for a child's own exit handlers before it is killed.
RETIREMENT_SECONDS = 5.0


class Child:
    """The record of one task process.

    Attributes:
        limit: tasks that it may run; None for no limit.
        left: tasks that it may still be given.
        pid: known once it is ready.
        idle_bytes: resident memory before its first task, where that is measured.
        leaving: it runs nothing after its current item.
        work: what it runs.
        next: what it was given to run after that.
        turn: number of the work it was given last, among all that it was.
        work_turn: the same of ``work``.
        since: when it was started, or began its current item, on the clock of ``time.monotonic``.
        has_finished: it has brought an outcome.
        retiring: it has no work and was told to leave.
        timed_out: its item has run for too long, and it is to end for that.
        revoked: it is killed because nobody wants its item any more.
        condemned: it is to be killed and its end awaited, whatever it still brings.
        place: its place on the board, if there is one.
        report: where it leaves its last words, if it was asked to.
        sent: its end of the socket pair, until it is ready, where that has to be kept.
    """

    __slots__ = (
        "channel",
        "condemned",
        "has_finished",
        "ident",
        "idle_bytes",
        "leaving",
        "left",
        "limit",
        "next",
        "pid",
        "place",
        "report",
        "retiring",
        "revoked",
        "sent",
        "since",
        "timed_out",
        "turn",
        "work",
        "work_turn",
    )

    def __init__(self, ident: int, channel: Channel, left: int | None) -> None:
        self.ident = ident
        self.channel = channel
        self.limit = left
        self.left = left
        self.pid: int | None = None
        self.idle_bytes = 0
        self.leaving = False
        self.work: Work | None = None
        self.next: Work | None = None
        self.turn = 0
        self.work_turn = 0
        self.since = monotonic()
        self.has_finished = False
        self.retiring = False
        self.timed_out = False
        self.revoked = False
        self.condemned = False
        self.place: int | None = None
        self.report: Report | None = None
        self.sent: socket.socket | None = None


class Roster:
    """Keeps the records of all children that have been started and not reaped.

    Args:
        max_workers: tasks that may run at once.
        limit: tasks a child may run, None for no limit.
        jitter: up to so many more, at random for each child.

    Attributes:
        max_workers: tasks that may run at once.
        busy: children that run something.
        alone: what runs wants nothing else beside it.
        retirement: when those that retire are due.
        released: work that was taken away from a child in this round of the thread.
    """

    def __init__(self, max_workers: int, limit: int | None, jitter: int) -> None:
        self.busy = 0
        self.alone = False
        self.retirement: Deadlines[Child] = Deadlines(RETIREMENT_SECONDS)
        self.max_workers = max_workers
        self.released: list[Work] = []
        self._limit = limit
        self._jitter = jitter
        self._children: dict[int, Child] = {}
        self._idle: list[Child] = []
        self._last_ident = 0
        self._live = 0  # neither leaving nor retiring
        self._live_busy = 0
        self._wanted = 0  # what demand has called for so far

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children.values()))

    def get(self, ident: int) -> Child | None:
        """Return the record of a child that has not been reaped."""
        return self._children.get(ident)

    def add(self, channel: Channel) -> Child:
        """Enter a child that is about to be started."""
        limit = self._limit
        if limit is not None:
            limit += random.randint(0, self._jitter)
        self._last_ident += 1
        child = Child(self._last_ident, channel, limit)
        self._children[child.ident] = child
        self._live += 1
        return child

    def missing(self, works: int, most: int) -> int:
        """Return how many children to start, so that ``works`` pieces of waiting work find one.

        Args:
            works: how many pieces wait.
            most: children that there should be now, ``max_workers`` at most.
        """
        coming = self._live - self._live_busy
        if works > coming:
            self._wanted = min(self.max_workers, self._live + works - coming)
        return max(0, min(self._wanted, most) - self._live)

    def superfluous(self, most: int) -> list[Child]:
        """Return idle children to send home, so that not more than ``most`` stay."""
        return self._idle[: max(0, self._live - most)]

    def working(self) -> Iterator[Child]:
        """Return the children that run a task."""
        return (child for child in self._children.values() if child.work is not None)

    def running(self) -> int:
        """Return how many tasks the children were given and have not ended; for any thread to call."""
        count = 0
        for child in self:
            # Read once: the thread that owns the books may change them meanwhile.
            for work in (child.work, child.next):
                if work is not None:
                    count += work.count - work.done
        return count

    def memory_bytes(self) -> dict[int, int]:
        """Return the resident memory of each child that is ready, by process id; for any thread to call."""
        found = {}
        for child in self:
            pid = child.pid
            size = 0 if pid is None else proc.resident(pid)
            if pid is not None and size:
                found[pid] = size
        return found

    def starting(self) -> Iterator[Child]:
        """Return the children that are not ready yet."""
        return (child for child in self._children.values() if child.pid is None)

    def ready(self, child: Child, pid: int) -> None:
        """Note that a child is through with its initializer."""
        child.pid = pid
        if not child.retiring:
            self._idle.append(child)

    def take_idle(self) -> Child | None:
        """Return a child that may be given work now, or None."""
        if self._idle and self.busy < self.max_workers and not self.alone:
            return self._idle.pop()
        return None

    def lose(self, child: Child) -> None:
        """Note that a child cannot be reached any more; it is not given work."""
        if child in self._idle:
            self._idle.remove(child)

    def put_back(self, child: Child) -> None:
        """Undo :meth:`take_idle`."""
        self._idle.append(child)

    def give(self, child: Child, work: Work, now: float) -> None:
        """Note what a child was given; never more than it has left."""
        child.work = work
        child.turn += 1
        child.work_turn = child.turn
        child.since = now
        self.busy += 1
        if child.left is not None:
            child.left -= work.count
        if child.left == 0:
            self._live -= 1
        else:
            self._live_busy += 1

    def give_next(self, child: Child, work: Work) -> None:
        """Note what a child was given beforehand; never its last task."""
        child.next = work
        child.turn += 1
        if child.left is not None:
            child.left -= work.count

    def go_on(self, child: Child, now: float) -> bool:
        """Note that a child's work is done; returns whether it has been given more."""
        if child.next is None:
            return False
        child.work, child.next = child.next, None
        child.work_turn = child.turn
        child.since = now
        return True

    def take_next(self, child: Child) -> Work | None:
        """Take away from a child what it was given beforehand, and return it."""
        work, child.next = child.next, None
        if work is not None:
            self.released.append(work)
            self.give_less(child, work.count)
        return work

    def give_less(self, child: Child, count: int) -> None:
        """Note that so many items were taken back from a child, which goes on with the others."""
        if child.left is None or child.leaving or not count:
            return
        if not child.left:
            self._live += 1
            self._live_busy += 1
        child.left += count

    def leave(self, child: Child) -> None:
        """Note that a child runs nothing after its current item."""
        child.leaving = True
        if child.left != 0:
            self._live -= 1
            if child.work is not None:
                self._live_busy -= 1
            child.left = 0

    def rest(self, child: Child) -> bool:
        """Note that a child's work is done; returns whether it was its last."""
        self.take_work(child)
        if child.left == 0 or child.retiring:
            return not child.retiring
        self._idle.append(child)
        return False

    def take_work(self, child: Child) -> Work | None:
        """Take a child's work away from it and return it."""
        work, child.work = child.work, None
        if work is not None:
            self.released.append(work)
            self.busy -= 1
            self.alone = False
            if child.left != 0:
                self._live_busy -= 1
        return work

    def retire(self, child: Child) -> bool:
        """Note that a child without work is told to leave; False when it was told already."""
        if child.retiring:
            return False
        if child.left != 0:
            self._live -= 1
        if child in self._idle:
            self._idle.remove(child)
        child.retiring = True
        self.retirement.start(child)
        return True

    def unoccupied(self) -> list[Child]:
        """Return the children to send home: the idle ones, and if none is busy all others too."""
        if self.busy:
            return list(self._idle)
        return [child for child in self._children.values() if not child.retiring]

    def remove(self, child: Child) -> Work | None:
        """Drop the record of a child that is gone, and return the work that it leaves behind."""
        del self._children[child.ident]
        self.retirement.stop(child)
        if child in self._idle:
            self._idle.remove(child)
        work = self.take_work(child)
        if not child.retiring and child.left != 0:
            self._live -= 1
        # What the child had not begun may have been taken back, and all others are done.
        return work if work is not None and work.done < work.count else None
