"""A frozen picture of an executor's counters."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ExecutorStats"]


@dataclass(frozen=True)
class ExecutorStats:
    """Counters of one executor, read at one moment.

    Counts are of tasks unless the name says otherwise; an item of a ``map`` is one task. Every
    count only grows, apart from ``held_bytes``, ``unfinished``, ``waiting``, ``undelivered`` and
    ``children``, which are levels.

    Attributes:
        queue_size: the bound on ``unfinished``.
        queue_bytes: the bound on ``held_bytes``; None for no bound.
        held_bytes: bytes of the pickled calls of unfinished tasks, and of results that maps hold
            unfetched.
        submitted: tasks accepted so far.
        unfinished: tasks that hold a slot: accepted, and their outcome has not arrived.
        waiting: tasks among these that no worker has been given yet.
        undelivered: outcomes that arrived and whose future's callbacks have not completed.
        succeeded: tasks that returned.
        failed: tasks that raised, or whose process died.
        cancelled: tasks cancelled before a worker was given them.
        above_bound: tasks admitted although the bound was reached, for a caller that must never
            block, or while callbacks lag behind.
        submit_wait_seconds: seconds that callers have spent waiting for a slot, all together.
        children: task processes alive now, spares and retiring ones included.
        children_started: task processes started so far.
        children_replaced: task processes that reached a limit and were replaced.
        children_over_memory: processes among these that had taken too much memory.
        children_crashed: task processes that ended without being asked to.
        supervisors_lost: supervisors that ended without being asked to.
        timed_out: times that a task ran longer than ``task_timeout`` and was killed, retries included.
        retried: times that a task was run again.
    """

    queue_size: int
    queue_bytes: int | None
    held_bytes: int
    submitted: int
    unfinished: int
    waiting: int
    undelivered: int
    succeeded: int
    failed: int
    cancelled: int
    above_bound: int
    submit_wait_seconds: float
    children: int
    children_started: int
    children_replaced: int
    children_over_memory: int
    children_crashed: int
    supervisors_lost: int
    timed_out: int
    retried: int
