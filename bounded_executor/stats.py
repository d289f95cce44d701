"""A frozen picture of an executor's counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ExecutorStats", "Histogram"]


@dataclass(frozen=True)
class Histogram:
    """How long tasks ran, counted in ranges of time.

    Attributes:
        bounds: upper ends of the ranges in seconds, ascending; each belongs to its range.
        counts: tasks in each range; the last is of those above every bound, so there is one more.
        total_seconds: time of all of them together.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total_seconds: float

    @property
    def count(self) -> int:
        """Tasks that were counted."""
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Seconds that a task took on average; 0.0 where none was counted."""
        count = self.count
        return self.total_seconds / count if count else 0.0

    def quantile(self, q: float) -> float:
        """Return an estimate of the time that a share ``q`` of the tasks did not exceed.

        It is exact to the range that it lies in, and interpolated within that.

        Args:
            q: 0.5 for the median; 0 <= q <= 1.

        Returns:
            Seconds. 0.0 where no task was counted; the last bound for what lies above every bound.

        Raises:
            ValueError: ``q`` is out of its range.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"q must be between 0 and 1, got {q!r}")
        rank = q * self.count
        below = 0
        start = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and below + count >= rank:
                return start + (bound - start) * max(0.0, rank - below) / count
            below += count
            start = bound
        return start if below < self.count else 0.0


@dataclass(frozen=True)
class ExecutorStats:
    """Counters of one executor, read at one moment.

    Counts are of tasks unless the name says otherwise; an item of a ``map`` is one task. Every
    count only grows, apart from ``held_bytes``, ``unfinished``, ``waiting``, ``running``,
    ``undelivered``, ``children`` and ``children_memory_bytes``, which are levels.

    Attributes:
        queue_size: the bound on ``unfinished``.
        queue_bytes: the bound on ``held_bytes``; None for no bound.
        held_bytes: bytes of the pickled calls of unfinished tasks, and of results that maps hold
            unfetched.
        submitted: tasks accepted so far.
        unfinished: tasks that hold a slot: accepted, and their outcome has not arrived.
        waiting: tasks among these that no worker has been given yet.
        running: tasks that a worker has been given and that have not ended; with short tasks more than
            there are workers, since a worker is given several at once.
        undelivered: outcomes that arrived and whose future's callbacks have not completed.
        succeeded: tasks that returned.
        failed: tasks that raised, or whose process died.
        cancelled: tasks cancelled before a worker was given them.
        above_bound: tasks admitted although the bound was reached, for a caller that must never
            block, or while callbacks lag behind.
        submit_wait_seconds: seconds that callers have spent waiting for a slot, all together.
        children: task processes alive now, spares and retiring ones included.
        children_memory_bytes: process id of each task process that is ready, and the bytes of memory that
            it has resident now; empty where there is no /proc file system.
        children_started: task processes started so far.
        children_replaced: task processes that reached a limit and were replaced.
        children_over_memory: processes among these that had taken too much memory.
        children_crashed: task processes that ended without being asked to.
        supervisors_lost: supervisors that ended without being asked to.
        timed_out: times that a task ran longer than ``task_timeout`` and was killed, retries included.
        retried: times that a task was run again.
        task_seconds: how long tasks ran in their processes, the last attempt of each whose time is known.
            Short tasks that came back together are counted at their mean.
    """

    queue_size: int
    queue_bytes: int | None
    held_bytes: int
    submitted: int
    unfinished: int
    waiting: int
    running: int
    undelivered: int
    succeeded: int
    failed: int
    cancelled: int
    above_bound: int
    submit_wait_seconds: float
    children: int
    children_memory_bytes: Mapping[int, int]
    children_started: int
    children_replaced: int
    children_over_memory: int
    children_crashed: int
    supervisors_lost: int
    timed_out: int
    retried: int
    task_seconds: Histogram

    @property
    def finished(self) -> int:
        """Tasks that have ended, namely those that returned, failed or were cancelled."""
        return self.succeeded + self.failed + self.cancelled

    @property
    def children_by_reason(self) -> dict[str, int]:
        """Task processes that have ended before the executor did, by the reason for it.

        Returns:
            ``tasks``: they had run ``max_tasks_per_child``; ``memory``: they had taken too much;
            ``crash``: nobody had asked them to; ``timeout``: a task of theirs ran too long.
        """
        return {
            "tasks": self.children_replaced - self.children_over_memory,
            "memory": self.children_over_memory,
            "crash": self.children_crashed,
            "timeout": self.timed_out,
        }
