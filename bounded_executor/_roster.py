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
from collections.abc import Iterator
from time import monotonic

from ._wire import Channel
from ._work import Work

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
        leaving: it has said that it runs nothing after its current item.
        work: what it runs.
        deadline: when it is killed, on the clock of ``time.monotonic``; set when it retires.
    """

    __slots__ = ("channel", "deadline", "ident", "idle_bytes", "leaving", "left", "limit", "pid", "work")

    def __init__(self, ident: int, channel: Channel, left: int | None) -> None:
        self.ident = ident
        self.channel = channel
        self.limit = left
        self.left = left
        self.pid: int | None = None
        self.idle_bytes = 0
        self.leaving = False
        self.work: Work | None = None
        self.deadline: float | None = None


class Roster:
    """Keeps the records of all children that have been started and not reaped.

    Args:
        max_workers: tasks that may run at once.
        limit: tasks a child may run, None for no limit.
        jitter: up to so many more, at random for each child.
    """

    def __init__(self, max_workers: int, limit: int | None, jitter: int) -> None:
        self.busy = 0
        self._max_workers = max_workers
        self._limit = limit
        self._jitter = jitter
        self._children: dict[int, Child] = {}
        self._idle: list[Child] = []
        self._retiring: dict[int, Child] = {}
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
            self._wanted = min(self._max_workers, self._live + works - coming)
        return max(0, min(self._wanted, most) - self._live)

    def superfluous(self, most: int) -> list[Child]:
        """Return idle children to send home, so that not more than ``most`` stay."""
        return self._idle[: max(0, self._live - most)]

    def working(self) -> Iterator[tuple[int, int]]:
        """Return process id and idle memory of each child that runs a task."""
        return (
            (child.pid or 0, child.idle_bytes) for child in self._children.values() if child.work is not None
        )

    def ready(self, child: Child, pid: int) -> None:
        """Note that a child is through with its initializer."""
        child.pid = pid
        if child.deadline is None:
            self._idle.append(child)

    def take_idle(self) -> Child | None:
        """Return a child that may be given work now, or None."""
        if self._idle and self.busy < self._max_workers:
            return self._idle.pop()
        return None

    def lose(self, child: Child) -> None:
        """Note that a child cannot be reached any more; it is not given work."""
        if child in self._idle:
            self._idle.remove(child)

    def put_back(self, child: Child) -> None:
        """Undo :meth:`take_idle`."""
        self._idle.append(child)

    def give(self, child: Child, work: Work) -> None:
        """Note what a child was given; never more than it has left."""
        child.work = work
        self.busy += 1
        if child.left is not None:
            child.left -= work.count
        if child.left == 0:
            self._live -= 1
        else:
            self._live_busy += 1

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
        if child.left == 0 or child.deadline is not None:
            return child.deadline is None
        self._idle.append(child)
        return False

    def take_work(self, child: Child) -> Work | None:
        """Take a child's work away from it and return it."""
        work, child.work = child.work, None
        if work is not None:
            self.busy -= 1
            if child.left != 0:
                self._live_busy -= 1
        return work

    def retire(self, child: Child) -> bool:
        """Note that a child without work is told to leave; False when it was told already."""
        if child.deadline is not None:
            return False
        if child.left != 0:
            self._live -= 1
        if child in self._idle:
            self._idle.remove(child)
        child.deadline = monotonic() + RETIREMENT_SECONDS
        self._retiring[child.ident] = child
        return True

    def unoccupied(self) -> list[Child]:
        """Return the children to send home: the idle ones, and if none is busy all others too."""
        if self.busy:
            return list(self._idle)
        return [child for child in self._children.values() if child.deadline is None]

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of a child that retires."""
        # They all get the same time, so the first to retire is the first to be due.
        return next((child.deadline for child in self._retiring.values()), None)

    def overdue(self) -> list[Child]:
        """Return, once each, the children that have had their time to leave."""
        now = monotonic()
        late = [one for one in self._retiring.values() if one.deadline is not None and one.deadline <= now]
        for child in late:
            del self._retiring[child.ident]
        return late

    def remove(self, child: Child) -> Work | None:
        """Drop the record of a child that is gone, and return the work that it leaves behind."""
        del self._children[child.ident]
        self._retiring.pop(child.ident, None)
        if child in self._idle:
            self._idle.remove(child)
        work = self.take_work(child)
        if child.deadline is None and child.left != 0:
            self._live -= 1
        return work
