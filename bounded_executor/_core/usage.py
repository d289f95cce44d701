"""What an executor says in the log about how it was used: a slow producer, and a line at the end."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .._log import Log
from ..stats import ExecutorStats

__all__ = ["ProducerWatch", "log_summary"]

_log = Log()

# How long workers must have had little to do before it is said.
WINDOW_SECONDS = 60.0
# The share of the time that they worked, below which that is little.
BUSY_SHARE = 0.5
# Callers that have waited so long, all together, are worth a look at how many workers there are.
LONG_WAIT_SECONDS = 60.0


class ProducerWatch:
    """Says once when tasks come so slowly that half of the workers or more have nothing to do.

    Looks when outcomes arrive, so that it costs no timer. Used by the thread of ``_pool.backend``.

    Args:
        workers: tasks that may run at once.
        waiting: tells how many tasks wait.
        worked: tells how many seconds tasks have run, all together.
    """

    def __init__(self, workers: int, waiting: Callable[[], int], worked: Callable[[], float]) -> None:
        self._workers = workers
        self._waiting = waiting
        self._worked = worked
        self._told = False
        self._since: float | None = None
        self._worked_before = 0.0

    def heard(self, now: float) -> None:
        """Look whether it is to be said.

        Args:
            now: on the clock of ``time.monotonic``.
        """
        if self._told:
            return
        if self._since is None or self._waiting():
            self._since = now
            self._worked_before = self._worked()
            return
        seconds = now - self._since
        if seconds < WINDOW_SECONDS:
            return
        share = (self._worked() - self._worked_before) / (seconds * self._workers)
        if share < BUSY_SHARE:
            self._told = True
            _log.info(
                "slow producer: for %.0f seconds no task waited, and the %d workers were busy for %.0f %% of "
                "the time. Tasks come more slowly than they are run: fewer workers would do as well.",
                seconds,
                self._workers,
                100 * share,
            )
        self._since = now
        self._worked_before = self._worked()


def log_summary(stats: Callable[[], ExecutorStats], began: float) -> None:
    """Log one line about an executor that has ended; nothing about one that never ran a task.

    It is DEBUG where there was nothing but tasks that ended.

    Args:
        stats: returns its counters.
        began: when it started, on the clock of ``time.monotonic``.
    """
    found = stats()
    if not found.succeeded + found.failed:
        return
    noteworthy = (
        found.children_crashed
        or found.supervisors_lost
        or found.timed_out
        or found.retried
        or found.submit_wait_seconds >= LONG_WAIT_SECONDS
    )
    say = _log.info if noteworthy else _log.debug
    say(
        "executor ended: %d tasks succeeded, %d failed, %d were cancelled, %d times one was retried; "
        "%d processes started, %d replaced, %d crashed, %d timed out; callers waited %.3f seconds for slots; "
        "a task took %.6f seconds on average; %.3f seconds from the first task to the end",
        found.succeeded,
        found.failed,
        found.cancelled,
        found.retried,
        found.children_started,
        found.children_replaced,
        found.children_crashed,
        found.timed_out,
        found.submit_wait_seconds,
        found.task_seconds.mean,
        monotonic() - began,
    )
